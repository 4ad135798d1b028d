//! What is sent, as the clients of vLLM and SGLang send it.

use crate::wire::Endpoint;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// What the bodies of a run have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub endpoint: Endpoint,
    pub model: String,
    pub ignore_eos: bool,
    /// `None` leaves it to the server.
    pub temperature: Option<f64>,
    /// Members that are added, or that replace those of the same name.
    pub extra: Map<String, Value>,
}

impl Asked {
    pub(super) fn body(&self, prompt: &str, output_tokens: u32) -> Bytes {
        let mut body = match self.endpoint {
            Endpoint::Completions => json!({
                "model": self.model,
                "prompt": prompt,
                "repetition_penalty": 1.0,
                "max_tokens": output_tokens,
            }),
            Endpoint::Chat => json!({
                "model": self.model,
                "messages": [{"role": "user", "content": [{"type": "text", "text": prompt}]}],
                "max_completion_tokens": output_tokens,
            }),
            Endpoint::Generate => json!({"text": prompt}),
        };
        body["stream"] = true.into();
        match self.endpoint {
            Endpoint::Completions | Endpoint::Chat => {
                body["stream_options"] = json!({"include_usage": true});
                self.sample(&mut body);
            }
            Endpoint::Generate => {
                let mut sampling = json!({"max_new_tokens": output_tokens});
                self.sample(&mut sampling);
                body["sampling_params"] = sampling;
            }
        }
        for (name, value) in &self.extra {
            body[name] = value.clone();
        }
        body.to_string().into()
    }

    fn sample(&self, into: &mut Value) {
        if let Some(temperature) = self.temperature {
            into["temperature"] = temperature.into();
        }
        if self.ignore_eos {
            into["ignore_eos"] = true.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(endpoint: Endpoint) -> Asked {
        Asked {
            endpoint,
            model: "m".into(),
            ignore_eos: true,
            temperature: Some(0.0),
            extra: Map::new(),
        }
    }

    fn body(asked: &Asked) -> Value {
        serde_json::from_slice(&asked.body("hello", 7)).unwrap()
    }

    #[test]
    fn each_endpoint_gets_the_body_that_its_clients_send() {
        let usage = json!({"include_usage": true});
        let table = [
            (
                Endpoint::Completions,
                json!({"model": "m", "prompt": "hello", "repetition_penalty": 1.0, "max_tokens": 7, "stream": true,
                    "stream_options": usage, "temperature": 0.0, "ignore_eos": true}),
            ),
            (
                Endpoint::Chat,
                json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
                    "max_completion_tokens": 7, "stream": true, "stream_options": usage, "temperature": 0.0,
                    "ignore_eos": true}),
            ),
            (
                Endpoint::Generate,
                json!({"text": "hello", "stream": true,
                    "sampling_params": {"max_new_tokens": 7, "temperature": 0.0, "ignore_eos": true}}),
            ),
        ];
        for (endpoint, expected) in table {
            assert_eq!(body(&asked(endpoint)), expected);
        }
    }

    #[test]
    fn extra_members_replace_and_what_is_not_asked_for_is_left_out() {
        let mut asked = asked(Endpoint::Completions);
        asked.ignore_eos = false;
        asked.temperature = None;
        asked.extra.insert("max_tokens".into(), 9.into());
        let body = body(&asked);
        assert_eq!(body["max_tokens"], 9);
        assert!(body.get("ignore_eos").is_none() && body.get("temperature").is_none());
    }
}
