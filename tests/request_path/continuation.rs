//! Streams whose decode worker fails in the middle: another pair goes on, and the client sees one whole answer.

use std::time::Duration;

use http::StatusCode;
use policies::lifecycle::WorkerEvent;
use serde_json::{Value, json};
use simulated_worker::Fault;
use simulated_worker::answer::{self, Answer};
use tower::ServiceExt as _;

use crate::rig::{self, Ledger, Rig, within};

const TOKENS: u32 = 40;

/// One way to ask for a stream, and what has to come.
#[derive(Debug, Clone, Copy)]
enum Ask {
    GenerateText,
    GenerateIds,
    Completion,
    CompletionIds,
    Chat,
}

impl Ask {
    const ALL: [Self; 5] = [
        Self::GenerateText,
        Self::GenerateIds,
        Self::Completion,
        Self::CompletionIds,
        Self::Chat,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::GenerateText | Self::GenerateIds => "/generate",
            Self::Completion | Self::CompletionIds => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }

    /// A request for `tokens` tokens, with `more` members.
    fn body(self, tokens: u32, more: &Value) -> String {
        let sampling = json!({"max_new_tokens": tokens, "ignore_eos": true});
        let mut body = match self {
            Self::GenerateText => json!({"text": "the prompt", "sampling_params": sampling}),
            Self::GenerateIds => json!({"input_ids": [5, 6, 7], "sampling_params": sampling}),
            Self::Completion => json!({"prompt": "the prompt", "model": "m"}),
            Self::CompletionIds => json!({"prompt": [5, 6, 7], "model": "m"}),
            Self::Chat => {
                json!({"messages": [{"role": "user", "content": "the prompt"}], "model": "m"})
            }
        };
        let members = body.as_object_mut().expect("an object");
        members.insert("stream".into(), true.into());
        if self.path() != "/generate" {
            members.insert("max_tokens".into(), tokens.into());
            members.insert("ignore_eos".into(), true.into());
            members.insert("stream_options".into(), json!({"include_usage": true}));
        }
        members.extend(more.as_object().expect("an object").clone());
        body.to_string()
    }

    fn answer(self) -> Answer {
        match self {
            Self::GenerateText | Self::Completion => Answer::to_text("the prompt"),
            Self::GenerateIds | Self::CompletionIds => Answer::to_tokens(&[5, 6, 7]),
            Self::Chat => Answer::to_text(&answer::chat_prompt([("user", "the prompt")])),
        }
    }
}

/// A stream as a client puts it together.
#[derive(Debug, PartialEq)]
struct Stream {
    text: String,
    ids: Option<Vec<u32>>,
    finish: Option<Value>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    roles: usize,
}

impl Stream {
    fn of(ask: Ask, answer: &rig::Answer) -> Self {
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.broke && answer.is_done(), "{}", answer.body);
        let events = answer.events();
        let ids: std::collections::BTreeSet<_> =
            events.iter().map(|event| event["id"].to_string()).collect();
        assert_eq!(ids.len(), 1, "one answer has one id: {ids:?}");
        let last = events.last().expect("events");
        if ask.path() == "/generate" {
            let meta = &last["meta_info"];
            let ids: std::collections::BTreeSet<_> = events
                .iter()
                .map(|event| event["meta_info"]["id"].to_string())
                .collect();
            assert_eq!(ids.len(), 1, "one answer has one id: {ids:?}");
            let counts: Vec<_> = events
                .iter()
                .map(|event| event["meta_info"]["completion_tokens"].as_u64())
                .collect();
            assert!(counts.is_sorted(), "{counts:?}");
            return Self {
                text: last["text"].as_str().expect("a text").to_owned(),
                ids: serde_json::from_value(last["output_ids"].clone()).ok(),
                finish: Some(meta["finish_reason"].clone()),
                prompt_tokens: meta["prompt_tokens"].as_u64(),
                completion_tokens: meta["completion_tokens"].as_u64(),
                roles: 0,
            };
        }
        let choices: Vec<_> = events.iter().map(|event| &event["choices"][0]).collect();
        let texts = choices.iter().filter_map(|choice| {
            let text = choice["text"].as_str();
            text.or_else(|| choice["delta"]["content"].as_str())
        });
        Self {
            text: texts.collect(),
            ids: None,
            finish: choices
                .iter()
                .map(|choice| choice["finish_reason"].clone())
                .find(|reason| !reason.is_null()),
            prompt_tokens: last["usage"]["prompt_tokens"].as_u64(),
            completion_tokens: last["usage"]["completion_tokens"].as_u64(),
            roles: choices
                .iter()
                .filter(|choice| choice["delta"]["role"].is_string())
                .count(),
        }
    }
}

