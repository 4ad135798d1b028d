//! A worker's tokenizer, asked over HTTP. Every worker of a fleet has the same one.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::draft::list;
use crate::upstream::{Upstream, UpstreamRequest};
use crate::workers::Worker;

/// A client waits meanwhile, and there is a way without. Tokenizing a prompt takes milliseconds.
const LIMIT: Duration = Duration::from_secs(2);

/// Token ids of the longest contexts, in digits.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// SGLang's `/v1/tokenize` and `/v1/detokenize` on one worker.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Tokenizer {
    upstream: Upstream,
    worker: Arc<Worker>,
}

#[derive(Deserialize)]
struct Ids {
    tokens: Vec<u32>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

impl Tokenizer {
    pub(in crate::proxy) fn new(upstream: Upstream, worker: Arc<Worker>) -> Self {
        Self { upstream, worker }
    }

    /// The tokens of a text, given as a JSON string; with those that a model wants around a prompt, if `special`. `None`
    /// where the worker doesn't say.
    pub(super) async fn ids(&self, text: &str, special: bool) -> Option<Vec<u32>> {
        let body = format!("{{\"prompt\":{text},\"add_special_tokens\":{special}}}");
        let ids: Ids = self.ask("/v1/tokenize", body).await?;
        Some(ids.tokens)
    }

    /// The text of some tokens.
    pub(super) async fn text(&self, ids: &[u32], skip_special: bool) -> Option<String> {
        let body = format!(
            "{{\"tokens\":{},\"skip_special_tokens\":{skip_special}}}",
            list(ids)
        );
        let text: Text = self.ask("/v1/detokenize", body).await?;
        Some(text.text)
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, body: String) -> Option<T> {
        let url = self.worker.url.join(path);
        let request = UpstreamRequest::post_json(url, body).bearer(self.worker.api_key.as_deref());
        let answer = async {
            let (head, mut body) = self.upstream.send(request).await.ok()?.into_parts();
            let answer = body.collect_up_to(LONGEST_ANSWER).await.ok()?;
            (head.status.is_success()).then_some(answer)
        };
        let answer = tokio::time::timeout(LIMIT, answer).await.ok()??;
        serde_json::from_slice(&answer).ok()
    }
}
