//! Where requests go, and with which headers.

use super::{ServeArgs, ServeError, values::Pair};
use crate::{get::Getter, wire::Endpoint};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// /v1/completions
    Vllm,
    /// /v1/completions
    Openai,
    /// /v1/chat/completions
    OpenaiChat,
    /// /generate
    Sglang,
}

impl Backend {
    pub(super) const fn endpoint(self) -> Endpoint {
        match self {
            Self::Vllm | Self::Openai => Endpoint::Completions,
            Self::OpenaiChat => Endpoint::Chat,
            Self::Sglang => Endpoint::Generate,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Openai => "openai",
            Self::OpenaiChat => "openai-chat",
            Self::Sglang => "sglang",
        }
    }
}

impl ServeArgs {
    pub(super) fn base_url(&self) -> String {
        match &self.base_url {
            Some(url) => url.clone(),
            // An IPv6 address is in brackets in a URL.
            None if self.host.contains(':') => format!("http://[{}]:{}", self.host, self.port),
            None => format!("http://{}:{}", self.host, self.port),
        }
    }

    /// The path to POST to, which has to be one that the backend serves.
    pub(super) fn path(&self) -> Result<String, ServeError> {
        let endpoint = self.backend.endpoint();
        let path = self.endpoint.clone().unwrap_or(endpoint.path().into());
        let fits = match endpoint {
            Endpoint::Generate => path.ends_with("/generate"),
            Endpoint::Chat => path.ends_with("/chat/completions"),
            Endpoint::Completions => {
                path.ends_with("/completions") && !path.ends_with("/chat/completions")
            }
        };
        if fits && path.starts_with('/') {
            Ok(path)
        } else {
            Err(ServeError::Endpoint {
                path,
                backend: self.backend.name(),
            })
        }
    }

    pub(super) async fn model(&self) -> Result<String, ServeError> {
        if let Some(model) = &self.model {
            return Ok(model.clone());
        }
        let url = format!("{}/v1/models", self.base_url().trim_end_matches('/'));
        let list = Getter::new().get(&url).await;
        let list = list.map_err(|error| ServeError::Models {
            url: url.clone(),
            error,
        })?;
        let list: Value = serde_json::from_str(&list).unwrap_or_default();
        let first = list["data"][0]["id"].as_str().map(str::to_owned);
        first.ok_or(ServeError::NoModel { url })
    }

    pub(super) fn headers(&self) -> Result<HeaderMap, ServeError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.api_key {
            let mut value = HeaderValue::try_from(format!("Bearer {key}"))
                .map_err(|_| ServeError::Header("Authorization".into()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        for Pair { key, value } in &self.header {
            let bad = || ServeError::Header(key.clone());
            let name = HeaderName::try_from(key).map_err(|_| bad())?;
            headers.insert(name, value.try_into().map_err(|_| bad())?);
        }
        Ok(headers)
    }
}