async fn ask(rig: &Rig, ask: Ask, tokens: u32, more: &Value) -> rig::Answer {
    rig.post(ask.path(), ask.body(tokens, more)).await
}

/// The same request of a fleet without faults.
async fn undisturbed(how: Ask, tokens: u32, more: &Value) -> Stream {
    let rig = Rig::new(&[]);
    Stream::of(how, &ask(&rig, how, tokens, more).await)
}

fn continued(rig: &Rig, cause: &str, result: &str) -> u64 {
    let labels = [("cause", cause), ("result", result)];
    rig.metric("adaptive_router_stream_continuations_total", &labels) as u64
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_loses_its_decode_worker_is_the_one_that_it_would_have_been() {
    let faults = |after_tokens| {
        [
            Fault::ResetMidStream { after_tokens },
            Fault::CutShort { after_tokens },
            Fault::ErrorEvent { after_tokens },
            Fault::StallMidStream {
                after_tokens,
                stall_ms: None,
            },
        ]
    };
    for how in Ask::ALL {
        let whole = undisturbed(how, TOKENS, &json!({})).await;
        assert_eq!(whole.text, how.answer().text(TOKENS));
        for after_tokens in [1, 2, 7, TOKENS - 1, TOKENS] {
            for fault in faults(after_tokens) {
                // The first decode worker has the fault, the second one doesn't; round robin begins with either.
                let rig = Rig::new(&["--idle-timeout-secs", "2"]);
                for _ in 0..2 {
                    Rig::fault(&rig.decode[..1], &fault);
                    let answer = ask(&rig, how, TOKENS, &json!({})).await;
                    assert_eq!(Stream::of(how, &answer), whole, "{how:?} {fault:?}");
                }
                let continued = continued(&rig, "failure", "continued");
                // With its last token an answer may be out before the fault strikes.
                assert!(continued > 0 || after_tokens == TOKENS, "{how:?} {fault:?}");
                let all = Ledger {
                    completed: 2,
                    ..Ledger::default()
                };
                assert_eq!(rig.ledger(), all);
                assert_eq!(rig.in_flight(), 0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_survives_one_worker_after_the_other() {
    for how in Ask::ALL {
        let whole = undisturbed(how, TOKENS, &json!({})).await;
        let rig = Rig::new(&[]);
        for worker in &rig.decode {
            worker
                .faults()
                .add(Fault::ResetMidStream { after_tokens: 5 }.times(3));
        }
        let answer = ask(&rig, how, TOKENS, &json!({})).await;
        assert_eq!(Stream::of(how, &answer), whole, "{how:?}");
        assert_eq!(continued(&rig, "failure", "continued"), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_not_continued_for_ever() {
    let rig = Rig::new(&["--cb-failure-threshold", "1000"]);
    Rig::fault(&rig.decode, &Fault::ResetMidStream { after_tokens: 2 });
    let answer = ask(&rig, Ask::Completion, TOKENS, &json!({})).await;
    assert!(!answer.is_done() && !answer.broke);
    assert_eq!(continued(&rig, "failure", "continued"), 8);
    assert_eq!(continued(&rig, "failure", "not_continued"), 1);
    let events = answer.events();
    let error = events.last().expect("events");
    assert_eq!(error["error"]["code"], "decode_server_error");
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(
        text,
        Ask::Completion.answer().text(2 * 9),
        "what came is right"
    );
}

#[tokio::test(start_paused = true)]
async fn stop_strings_and_natural_ends_are_kept() {
    for how in Ask::ALL {
        let whole = how.answer().text(TOKENS);
        // Five characters far behind where the worker fails.
        let stop: String = whole.chars().skip(70).take(5).collect();
        let expected = &whole[..whole.find(&stop).expect("it is in there")];
        let (stops, none) = match how.path() {
            "/generate" => (
                json!({"sampling_params": {"max_new_tokens": TOKENS, "stop": [stop]}}),
                json!({"sampling_params": {"max_new_tokens": 4096}}),
            ),
            _ => (
                json!({"stop": stop}),
                json!({"max_tokens": 4096, "ignore_eos": false}),
            ),
        };
        for (more, natural) in [(stops, false), (none, true)] {
            let alone = undisturbed(how, TOKENS, &more).await;
            if !natural {
                assert_eq!(alone.text, expected);
            }
            let rig = Rig::new(&[]);
            Rig::fault(&rig.decode[..1], &Fault::ResetMidStream { after_tokens: 5 });
            for _ in 0..2 {
                let answer = ask(&rig, how, TOKENS, &more).await;
                assert_eq!(Stream::of(how, &answer), alone, "{how:?} {more}");
            }
            assert!(continued(&rig, "failure", "continued") > 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn continuous_usage_goes_on_counting() {
    let more = json!({"stream_options": {"include_usage": true, "continuous_usage_stats": true}});
    for how in [Ask::Completion, Ask::CompletionIds, Ask::Chat] {
        let whole = undisturbed(how, TOKENS, &more).await;
        let rig = Rig::new(&[]);
        Rig::fault(&rig.decode[..1], &Fault::ResetMidStream { after_tokens: 9 });
        for _ in 0..2 {
            let answer = ask(&rig, how, TOKENS, &more).await;
            assert_eq!(Stream::of(how, &answer), whole, "{how:?}");
            let counts: Vec<_> = answer
                .events()
                .iter()
                .filter_map(|event| event["usage"]["completion_tokens"].as_u64())
                .collect();
            assert!(counts.is_sorted(), "{how:?} {counts:?}");
            assert!(answer.events().iter().all(|event| {
                let usage = &event["usage"];
                usage.is_null() || usage["prompt_tokens"].as_u64() == whole.prompt_tokens
            }));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_continued_exactly_ends_in_one_error_event() {
    for (how, more, reason) in [
        (Ask::Completion, json!({"logprobs": 1}), "internals"),
        (
            Ask::Completion,
            json!({"n": 1, "presence_penalty": 0.5}),
            "penalties",
        ),
        (Ask::Chat, json!({"tools": [{"type": "function"}]}), "tools"),
        (
            Ask::Chat,
            json!({"response_format": {"type": "json_object"}}),
            "grammar",
        ),
        (
            Ask::GenerateText,
            json!({"sampling_params": {"max_new_tokens": 30, "regex": "a*"}}),
            "grammar",
        ),
    ] {
        let rig = Rig::new(&[]);
        Rig::fault(&rig.decode, &Fault::ResetMidStream { after_tokens: 3 });
        let answer = ask(&rig, how, TOKENS, &more).await;
        assert!(!answer.is_done() && !answer.broke, "{more}");
        let errors = answer
            .events()
            .iter()
            .filter(|event| event.get("error").is_some())
            .count();
        assert_eq!(errors, 1, "{more}");
        let labels = [("endpoint", how.path()), ("reason", reason)];
        let counted = rig.metric("adaptive_router_stream_continuations_total", &labels);
        assert_eq!(counted as u64, 1, "{more}");
        let failed = Ledger {
            failed: 1,
            ..Ledger::default()
        };
        assert_eq!(rig.ledger(), failed);
    }
}

#[tokio::test(start_paused = true)]
async fn switched_off_or_without_memory_a_stream_ends_with_its_worker() {
    for flags in [
        ["--stream-continuation", "off"],
        ["--stream-continuation-max-bytes", "10"],
        ["--disable-stream-metrics", "--disable-retries"],
    ] {
        let rig = Rig::new(&flags);
        Rig::fault(&rig.decode, &Fault::ResetMidStream { after_tokens: 3 });
        let answer = ask(&rig, Ask::Chat, TOKENS, &json!({})).await;
        assert!(!answer.is_done() && !answer.broke);
        assert_eq!(continued(&rig, "failure", "continued"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_leave_a_worker_that_is_drained_and_lose_nothing() {
    for how in Ask::ALL {
        let tokens = 400;
        let whole = undisturbed(how, tokens, &json!({})).await;
        let rig = Rig::new(&[]);
        let drained = rig.worker("http://decode-0:30000");
        let nothing_more = json!({});
        let streams =
            futures_util::future::join_all((0..6).map(|_| ask(&rig, how, tokens, &nothing_more)));
        let drain = async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            let before = drained.in_flight();
            rig.proxy
                .registry
                .apply(drained.id, WorkerEvent::DrainRequested);
            drained.ask_streams_to_leave(true);
            let left = tokio::time::timeout(Duration::from_millis(500), drained.drained()).await;
            (before, left.is_ok())
        };
        let (streams, (before, left)) = tokio::join!(streams, drain);
        assert!(
            before > 1 && left,
            "{how:?}: {before} were there, all left: {left}"
        );
        for answer in &streams {
            assert_eq!(Stream::of(how, answer), whole, "{how:?}");
        }
        assert_eq!(continued(&rig, "drain", "continued"), u64::from(before));
        let all = Ledger {
            completed: 6,
            ..Ledger::default()
        };
        assert_eq!(rig.ledger(), all);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_takes_stays_on_its_drained_worker() {
    let rig = Rig::new(&["--disable-retries"]);
    let whole = undisturbed(Ask::Completion, 200, &json!({})).await;
    let nothing_more = json!({});
    let stream = ask(&rig, Ask::Completion, 200, &nothing_more);
    let drain = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        for worker in &rig.prefill {
            let refuse = Fault::Refuse {
                status: 503,
                retry_after_s: None,
            };
            worker.faults().add(refuse);
        }
        for url in ["http://decode-0:30000", "http://decode-1:30000"] {
            rig.worker(url).ask_streams_to_leave(true);
        }
    };
    let (answer, ()) = tokio::join!(stream, drain);
    assert_eq!(Stream::of(Ask::Completion, &answer), whole);
    assert_eq!(
        continued(&rig, "drain", "not_continued"),
        1,
        "it is asked once"
    );
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_a_client_asked_for_is_its_answer() {
    let rig = Rig::new(&[]);
    let body = Ask::GenerateText.body(10_000, &json!({"rid": "mine"}));
    let asked = rig.post("/generate", body);
    let abort = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for worker in rig.prefill.iter().chain(&rig.decode) {
            let request = http::Request::post("/abort_request")
                .header("content-type", "application/json")
                .body(axum::body::Body::from(r#"{"rid":"mine"}"#))
                .expect("a request");
            let answer = worker.http().oneshot(request).await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK);
        }
    };
    let (answer, ()) = tokio::join!(asked, abort);
    let last = answer.events().pop().expect("events");
    assert_eq!(last["meta_info"]["finish_reason"]["type"], "abort");
    assert!(answer.is_done());
    assert_eq!(continued(&rig, "failure", "continued"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_stream_changes_workers_frees_all_of_them() {
    let rig = Rig::new(&[]);
    Rig::fault(&rig.decode, &Fault::ResetMidStream { after_tokens: 3 });
    for worker in &rig.prefill {
        // The second pair's prefill takes its time.
        worker.faults().add(Fault::Slow { factor: 50.0 });
    }
    let response = rig
        .open(Ask::Chat.path(), Ask::Chat.body(10_000, &json!({})))
        .await;
    let mut body = response.into_body();
    let read = async {
        use http_body_util::BodyExt as _;
        while let Some(Ok(_)) = body.frame().await {}
    };
    // Long enough for the first three tokens, and not for the next pair's first.
    let left = tokio::time::timeout(Duration::from_secs(3), read).await;
    drop(body);
    let workers = || rig.prefill.iter().chain(&rig.decode);
    assert!(left.is_err() || continued(&rig, "failure", "continued") > 0);
    let free = within(Duration::from_millis(100), || {
        workers().all(|worker| worker.stats().in_flight == 0)
    })
    .await;
    assert!(free);
    assert_eq!(rig.in_flight(), 0);
    assert_eq!(
        rig.metric("adaptive_router_stream_kept_bytes", &[]) as u64,
        0
    );
}
