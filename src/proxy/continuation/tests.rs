use bytes::Bytes;
use serde_json::{Value, json};

use super::draft::Continued;
use super::{Next, Obstacle, Said};
use crate::proxy::chunk;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::tokens::TokenCounter;
use crate::telemetry::TokenCount;

/// What becomes of a request whose stream had these events when it broke.
fn next(endpoint: Endpoint, request: &str, events: &[&str]) -> Result<Next, Obstacle> {
    let mut said = Said::new(endpoint);
    let mut counter = TokenCounter::new(endpoint, 1);
    for event in events {
        let piece = Bytes::from(format!("data: {event}\n\n"));
        let event = piece.slice(..piece.len() - 2);
        let brought = chunk::brought(endpoint, &event);
        counter.count(&event, brought.as_ref());
        said.event(&event, brought.as_ref());
    }
    let output = counter.output();
    Next::of(
        endpoint,
        request.as_bytes(),
        &said,
        output,
        counter.prompt(),
    )
}

/// The second request, without a tokenizer to ask.
async fn continued(
    endpoint: Endpoint,
    request: &str,
    events: &[&str],
) -> Result<Continued, Obstacle> {
    match next(endpoint, request, events)? {
        Next::Ask(draft) => draft.write(None).await,
        Next::Close => panic!("nothing is to be asked for"),
    }
}

fn body(continued: &Continued) -> Value {
    serde_json::from_str(&continued.body).expect("a request is JSON")
}

fn rewritten(continued: &mut Continued, events: &[&str]) -> Vec<Value> {
    let stream: Vec<String> = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    let events = continued.rewrite.feed(stream.concat().as_bytes());
    let event = |event: &Bytes| {
        let data = event.strip_prefix(b"data: ").expect("an event");
        serde_json::from_slice(data).expect("JSON")
    };
    events.iter().map(event).collect()
}

const GENERATED: &str = r#"{"text":" a\n","output_ids":[11,12],"meta_info":{"id":"r1","finish_reason":null,"prompt_tokens":3,"completion_tokens":2,"cached_tokens":0}}"#;

#[tokio::test]
async fn token_ids_go_behind_token_ids_and_limits_go_down() {
    let request = r#"{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":9,"min_new_tokens":5,"temperature":0.70},"x":1e400,"stream":true}"#;
    let mut second = continued(Endpoint::Generate, request, &[GENERATED])
        .await
        .unwrap();
    assert_eq!(
        second.body,
        r#"{"input_ids":[1,2,3,11,12],"sampling_params":{"max_new_tokens":7,"min_new_tokens":3,"temperature":0.70},"x":1e400,"stream":true}"#
    );
    let events = rewritten(
        &mut second,
        &[
            r#"{"text":"b","output_ids":[13],"meta_info":{"id":"r2","finish_reason":{"type":"length","length":7},"prompt_tokens":5,"completion_tokens":7,"cached_tokens":4}}"#,
        ],
    );
    assert_eq!(
        events,
        [
            json!({"text": " a\nb", "output_ids": [11, 12, 13], "meta_info": {"id": "r1", "finish_reason": {"type": "length", "length": 9},
                "prompt_tokens": 3, "completion_tokens": 9, "cached_tokens": 4}})
        ]
    );
}

#[tokio::test]
async fn without_a_tokenizer_text_goes_behind_text() {
    let second = continued(Endpoint::Generate, r#"{"text":"p\"q"}"#, &[GENERATED])
        .await
        .unwrap();
    assert_eq!(
        second.body, r#"{"text":"p\"q a\n","sampling_params":{"max_new_tokens":126}}"#,
        "SGLang's limit is 128 where none is given"
    );
}

#[tokio::test]
async fn completions_keep_the_form_of_their_prompt() {
    let chunk = r#"{"id":"c1","created":7,"choices":[{"index":0,"text":" so","finish_reason":null}],"usage":null}"#;
    for (prompt, expected) in [(r#""a""#, json!("a so")), (r#"["a"]"#, json!(["a so"]))] {
        let request = format!(r#"{{"prompt":{prompt},"max_tokens":4}}"#);
        let mut second = continued(Endpoint::Completions, &request, &[chunk])
            .await
            .unwrap();
        assert_eq!(body(&second), json!({"prompt": expected, "max_tokens": 3}));
        let events = rewritten(
            &mut second,
            &[
                r#"{"id":"c2","created":9,"choices":[{"index":0,"text":"!","finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}"#,
            ],
        );
        assert_eq!(
            events,
            [
                json!({"id": "c1", "created": 7, "choices": [{"index": 0, "text": "!", "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}})
            ]
        );
    }
    let ids = continued(Endpoint::Completions, r#"{"prompt":[1,2]}"#, &[chunk]).await;
    assert_eq!(ids.unwrap_err(), Obstacle::NoTokenizer);
}

const GREETING: &str = r#"{"id":"h1","created":7,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const WORDS: &str = r#"{"id":"h1","created":7,"choices":[{"index":0,"delta":{"content":"so \"far\""},"finish_reason":null}]}"#;
const FINISH: &str =
    r#"{"id":"h1","created":7,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

#[tokio::test]
async fn a_chat_goes_on_in_one_more_message_and_greets_once() {
    let request = r#"{"messages":[{"role":"user","content":"q"}],"max_tokens":5}"#;
    let mut second = continued(Endpoint::Chat, request, &[GREETING, WORDS])
        .await
        .unwrap();
    assert_eq!(
        body(&second),
        json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "so \"far\""}],
               "continue_final_message": true, "max_tokens": 4})
    );
    let of_second = |event: &str| event.replace("h1", "h2").replace(":7", ":9");
    let events = rewritten(
        &mut second,
        &[&of_second(GREETING), &of_second(WORDS), &of_second(FINISH)],
    );
    let expected: Vec<Value> = [WORDS, FINISH]
        .map(|event| serde_json::from_str(event).unwrap())
        .into();
    assert_eq!(events, expected);
}

#[tokio::test]
async fn a_message_that_the_client_wants_continued_is_made_longer() {
    let messages = |more: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"and","name":"n"}}]{more}}}"#
        )
    };
    let request = messages(r#","continue_final_message":true"#);
    let second = continued(Endpoint::Chat, &request, &[GREETING, WORDS])
        .await
        .unwrap();
    assert_eq!(
        body(&second)["messages"][1],
        json!({"role": "assistant", "content": "andso \"far\"", "name": "n"})
    );
    // SGLang makes a user's message of it otherwise.
    let other = continued(Endpoint::Chat, &messages(""), &[GREETING, WORDS]).await;
    assert_eq!(other.unwrap_err(), Obstacle::Prompt);
}

