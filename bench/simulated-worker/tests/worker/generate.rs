//! `/generate` of a pair and of a lone worker.

use crate::support::{Fleet, Pair, generate, get, post, settle, streamed};
use serde_json::{Value, json};
use simulated_worker::{
    Config, Role,
    answer::{Answer, chat_prompt, expected_text, prompt_tokens},
};

#[tokio::test(start_paused = true)]
async fn a_pair_answers_as_the_prompt_demands() {
    let pair = Pair::instant();
    let (prefill, decode) = pair.post("/generate", &generate("hello", 12), 1).await;

    let (first, whole) = (prefill.json(), decode.json());
    assert_eq!(first["text"], Answer::to_text("hello").text(1));
    assert_eq!(
        first["meta_info"]["finish_reason"],
        json!({"type": "length", "length": 0})
    );
    assert_eq!(first["meta_info"]["completion_tokens"], 1);
    assert_eq!(whole["text"], expected_text("hello", 12));
    assert_eq!(whole["output_ids"], json!(Answer::to_text("hello").ids(12)));
    assert_eq!(
        whole["meta_info"]["finish_reason"],
        json!({"type": "length", "length": 12})
    );
    assert_eq!(whole["meta_info"]["prompt_tokens"], prompt_tokens("hello"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_cumulative_and_ends_with_done() {
    let pair = Pair::instant();
    let (prefill, decode) = pair
        .post("/generate", &streamed(&generate("hello", 40)), 1)
        .await;

    assert_eq!(prefill.chunks().len(), 1, "{}", prefill.body);
    let chunks = decode.chunks();
    assert_eq!(chunks.len(), 40);
    for (index, chunk) in chunks.iter().enumerate() {
        let tokens = index as u32 + 1;
        assert_eq!(chunk["text"], Answer::to_text("hello").text(tokens));
        assert_eq!(chunk["meta_info"]["completion_tokens"], tokens);
        assert_eq!(
            chunk["meta_info"]["finish_reason"].is_null(),
            tokens < 40,
            "only the last chunk finishes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_stream_comes_before_any_work() {
    let pair = Pair::timed();
    let body = pair.in_room(&streamed(&generate("hello", 4)), 1);
    // No prefill is told: nothing can be computed.
    let head = crate::support::send(&pair.decode, "POST", "/generate", body.to_string()).await;
    assert_eq!(head.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_holds_as_many_tokens_as_asked_for() {
    let pair = Pair::instant();
    let mut body = streamed(&generate("hello", 10));
    body["sampling_params"]["stream_interval"] = 4.into();
    let (_, decode) = pair.post("/generate", &body, 1).await;
    let counts: Vec<Value> = decode
        .chunks()
        .iter()
        .map(|chunk| chunk["meta_info"]["completion_tokens"].clone())
        .collect();
    assert_eq!(counts, [1, 5, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn batches_of_texts_and_of_ids_take_a_room_each() {
    let pair = Pair::instant();
    let sampling = json!({"max_new_tokens": 6});
    let table = [
        (
            json!({"text": ["a", "b", "c"], "sampling_params": sampling}),
            [
                Answer::to_text("a"),
                Answer::to_text("b"),
                Answer::to_text("c"),
            ],
        ),
        (
            json!({"input_ids": [[1], [2, 2], [3]], "sampling_params": sampling}),
            [
                Answer::to_tokens(&[1]),
                Answer::to_tokens(&[2, 2]),
                Answer::to_tokens(&[3]),
            ],
        ),
    ];
    for (body, answers) in table {
        let (_, decode) = pair.post("/generate", &body, 70).await;
        let texts: Vec<Value> = decode
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["text"].clone())
            .collect();
        assert_eq!(texts, answers.map(|answer| answer.text(6)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_batch_names_the_index_of_each_chunk() {
    let pair = Pair::instant();
    let body =
        json!({"text": ["a", "b"], "stream": true, "sampling_params": {"max_new_tokens": 3}});
    let (_, decode) = pair.post("/generate", &body, 7).await;
    for (index, prompt) in ["a", "b"].iter().enumerate() {
        let chunks = decode.chunks();
        let last = chunks
            .iter()
            .rfind(|chunk| chunk["index"] == index)
            .unwrap();
        assert_eq!(last["text"], expected_text(prompt, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn samples_of_one_prompt_differ() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let body = json!({"text": "a", "sampling_params": {"n": 2, "max_new_tokens": 5}});
    let answered = post(&worker, "/generate", &body).await.json();
    assert_eq!(answered[0]["text"], expected_text("a", 5));
    assert_eq!(answered[1]["text"], Answer::to_text("a").choice(1).text(5));
}

#[tokio::test(start_paused = true)]
async fn prefill_reports_the_prompt_and_decode_the_output() {
    let pair = Pair::instant();
    let mut body = generate("0123456789ab", 4);
    body["return_logprob"] = true.into();
    body["logprob_start_len"] = 0.into();
    let (prefill, decode) = pair.post("/generate", &body, 3).await;

    let input = &prefill.json()["meta_info"]["input_token_logprobs"];
    assert_eq!(input.as_array().unwrap().len(), 3);
    assert!(input[0][0].is_null() && input[1][0].is_number(), "{input}");
    let decoded = decode.json();
    assert_eq!(decoded["meta_info"]["input_token_logprobs"], json!([]));
    let output = &decoded["meta_info"]["output_token_logprobs"];
    assert_eq!(output.as_array().unwrap().len(), 4);
    assert_eq!(output[2][1], Answer::to_text("0123456789ab").ids(4)[2]);
}

#[tokio::test(start_paused = true)]
async fn without_a_start_only_the_output_is_reported() {
    let pair = Pair::instant();
    let mut body = generate("hello", 4);
    body["return_logprob"] = true.into();
    let (prefill, _) = pair.post("/generate", &body, 3).await;
    let prefilled = prefill.json();
    assert_eq!(prefilled["meta_info"]["input_token_logprobs"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_stop_string_ends_the_answer_before_itself() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let whole = expected_text("hello", 30);
    let stop: String = whole.chars().skip(25).take(4).collect();
    let mut body = generate("hello", 30);
    body["sampling_params"]["stop"] = json!([stop]);
    for body in [body.clone(), streamed(&body)] {
        let answered = post(&worker, "/generate", &body).await;
        let last = if body["stream"] == true {
            answered.chunks().pop().unwrap()
        } else {
            answered.json()
        };
        assert_eq!(last["text"], whole[..whole.find(&stop).unwrap()]);
        assert_eq!(
            last["meta_info"]["finish_reason"],
            json!({"type": "stop", "matched": stop})
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_stops_by_itself_unless_told_not_to() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config::instant(Role::Null));
    let natural = Answer::to_text("hello").natural_length();
    for ignore_eos in [false, true] {
        let sampling = json!({"max_new_tokens": natural + 10, "ignore_eos": ignore_eos});
        let body = json!({"text": "hello", "sampling_params": sampling});
        let meta = &post(&worker, "/generate", &body).await.json()["meta_info"];
        let (tokens, kind) = if ignore_eos {
            (natural + 10, "length")
        } else {
            (natural, "stop")
        };
        assert_eq!(meta["completion_tokens"], tokens);
        assert_eq!(meta["finish_reason"]["type"], kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_room_is_refused() {
    let pair = Pair::instant();
    let message = "Disaggregated request received without bootstrap room id";
    for worker in [&pair.prefill, &pair.decode] {
        let plain = post(worker, "/generate", &generate("hello", 4)).await;
        assert_eq!(plain.status, 400);
        assert_eq!(plain.json(), json!({"error": {"message": message}}));

        let stream = post(worker, "/generate", &streamed(&generate("hello", 4))).await;
        assert_eq!(stream.status, 200, "errors of a stream come inside it");
        let finish = &stream.chunks()[0]["meta_info"]["finish_reason"];
        assert_eq!(finish["type"], "abort");
        assert_eq!(finish["status_code"], 400);
        assert_eq!(finish["message"], message);
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_and_incomplete_bodies_are_refused_in_their_shapes() {
    let mut fleet = Fleet::new();
    let worker = fleet.start(Config {
        context_length: 100,
        ..Config::instant(Role::Null)
    });
    let broken = crate::support::send(&worker, "POST", "/generate", "{\"text\":".into()).await;
    let broken = crate::support::read(broken).await;
    assert_eq!(broken.status, 400);
    assert_eq!(broken.json()["object"], "error");
    assert_eq!(broken.json()["type"], "Bad Request");

    let empty = post(&worker, "/generate", &json!({})).await;
    assert_eq!(empty.status, 400);
    assert!(empty.json()["error"]["message"].is_string());

    let long = "x".repeat(400);
    let too_long = post(&worker, "/generate", &generate(&long, 1)).await;
    assert_eq!(too_long.status, 400);
    let text = too_long.body;
    assert!(
        text.contains("longer than the model's context length (100 tokens)"),
        "{text}"
    );

    let too_many = post(&worker, "/generate", &generate("x", 100)).await;
    assert_eq!(too_many.status, 400);
    assert_eq!(worker.stats().refused, 4);
}

#[tokio::test(start_paused = true)]
async fn the_fake_bootstrap_host_needs_no_partner() {
    let pair = Pair::instant();
    let mut body = generate("warm-up", 3);
    body["bootstrap_host"] = "2.2.2.2".into();
    for (worker, tokens) in [(&pair.prefill, 1), (&pair.decode, 3)] {
        let answered = post(worker, "/generate", &body).await.json();
        assert_eq!(answered["text"], expected_text("warm-up", tokens));
    }
}

#[tokio::test(start_paused = true)]
async fn two_requests_in_one_room_are_mixed_up_and_counted() {
    let pair = Pair::timed();
    let (one, two) = (generate("one", 8), generate("two", 8));
    let ((_, first), (_, second)) = tokio::join!(
        pair.post("/generate", &one, 5),
        pair.post("/generate", &two, 5)
    );
    let texts = [first.json()["text"].clone(), second.json()["text"].clone()];
    assert_ne!(
        texts,
        [expected_text("one", 8), expected_text("two", 8)],
        "somebody got the other's text"
    );
    assert_eq!(pair.prefill.stats().room_collisions, 1);
    assert!(pair.decode.stats().room_collisions >= 1);
}

#[tokio::test(start_paused = true)]
async fn many_rooms_at_once_are_never_mixed_up() {
    let pair = Pair::timed();
    let requests = (0..100).map(|number| {
        let pair = &pair;
        async move {
            let prompt = format!("prompt {number}");
            let (_, decode) = pair.post("/generate", &generate(&prompt, 20), number).await;
            assert_eq!(decode.json()["text"], expected_text(&prompt, 20));
        }
    });
    futures_util::future::join_all(requests).await;
    assert_eq!(pair.decode.stats().completed, 100);
    assert_eq!(pair.prefill.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn prefill_ends_with_the_transfer_and_decode_takes_its_steps() {
    let pair = Pair::timed();
    let timing = pair.prefill.config().timing;
    let began = tokio::time::Instant::now();
    let body = pair.in_room(&generate("0123", 11), 1);
    let (prefilled, decoded) = tokio::join!(
        async {
            post(&pair.prefill, "/generate", &body).await;
            began.elapsed()
        },
        async {
            post(&pair.decode, "/generate", &body).await;
            began.elapsed()
        }
    );
    let ttft = timing.prefill(1) + timing.transfer(2);
    let close = |a: std::time::Duration, b: std::time::Duration| a.abs_diff(b).as_millis() <= 4;
    assert!(close(prefilled, ttft), "{prefilled:?} is not {ttft:?}");
    let whole = ttft + timing.decode_step(1, 6) * 10;
    assert!(close(decoded, whole), "{decoded:?} is not {whole:?}");
}

#[tokio::test(start_paused = true)]
async fn a_moved_stream_continues_where_it_stopped() {
    let pair = Pair::instant();
    let so_far = Answer::to_text("a question").text(9);
    let body = generate(&format!("a question{so_far}"), 11);
    let (_, decode) = pair.post("/generate", &body, 2).await;
    let rest = decode.json()["text"].as_str().unwrap().to_owned();
    assert_eq!(format!("{so_far}{rest}"), expected_text("a question", 20));
}

#[tokio::test(start_paused = true)]
async fn the_engine_does_nothing_before_it_runs() {
    let worker = simulated_worker::SimulatedWorker::new(
        Config::instant(Role::Null),
        &simulated_worker::Network::InMemory(simulated_worker::Switchboard::default()),
    );
    assert_eq!(get(&worker, "/ready").await.status, 503);
    let mut fleet = Fleet::new();
    let running = fleet.start(Config::instant(Role::Null));
    settle().await;
    assert_eq!(get(&running, "/ready").await.status, 200);
}

#[test]
fn a_chat_prompt_is_public_and_stable() {
    assert_eq!(chat_prompt([("user", "hi")]), "<|user|>hi\n<|assistant|>");
}
