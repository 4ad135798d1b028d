//! The endpoints that generate.

/// Where a request goes, which decides what it and its answer look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// SGLang's own.
    Generate,
    Completions,
    Chat,
}

impl Endpoint {
    pub(crate) const ALL: [Self; 3] = [Self::Generate, Self::Completions, Self::Chat];

    pub const fn path(self) -> &'static str {
        match self {
            Self::Generate => "/generate",
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }
}
