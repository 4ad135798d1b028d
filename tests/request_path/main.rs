//! The request path against simulated workers: answers right and whole, faults before and after the first byte, clients
//! that leave. In memory and in virtual time.

mod continuation;
mod queue;
mod rig;
mod samples;
mod telemetry;

use std::sync::Arc;
use std::time::Duration;

use adaptive_router::server::Outlet;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use rig::{Ledger, Rig, within};
use serde_json::{Value, json};
use simulated_worker::{Fault, Rule, answer};
use tower::ServiceExt as _;

const TOKENS: u32 = 24;

fn generate(text: &str, stream: bool) -> String {
    json!({"text": text, "stream": stream, "sampling_params": {"max_new_tokens": TOKENS, "ignore_eos": true}}).to_string()
}

fn completion(prompt: &Value, stream: bool) -> String {
    json!({"model": "any", "prompt": prompt, "stream": stream, "max_tokens": TOKENS, "ignore_eos": true}).to_string()
}

fn text_of(events: &[Value]) -> String {
    events
        .iter()
        .filter_map(|event| event["choices"][0]["text"].as_str())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_the_one_to_its_prompt() {
    let rig = Rig::new(&[]);
    for number in 0..8 {
        let prompt = format!("prompt {number}");
        let expected = answer::expected_text(&prompt, TOKENS);
        let whole = rig.post("/generate", generate(&prompt, false)).await;
        assert_eq!(whole.json()["text"], expected);
        let streamed = rig.post("/generate", generate(&prompt, true)).await;
        assert_eq!(streamed.events().last().expect("events")["text"], expected);
        assert!(streamed.is_done());
        let whole = rig
            .post("/v1/completions", completion(&json!(prompt), false))
            .await;
        assert_eq!(whole.json()["choices"][0]["text"], expected);
        let streamed = rig
            .post("/v1/completions", completion(&json!(prompt), true))
            .await;
        assert_eq!(text_of(&streamed.events()), expected);
        assert!(streamed.is_done());
    }
    assert_eq!(
        rig.ledger(),
        Ledger {
            completed: 32,
            ..Ledger::default()
        }
    );
    assert_eq!(rig.in_flight(), 0);
    let collisions: u64 = rig
        .decode
        .iter()
        .map(|worker| worker.stats().room_collisions)
        .sum();
    assert_eq!(collisions, 0);
}

#[tokio::test(start_paused = true)]
async fn batches_come_back_in_order() {
    let rig = Rig::new(&[]);
    let answer = rig
        .post(
            "/v1/completions",
            completion(&json!(["a", "b", "c"]), false),
        )
        .await;
    let choices: Vec<_> = answer.json()["choices"]
        .as_array()
        .expect("choices")
        .clone();
    let texts: Vec<_> = choices
        .iter()
        .map(|choice| choice["text"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(
        texts,
        ["a", "b", "c"].map(|prompt| answer::expected_text(prompt, TOKENS))
    );
}

#[tokio::test(start_paused = true)]
async fn prompt_logprobs_come_from_the_prefill_streamed_and_not() {
    let rig = Rig::new(&[]);
    let body = |stream| {
        json!({"text": "one two three", "stream": stream, "return_logprob": true, "logprob_start_len": 0,
               "sampling_params": {"max_new_tokens": 4, "ignore_eos": true}})
        .to_string()
    };
    let whole = rig.post("/generate", body(false)).await.json();
    let prompt = whole["meta_info"]["input_token_logprobs"]
        .as_array()
        .expect("an array")
        .clone();
    assert_eq!(
        prompt.len() as u64,
        whole["meta_info"]["prompt_tokens"]
            .as_u64()
            .expect("a count")
    );
    let streamed = rig.post("/generate", body(true)).await;
    assert!(streamed.is_done());
    for event in streamed.events() {
        assert_eq!(
            event["meta_info"]["input_token_logprobs"].as_array(),
            Some(&prompt)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_first_byte_is_retried_on_another_pair() {
    let refuse = Fault::Refuse {
        status: 503,
        retry_after_s: None,
    };
    let faults = [
        refuse,
        Fault::ResetBeforeHead,
        Fault::ErrorEvent { after_tokens: 0 },
        Fault::ResetMidStream { after_tokens: 0 },
        Fault::CutShort { after_tokens: 0 },
        Fault::Garbage { after_tokens: 0 },
    ];
    for fault in faults {
        for stream in [false, true] {
            for prefill in [false, true] {
                let rig = Rig::new(&[]);
                Rig::fault(
                    if prefill {
                        &rig.prefill[..1]
                    } else {
                        &rig.decode[..1]
                    },
                    &fault,
                );
                for number in 0..4 {
                    let prompt = format!("prompt {number}");
                    let answer = rig
                        .post("/v1/completions", completion(&json!(prompt), stream))
                        .await;
                    let expected = answer::expected_text(&prompt, TOKENS);
                    let text = if stream {
                        text_of(&answer.events())
                    } else {
                        answer.json()["choices"][0]["text"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned()
                    };
                    assert_eq!(
                        text, expected,
                        "{fault:?}, stream {stream}, prefill {prefill}"
                    );
                }
                assert_eq!(rig.ledger().completed, 4);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_own_mistake_is_passed_on_at_once_and_charges_nobody() {
    let rig = Rig::new(&["--cb-failure-threshold", "1"]);
    Rig::fault(
        &rig.prefill,
        &Fault::Refuse {
            status: 400,
            retry_after_s: None,
        },
    );
    let answer = rig.post("/generate", generate("a", false)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["code"], "prefill_bad_request");
    assert_eq!(answer.headers["x-smg-error-code"], "prefill_bad_request");
    rig.prefill
        .iter()
        .for_each(|worker| worker.faults().clear());
    assert_eq!(
        rig.post("/generate", generate("a", false)).await.status,
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_worker_keeps_its_status_and_retry_after() {
    let cases = [
        (429, Some(7), "decode_error", "7"),
        (503, Some(7), "decode_unavailable", "7"),
        (503, None, "decode_unavailable", "1"),
    ];
    for (status, retry_after_s, code, says) in cases {
        let rig = Rig::new(&["--retry-max-retries", "1"]);
        Rig::fault(
            &rig.decode,
            &Fault::Refuse {
                status,
                retry_after_s,
            },
        );
        for stream in [false, true] {
            let answer = rig
                .post("/v1/completions", completion(&json!("a"), stream))
                .await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers["retry-after"], says);
            assert_eq!(answer.json()["error"]["code"], code);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_leg_that_failed_is_charged() {
    let rig = Rig::new(&["--cb-failure-threshold", "1", "--retry-max-retries", "1"]);
    Rig::fault(&rig.prefill[..1], &Fault::ResetBeforeHead);
    for _ in 0..4 {
        rig.post("/generate", generate("a", false)).await;
    }
    let now = rig.proxy.clock.now();
    let set = rig.proxy.registry.snapshot();
    let open: Vec<_> = set
        .members()
        .iter()
        .filter(|member| !member.worker.breaker.allows(now))
        .collect();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].worker.url.as_str(), "http://prefill-0:30000");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_to_be_continued_ends_with_one_error_event_and_no_done() {
    let rig = Rig::new(&["--stream-continuation", "off"]);
    Rig::fault(&rig.decode, &Fault::ResetMidStream { after_tokens: 5 });
    let answer = rig
        .post("/v1/completions", completion(&json!("a"), true))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.broke && !answer.is_done());
    let events = answer.events();
    let errors: Vec<_> = events
        .iter()
        .filter(|event| event.get("error").is_some())
        .collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["error"]["code"], "decode_server_error");
    assert_eq!(
        rig.ledger(),
        Ledger {
            failed: 1,
            ..Ledger::default()
        }
    );
    assert_eq!(rig.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_given_up_within_its_limit() {
    let flags = [
        "--retry-max-retries",
        "1",
        "--first-byte-timeout-secs",
        "3",
        "--idle-timeout-secs",
        "2",
        "--stream-continuation",
        "off",
    ];
    let rig = Rig::new(&flags);
    Rig::fault(&rig.decode, &Fault::StallBeforeHead { stall_ms: None });
    let begin = tokio::time::Instant::now();
    let answer = rig
        .post("/v1/completions", completion(&json!("a"), true))
        .await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.json()["error"]["code"], "decode_timeout");
    assert_eq!(begin.elapsed().as_secs(), 3);

    Rig::fault(
        &rig.decode,
        &Fault::StallMidStream {
            after_tokens: 3,
            stall_ms: None,
        },
    );
    let answer = rig
        .post("/v1/completions", completion(&json!("a"), true))
        .await;
    assert_eq!(
        answer.events().last().expect("events")["error"]["code"],
        "decode_timeout"
    );
    assert!(!answer.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_pair_of_which_one_hangs_is_tried_with_neither_again_and_blames_nobody() {
    for prefill_hangs in [false, true] {
        let flags = [
            "--first-byte-timeout-secs",
            "3",
            "--cb-failure-threshold",
            "1",
        ];
        let rig = Rig::new(&flags);
        let hang = Fault::StallBeforeHead { stall_ms: None };
        let workers = if prefill_hangs {
            &rig.prefill
        } else {
            &rig.decode
        };
        Rig::fault(&workers[..1], &hang);
        // Each would meet the worker that hangs again after its first attempt, were it not left out.
        for _ in 0..4 {
            let begin = tokio::time::Instant::now();
            let answer = rig
                .post("/v1/completions", completion(&json!("a"), true))
                .await;
            assert!(answer.is_done(), "{answer:?}");
            assert!(
                begin.elapsed() < Duration::from_secs(4),
                "{:?}",
                begin.elapsed()
            );
        }
        let now = rig.proxy.clock.now();
        for member in rig.proxy.registry.snapshot().members() {
            assert!(member.worker.breaker.allows(now), "{}", member.worker.url);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_frees_both_workers_within_100_ms() {
    for after_first_byte in [false, true] {
        let rig = Rig::new(&[]);
        let body = json!({"prompt": "a", "model": "m", "stream": true, "max_tokens": 10_000, "ignore_eos": true});
        let open = rig.open("/v1/completions", body.to_string());
        if after_first_byte {
            let response = open.await;
            assert_eq!(response.status(), StatusCode::OK);
            drop(response);
        } else {
            // Long before the prefill of this prompt ends.
            assert!(
                tokio::time::timeout(Duration::from_millis(5), open)
                    .await
                    .is_err()
            );
        }
        let workers = || rig.prefill.iter().chain(&rig.decode);
        let free = within(Duration::from_millis(100), || {
            workers().all(|worker| worker.stats().in_flight == 0)
        })
        .await;
        assert!(free, "after the first byte: {after_first_byte}");
        assert_eq!(
            rig.ledger(),
            Ledger {
                client_gone: 1,
                ..Ledger::default()
            }
        );
        assert_eq!(rig.in_flight(), 0);
    }
}

/// The connection's next answer finds nothing of the one before.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_given_up_takes_its_chunk_out_of_the_outlet() {
    let rig = Rig::new(&[]);
    let outlet = Arc::new(Outlet::default());
    let body = json!({"prompt": "a", "model": "m", "stream": true, "max_tokens": 10_000, "ignore_eos": true});
    let mut request = Request::post("/v1/completions")
        .body(Body::from(body.to_string()))
        .expect("a good request");
    request.extensions_mut().insert(Arc::clone(&outlet));
    let response = rig.router.clone().oneshot(request).await;
    let mut answer = response.expect("the router never fails").into_body();
    let first = answer.frame().await.expect("not the end");
    assert!(first.is_ok_and(|frame| frame.is_data()), "for hyper");
    assert!(outlet.is_free());
    let second = tokio::time::timeout(Duration::from_secs(10), answer.frame()).await;
    assert!(second.is_err(), "it went to the outlet");
    assert!(!outlet.is_free());
    drop(answer);
    assert!(outlet.is_free());
}

#[tokio::test(start_paused = true)]
async fn no_worker_is_a_503_that_says_which_role_is_missing() {
    let rig = Rig::new(&["--disable-retries"]);
    let set = rig.proxy.registry.snapshot();
    for member in set
        .members()
        .iter()
        .filter(|member| member.role == policies::worker::Role::Decode)
    {
        rig.proxy
            .registry
            .apply(member.worker.id, policies::lifecycle::WorkerEvent::Removed);
    }
    let answer = rig.post("/generate", generate("a", false)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["error"]["code"], "server_selection_failed");
    assert!(
        answer.json()["error"]["message"]
            .as_str()
            .expect("words")
            .contains("No decode workers available")
    );
    assert_eq!(rig.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_pair_does_not_serve_is_501_and_what_is_no_json_is_400() {
    let rig = Rig::new(&[]);
    for path in [
        "/v1/embeddings",
        "/v1/classify",
        "/v1/score",
        "/v1/responses",
    ] {
        assert_eq!(
            rig.post(path, "{}").await.status,
            StatusCode::NOT_IMPLEMENTED,
            "{path}"
        );
    }
    let answer = rig.post("/generate", "{\"text\":").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["code"], "invalid_request");
}

#[tokio::test(start_paused = true)]
async fn logprobs_are_merged_into_an_answer_of_any_length() {
    let rig = Rig::new(&[]);
    let body = json!({"text": "one two three", "return_logprob": true, "logprob_start_len": 0, "top_logprobs_num": 5,
                      "sampling_params": {"max_new_tokens": 40_000, "ignore_eos": true}});
    let answer = rig.post("/generate", body.to_string()).await;
    assert!(answer.body.len() > 1024 * 1024, "{}", answer.body.len());
    let answer = answer.json();
    let prompt = answer["meta_info"]["input_token_logprobs"]
        .as_array()
        .map(Vec::len);
    assert_eq!(
        prompt.map(|len| len as u64),
        answer["meta_info"]["prompt_tokens"].as_u64()
    );
}

#[tokio::test(start_paused = true)]
async fn a_prefill_that_fails_now_and_then_keeps_its_breaker_closed() {
    let rig = Rig::new(&["--cb-failure-threshold", "3"]);
    // Every second prefill of each worker fails, so that no two failures follow each other.
    for _ in 0..12 {
        for worker in &rig.prefill {
            worker.faults().set([Rule {
                limit: Some(1),
                ..Fault::ResetBeforeHead.into()
            }]);
        }
        for _ in 0..4 {
            let answer = rig.post("/generate", generate("a", true)).await;
            assert_eq!(answer.status, StatusCode::OK);
        }
    }
    for worker in rig.proxy.registry.snapshot().members() {
        let state = worker.worker.breaker.state(rig.proxy.clock.now());
        assert_eq!(state.as_str(), "closed", "{}", worker.worker.url);
    }
    let prefill = [("worker", "http://prefill-0:30000"), ("outcome", "success")];
    assert!(rig.metric("smg_worker_cb_outcomes_total", &prefill) > 0.0);
}
