//! The OpenAI endpoints.

use crate::support::{Fleet, Pair, post, streamed};
use serde_json::{Value, json};
use simulated_worker::{
    Config, Role,
    answer::{Answer, chat_prompt, expected_text, prompt_tokens},
};

fn completion(prompt: &str, tokens: u32) -> Value {
    json!({"model": "any", "prompt": prompt, "max_tokens": tokens, "ignore_eos": true})
}

fn chat(question: &str, tokens: u32) -> Value {
    json!({
        "model": "any",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "ignore_eos": true,
    })
}

fn answer_to(question: &str, tokens: u32) -> String {
    Answer::to_text(&chat_prompt([("user", question)])).text(tokens)
}

/// Texts of all chunks of one choice, joined.
fn joined(chunks: &[Value], at: &str) -> String {
    chunks
        .iter()
        .filter_map(|chunk| chunk.pointer(at)?.as_str())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_completion_is_answered_whole() {
    let pair = Pair::instant();
    let (prefill, decode) = pair.post("/v1/completions", &completion("q", 9), 1).await;
    assert_eq!(prefill.json()["usage"]["completion_tokens"], 1);
    let whole = decode.json();
    assert_eq!(whole["object"], "text_completion");
    assert_eq!(whole["model"], "any", "the model that the request named");
    assert_eq!(
        whole["choices"],
        json!([{
            "index": 0,
            "text": expected_text("q", 9),
            "logprobs": null,
            "finish_reason": "length",
            "matched_stop": null,
        }])
    );
    assert_eq!(whole["usage"]["completion_tokens"], 9);
    assert_eq!(whole["usage"]["total_tokens"], 9 + prompt_tokens("q"));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_completion_sends_deltas() {
    let pair = Pair::instant();
    let body = streamed(&completion("q", 9));
    let (_, decode) = pair.post("/v1/completions", &body, 1).await;
    let chunks = decode.chunks();
    assert_eq!(chunks.len(), 9, "no usage chunk unless asked for");
    assert_eq!(joined(&chunks, "/choices/0/text"), expected_text("q", 9));
    assert!(chunks.iter().all(|chunk| chunk["usage"].is_null()));
    assert_eq!(chunks[8]["choices"][0]["finish_reason"], "length");
    assert!(chunks[7]["choices"][0]["finish_reason"].is_null());
}

#[tokio::test(start_paused = true)]
async fn usage_comes_last_and_continuously_where_asked_for() {
    let pair = Pair::instant();
    let mut body = streamed(&completion("q", 5));
    body["stream_options"] = json!({"include_usage": true, "continuous_usage_stats": true});
    let (_, decode) = pair.post("/v1/completions", &body, 1).await;
    let chunks = decode.chunks();
    let counts: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["usage"]["completion_tokens"])
        .collect();
    assert_eq!(counts, [1, 2, 3, 4, 5, 5]);
    assert_eq!(chunks[5]["choices"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn completions_take_lists_of_texts_and_of_ids_and_several_samples() {
    let pair = Pair::instant();
    let table = [
        (
            json!({"prompt": ["a", "b"], "max_tokens": 4}),
            vec![Answer::to_text("a"), Answer::to_text("b")],
        ),
        (
            json!({"prompt": [[1, 2], [3]], "max_tokens": 4}),
            vec![Answer::to_tokens(&[1, 2]), Answer::to_tokens(&[3])],
        ),
        (
            json!({"prompt": [4, 5], "max_tokens": 4}),
            vec![Answer::to_tokens(&[4, 5])],
        ),
    ];
    for (body, answers) in table {
        let expected: Vec<String> = answers.iter().map(|answer| answer.text(4)).collect();
        let (_, whole) = pair.post("/v1/completions", &body, 500).await;
        for (index, text) in expected.iter().enumerate() {
            assert_eq!(whole.json()["choices"][index]["text"], *text, "{body}");
        }
        let (_, stream) = pair.post("/v1/completions", &streamed(&body), 500).await;
        for (index, text) in expected.iter().enumerate() {
            let mut chunks = stream.chunks();
            chunks.retain(|chunk| chunk["choices"][0]["index"] == index);
            assert_eq!(joined(&chunks, "/choices/0/text"), *text, "{body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_is_answered_whole() {
    let pair = Pair::instant();
    let mut body = chat("hi", 7);
    body["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    let (_, decode) = pair.post("/v1/chat/completions", &body, 1).await;
    let whole = decode.json();
    assert_eq!(whole["object"], "chat.completion");
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["role"], "assistant");
    assert_eq!(message["content"], answer_to("hi", 7));
    assert!(message["reasoning_content"].is_null());
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 7);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_chat_starts_with_the_role_and_ends_with_the_finish() {
    let pair = Pair::instant();
    let mut body = streamed(&chat("hi", 7));
    body["stream_options"] = json!({"include_usage": true});
    let (_, decode) = pair.post("/v1/chat/completions", &body, 1).await;
    let chunks = decode.chunks();
    assert_eq!(chunks.len(), 1 + 7 + 1 + 1, "role, content, finish, usage");
    assert_eq!(chunks[0]["object"], "chat.completion.chunk");
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": "", "reasoning_content": null})
    );
    assert_eq!(
        joined(&chunks, "/choices/0/delta/content"),
        answer_to("hi", 7)
    );
    let finish = &chunks[8]["choices"][0];
    assert_eq!(finish["delta"], json!({"reasoning_content": null}));
    assert_eq!(finish["finish_reason"], "length");
    assert_eq!(chunks[9]["choices"], json!([]));
    assert_eq!(chunks[9]["usage"]["completion_tokens"], 7);
}

#[tokio::test(start_paused = true)]
async fn continuous_usage_of_a_chat_is_on_the_content_only() {
    let pair = Pair::instant();
    let mut body = streamed(&chat("hi", 3));
    body["stream_options"] = json!({"continuous_usage_stats": true});
    let (_, decode) = pair.post("/v1/chat/completions", &body, 1).await;
    let with_usage: Vec<bool> = decode
        .chunks()
        .iter()
        .map(|chunk| chunk.get("usage").is_some())
        .collect();
    assert_eq!(with_usage, [false, true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_both_roles_answers_all_samples_in_the_order_of_prompts() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let mut body = chat("hi", 4);
    body["n"] = 3.into();
    let answered = post(&worker, "/v1/chat/completions", &body).await.json();
    let answer = Answer::to_text(&chat_prompt([("user", "hi")]));
    for index in 0..3 {
        let content = &answered["choices"][index as usize]["message"]["content"];
        assert_eq!(*content, answer.choice(index).text(4));
    }
    assert_eq!(answered["usage"]["completion_tokens"], 12);

    let body = json!({"prompt": ["a", "b"], "max_tokens": 4, "n": 2});
    let answered = post(&worker, "/v1/completions", &body).await.json();
    for (index, (prompt, sample)) in [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
        .into_iter()
        .enumerate()
    {
        let expected = Answer::to_text(prompt).choice(sample).text(4);
        assert_eq!(answered["choices"][index]["text"], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn defaults_are_those_of_sglang() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let body = json!({"prompt": "q"});
    let completed = post(&worker, "/v1/completions", &body).await.json();
    assert_eq!(completed["usage"]["completion_tokens"], 16);
    assert_eq!(completed["model"], "default");

    let body = json!({"messages": [{"role": "user", "content": "q"}]});
    let answered = post(&worker, "/v1/chat/completions", &body).await.json();
    let natural = Answer::to_text(&chat_prompt([("user", "q")])).natural_length();
    assert_eq!(answered["usage"]["completion_tokens"], natural);
    assert_eq!(answered["choices"][0]["finish_reason"], "stop");
    assert!(answered["choices"][0]["matched_stop"].is_number());
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused_flat() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config {
        context_length: 50,
        ..Config::instant(Role::Null)
    });
    let table = [
        ("/v1/completions", json!({"max_tokens": 3}), "Bad Request"),
        (
            "/v1/completions",
            json!({"prompt": [], "max_tokens": 0}),
            "Bad Request",
        ),
        (
            "/v1/chat/completions",
            json!({"messages": []}),
            "BadRequestError",
        ),
        (
            "/v1/completions",
            completion(&"x".repeat(200), 1),
            "BadRequestError",
        ),
        (
            "/v1/completions",
            streamed(&completion(&"x".repeat(200), 1)),
            "BadRequestError",
        ),
    ];
    for (path, body, kind) in table {
        let refused = post(&worker, path, &body).await;
        assert_eq!(refused.status, 400, "{body}");
        let error = refused.json();
        assert_eq!(error["object"], "error", "{body}");
        assert_eq!(error["type"], kind, "{body}");
        assert_eq!(error["code"], 400, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_room_is_an_error_inside_a_stream() {
    let pair = Pair::instant();
    let refused = post(&pair.decode, "/v1/completions", &completion("q", 2)).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["type"], "BadRequestError");

    let stream = post(
        &pair.decode,
        "/v1/completions",
        &streamed(&completion("q", 2)),
    )
    .await;
    assert_eq!(stream.status, 200);
    let error = &stream.chunks()[0]["error"];
    assert_eq!(error["type"], "BAD_REQUEST");
    assert_eq!(error["code"], 400);
}

#[tokio::test(start_paused = true)]
async fn echo_and_token_ids_are_given_where_asked_for() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let mut body = completion("say", 3);
    body["echo"] = true.into();
    body["return_token_ids"] = true.into();
    let choice = &post(&worker, "/v1/completions", &body).await.json()["choices"][0];
    assert_eq!(choice["text"], format!("say{}", expected_text("say", 3)));
    assert_eq!(choice["token_ids"], json!(Answer::to_text("say").ids(3)));
}

#[tokio::test(start_paused = true)]
async fn the_other_endpoints_answer_in_their_shapes() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let table = [
        (
            "/v1/embeddings",
            json!({"input": ["a", "b"]}),
            "/data/1/embedding/7",
        ),
        ("/v1/classify", json!({"input": "a"}), "/data/0/probs/1"),
        (
            "/v1/rerank",
            json!({"query": "q", "documents": ["a", "b"]}),
            "/1/score",
        ),
        (
            "/v1/score",
            json!({"query": "q", "items": ["a"], "label_token_ids": [1, 2]}),
            "/scores/0/1",
        ),
        (
            "/v1/responses",
            json!({"input": "hello", "max_output_tokens": 5}),
            "/output/0/content/0/text",
        ),
    ];
    for (path, body, at) in table {
        let answered = post(&worker, path, &body).await;
        assert_eq!(answered.status, 200, "{path}: {}", answered.body);
        assert!(
            answered.json().pointer(at).is_some(),
            "{path}: {}",
            answered.body
        );
    }
}

#[tokio::test(start_paused = true)]
async fn ranked_documents_come_best_first() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let body = json!({"query": "q", "documents": ["a", "b", "c", "d"], "top_n": 3});
    let ranked = post(&worker, "/v1/rerank", &body).await.json();
    let scores: Vec<f64> = ranked
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["score"].as_f64().unwrap())
        .collect();
    assert_eq!(scores.len(), 3);
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}
