//! One request of a run, before its text is made.

use std::{sync::Arc, time::Duration};

#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// When it is to be sent, since the start of the run. `None`: as soon as there is room.
    pub due: Option<Duration>,
    pub prompt: Prompt,
    pub output_tokens: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// A text that is drawn: it begins with `shared` tokens that all prompts of the run begin with.
    Drawn { shared: u32, fresh: u32 },
    /// A text from a file.
    Given { text: Arc<str>, tokens: u32 },
}

impl Prompt {
    pub const fn tokens(&self) -> u32 {
        match self {
            Self::Drawn { shared, fresh } => *shared + *fresh,
            Self::Given { tokens, .. } => *tokens,
        }
    }
}