#[tokio::test]
async fn a_chat_that_broke_before_its_first_word_is_asked_again() {
    let request = r#"{"messages":[{"role":"user","content":"q"}]}"#;
    let second = continued(Endpoint::Chat, request, &[GREETING])
        .await
        .unwrap();
    assert_eq!(second.body, request);
}

#[tokio::test]
async fn one_token_too_much_is_asked_for_and_left_out_where_all_are_there() {
    let full = GENERATED;
    let request = r#"{"input_ids":[1],"sampling_params":{"max_new_tokens":2}}"#;
    let mut second = continued(Endpoint::Generate, request, &[full])
        .await
        .unwrap();
    assert_eq!(
        body(&second)["sampling_params"],
        json!({"max_new_tokens": 1})
    );
    let events = rewritten(
        &mut second,
        &[
            r#"{"text":"z","output_ids":[99],"meta_info":{"id":"r2","finish_reason":{"type":"length","length":1},"prompt_tokens":3,"completion_tokens":1}}"#,
        ],
    );
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["text"], " a\n");
    assert_eq!(events[0]["output_ids"], json!([11, 12]));
    let meta = &events[0]["meta_info"];
    assert_eq!(
        meta["finish_reason"],
        json!({"type": "length", "length": 2})
    );
    assert_eq!(meta["completion_tokens"], 2);

    let request = r#"{"messages":[{"role":"user","content":"q"}],"max_completion_tokens":1}"#;
    let mut second = continued(Endpoint::Chat, request, &[GREETING, WORDS])
        .await
        .unwrap();
    let events = rewritten(&mut second, &[GREETING, WORDS, FINISH]);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn an_answer_that_has_finished_misses_its_end_or_its_usage() {
    let finished = GENERATED.replace(
        "\"finish_reason\":null",
        r#""finish_reason":{"type":"stop","matched":2}"#,
    );
    let closed = next(Endpoint::Generate, r#"{"text":"p"}"#, &[&finished]).unwrap();
    assert!(matches!(closed, Next::Close));

    let request = r#"{"messages":[{"role":"user","content":"q"}],"stop":"far"}"#;
    let closed = next(Endpoint::Chat, request, &[GREETING, WORDS, FINISH]).unwrap();
    assert!(matches!(closed, Next::Close));

    let request =
        r#"{"messages":[{"role":"user","content":"q"}],"stream_options":{"include_usage":true}}"#;
    let mut second = continued(Endpoint::Chat, request, &[GREETING, WORDS, FINISH])
        .await
        .unwrap();
    assert_eq!(body(&second)["max_tokens"], 1);
    let usage = r#"{"id":"h2","created":9,"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
    let events = rewritten(&mut second, &[GREETING, WORDS, FINISH, usage]);
    assert_eq!(
        events,
        [
            json!({"id": "h1", "created": 7, "choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9}})
        ]
    );
    let with_usage = next(Endpoint::Chat, request, &[GREETING, WORDS, FINISH, usage]).unwrap();
    assert!(matches!(with_usage, Next::Close));
}

#[test]
fn what_is_not_as_sglang_writes_it_is_not_guessed_at() {
    let delta = r#"{"text":"b","output_ids":[12],"meta_info":{"id":"r","finish_reason":null,"prompt_tokens":3,"completion_tokens":2}}"#;
    for (endpoint, request, event, expected) in [
        (
            Endpoint::Generate,
            r#"{"text":"p"}"#,
            delta,
            Obstacle::Unreadable,
        ),
        (
            Endpoint::Generate,
            r#"{"text":"p"}"#,
            r#"{"token":"b"}"#,
            Obstacle::Unreadable,
        ),
        (
            Endpoint::Chat,
            r#"{"messages":[]}"#,
            r#"{"choices":[]}"#,
            Obstacle::Unreadable,
        ),
        (
            Endpoint::Chat,
            r#"{"messages":[{}],"stop":["x","far\"!"]}"#,
            WORDS,
            Obstacle::StopBegun,
        ),
        (
            Endpoint::Generate,
            r#"{"text":"p","sampling_params":[{}]}"#,
            GENERATED,
            Obstacle::Sequences,
        ),
    ] {
        assert_eq!(
            next(endpoint, request, &[event]).unwrap_err(),
            expected,
            "{event}"
        );
    }
}

#[test]
fn the_count_of_chunks_stands_where_nobody_counts() {
    let mut counter = TokenCounter::new(Endpoint::Chat, 1);
    let event = format!("data: {WORDS}");
    let brought = chunk::brought(Endpoint::Chat, event.as_bytes());
    counter.count(event.as_bytes(), brought.as_ref());
    assert_eq!(
        counter.output(),
        TokenCount {
            tokens: 1,
            reported: false
        }
    );
}
