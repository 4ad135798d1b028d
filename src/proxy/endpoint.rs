//! The inference endpoints and what differs between them.

/// An inference endpoint of SGLang that the router serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Generate,
    Completions,
    Chat,
    Rerank,
    Embeddings,
    Classify,
    Score,
    Responses,
}

impl Endpoint {
    pub const ALL: [Self; 8] = [
        Self::Generate,
        Self::Completions,
        Self::Chat,
        Self::Rerank,
        Self::Embeddings,
        Self::Classify,
        Self::Score,
        Self::Responses,
    ];

    /// The path on the worker, which is also the endpoint's name in metrics.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Generate => "/generate",
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
            Self::Rerank => "/v1/rerank",
            Self::Embeddings => "/v1/embeddings",
            Self::Classify => "/v1/classify",
            Self::Score => "/v1/score",
            Self::Responses => "/v1/responses",
        }
    }

    /// Other paths under which clients know the endpoint.
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Rerank => &["/rerank"],
            Self::Generate
            | Self::Completions
            | Self::Chat
            | Self::Embeddings
            | Self::Classify
            | Self::Score
            | Self::Responses => &[],
        }
    }

    /// Whether a request runs on a prefill/decode pair. The rest has no decode phase, or (responses) keeps state that
    /// a pair doesn't share: SGLang serves it on regular workers only.
    pub const fn runs_on_pair(self) -> bool {
        match self {
            Self::Generate | Self::Completions | Self::Chat | Self::Rerank => true,
            Self::Embeddings | Self::Classify | Self::Score | Self::Responses => false,
        }
    }

    /// Whether its streams bring an answer token by token and end with an event that says so. Only those can be continued.
    pub const fn streams_tokens(self) -> bool {
        match self {
            Self::Generate | Self::Completions | Self::Chat => true,
            Self::Rerank | Self::Embeddings | Self::Classify | Self::Score | Self::Responses => {
                false
            }
        }
    }

    /// What a request id that the router makes up begins with, as users of the peer know it.
    pub const fn request_id_prefix(self) -> &'static str {
        match self {
            Self::Generate => "gnt-",
            Self::Completions => "cmpl-",
            Self::Chat => "chatcmpl-",
            Self::Responses => "resp-",
            Self::Rerank | Self::Embeddings | Self::Classify | Self::Score => "req-",
        }
    }

    /// Members of the request body that hold the prompt, in order of preference.
    pub(super) const fn prompt_members(self) -> &'static [&'static str] {
        match self {
            Self::Generate => &["text", "input_ids", "input_embeds"],
            Self::Completions => &["prompt"],
            Self::Chat => &["messages"],
            Self::Rerank | Self::Score => &["query"],
            Self::Embeddings | Self::Classify | Self::Responses => &["input"],
        }
    }
}
