use super::*;

const MS: Duration = Duration::from_millis(1);

/// Reads events that come 10 ms apart, the first at 10 ms.
fn read(endpoint: Endpoint, events: &[&str], must_have: Option<u32>) -> Result<Answer, Problem> {
    let mut reading = Reading::new(endpoint, true);
    for (event, at) in events.iter().zip(1..) {
        reading.event(event.as_bytes(), MS * 10 * at)?;
    }
    reading.end(must_have)
}

const A: &str = r#"{"choices": [{"text": "a"}]}"#;
const LAST: &str = r#"{"choices": [{"text": "b", "finish_reason": "length"}]}"#;
const USAGE: &str = r#"{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}"#;

#[test]
fn a_whole_answer_has_its_tokens_and_times() {
    let answer = read(Endpoint::Completions, &[A, LAST, USAGE, "[DONE]"], Some(2)).unwrap();
    assert_eq!(answer.first, MS * 10);
    assert_eq!(answer.whole, MS * 20);
    assert_eq!(
        answer.gaps,
        [Gap {
            micros: 10_000,
            tokens: 1
        }]
    );
    assert_eq!((answer.prompt_tokens, answer.output_tokens), (Some(5), 2));
    assert_eq!((answer.text.as_str(), answer.events), ("ab", 4));
}

#[test]
fn a_role_chunk_is_no_first_token_and_an_end_chunk_no_last_one() {
    let role = r#"{"choices": [{"delta": {"role": "assistant", "content": ""}}]}"#;
    let token = r#"{"choices": [{"delta": {"content": "x"}}]}"#;
    let end = r#"{"choices": [{"delta": {}, "finish_reason": "stop"}]}"#;
    let answer = read(
        Endpoint::Chat,
        &[role, token, token, end, USAGE, "[DONE]"],
        None,
    )
    .unwrap();
    assert_eq!((answer.first, answer.gaps.len()), (MS * 20, 1));
    assert_eq!(answer.whole, MS * 40);
}

#[test]
fn a_chunk_of_several_tokens_is_as_many_gaps() {
    let generated = |tokens: u32, finish: &str| {
        format!(
            r#"{{"text": "x", "meta_info": {{"prompt_tokens": 3, "completion_tokens": {tokens}, "finish_reason": {finish}}}}}"#
        )
    };
    let (first, more, last) = (
        generated(1, "null"),
        generated(5, "null"),
        generated(6, r#"{"type": "length"}"#),
    );
    let answer = read(
        Endpoint::Generate,
        &[&first, &more, &last, "[DONE]"],
        Some(6),
    )
    .unwrap();
    let gaps: Vec<_> = answer.gaps.iter().map(|gap| gap.tokens).collect();
    assert_eq!(gaps, [4, 1]);
    assert!((answer.gaps[0].seconds_per_token() - 0.0025).abs() < 1e-12);
    let usage =
        r#"{"choices": [{"text": "b"}], "usage": {"prompt_tokens": 5, "completion_tokens": 4}}"#;
    let answer = read(Endpoint::Completions, &[A, usage, LAST, "[DONE]"], None).unwrap();
    let gaps: Vec<_> = answer.gaps.iter().map(|gap| gap.tokens).collect();
    assert_eq!(gaps, [3, 1]);
}

#[test]
fn every_flaw_is_named() {
    let error = r#"{"error": {"message": "out of memory"}}"#;
    let abort = r#"{"choices": [{"text": "", "finish_reason": "abort"}]}"#;
    let empty = r#"{"choices": [{"text": "", "finish_reason": "stop"}]}"#;
    let table: [(&[&str], Failure, &str); 8] = [
        (&[A], Failure::Incomplete, "without a finish reason"),
        (
            &[A, "[DONE]"],
            Failure::Incomplete,
            "without a finish reason",
        ),
        (&[A, LAST], Failure::Incomplete, "without [DONE]"),
        (&[empty, "[DONE]"], Failure::Incomplete, "no token"),
        (&[A, error], Failure::ErrorEvent, "out of memory"),
        (&[A, abort], Failure::ErrorEvent, "abort"),
        (&["{"], Failure::Garbled, "{"),
        (
            &[A, LAST, USAGE, "[DONE]"],
            Failure::WrongUsage,
            "asked for 3 tokens, the usage states 2",
        ),
    ];
    for (events, failure, detail) in table {
        let problem = read(Endpoint::Completions, events, Some(3)).unwrap_err();
        assert_eq!(problem.failure, failure, "{events:?}");
        assert!(problem.detail.contains(detail), "{problem:?}");
    }
}

#[test]
fn usage_without_done_ends_an_answer_and_without_usage_chunks_are_counted() {
    assert!(read(Endpoint::Completions, &[A, LAST, USAGE], Some(2)).is_ok());
    let answer = read(Endpoint::Completions, &[A, A, LAST, "[DONE]"], Some(9)).unwrap();
    assert_eq!((answer.prompt_tokens, answer.output_tokens), (None, 3));
}
