//! Several samples of a prompt. The workers behave as SGLang's: all samples of a prompt in one room, and one is answered.

use http::StatusCode;
use serde_json::{Value, json};
use simulated_worker::answer;

use crate::TOKENS;
use crate::rig::{Ledger, Rig};

/// Texts by the index of their choice.
fn texts(events: &[Value]) -> Vec<String> {
    let mut texts = Vec::new();
    for choice in events.iter().filter_map(|event| event["choices"].get(0)) {
        let index = choice["index"].as_u64().expect("an index") as usize;
        texts.resize(texts.len().max(index + 1), String::new());
        texts[index] += choice["text"].as_str().unwrap_or_default();
    }
    texts
}

#[tokio::test(start_paused = true)]
async fn every_sample_of_every_prompt_is_answered_streamed_and_not() {
    let rig = Rig::new(&[]);
    let mut body = json!({"model": "any", "prompt": ["a", "b"], "n": 3, "max_tokens": TOKENS, "ignore_eos": true});
    let expected: Vec<_> = ["a", "a", "a", "b", "b", "b"]
        .iter()
        .map(|prompt| answer::expected_text(prompt, TOKENS))
        .collect();
    let whole = rig.post("/v1/completions", body.to_string()).await.json();
    let choices = whole["choices"].as_array().expect("choices");
    let whole: Vec<_> = choices
        .iter()
        .filter_map(|choice| choice["text"].as_str())
        .collect();
    assert_eq!(whole, expected);

    body["stream"] = true.into();
    let streamed = rig.post("/v1/completions", body.to_string()).await;
    assert!(streamed.is_done());
    assert_eq!(texts(&streamed.events()), expected);

    let body = json!({"text": "a", "sampling_params": {"max_new_tokens": TOKENS, "ignore_eos": true, "n": 2}});
    let answers = rig.post("/generate", body.to_string()).await.json();
    let answers = answers.as_array().expect("a list");
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|one| one["text"] == expected[0]));
    assert_eq!(rig.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn several_samples_of_a_chat_are_refused_before_a_worker_is_asked() {
    let rig = Rig::new(&[]);
    let body = json!({"model": "any", "messages": [{"role": "user", "content": "a"}], "n": 2});
    let answer = rig.post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["code"], "invalid_request");
    assert_eq!(rig.ledger(), Ledger::default());
    let mut workers = rig.prefill.iter().chain(&rig.decode);
    assert!(workers.all(|worker| worker.stats().requests == 0));
}
