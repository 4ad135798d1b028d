//! A report before it is written down: headings, text, tables and pictures, the same for every form.

use crate::plot::Inline;

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub title: String,
    /// Where the figures come from.
    pub origin: String,
    /// What a reader in a hurry takes away.
    pub verdict: Vec<String>,
    pub sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    pub heading: String,
    pub blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    Text(String),
    /// What to type.
    Command(String),
    Table(Table),
    /// Pictures that belong together, to be put side by side, and what they show.
    Pictures {
        about: String,
        figures: Vec<Figure>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub title: String,
    pub picture: Inline,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub title: String,
    pub heading: Vec<String>,
    /// The first cell names the row.
    pub rows: Vec<Vec<Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub text: String,
    pub tone: Tone,
}

/// How an entry stands out. What it says is in its text too: nothing is told by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Best,
    Better,
    Worse,
}

impl From<String> for Entry {
    fn from(text: String) -> Self {
        Self {
            text,
            tone: Tone::Plain,
        }
    }
}

impl From<&str> for Entry {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Section {
    pub fn new(heading: &str, blocks: Vec<Block>) -> Self {
        Self {
            heading: heading.to_owned(),
            blocks,
        }
    }
}
