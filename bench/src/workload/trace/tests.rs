use super::*;

/// The excerpts that come with the project.
fn excerpt(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/traces")
        .join(name)
}

/// A trace of these lines, in a file that is gone afterwards.
fn loaded(name: &str, text: &str) -> Result<Vec<(Timestamp, Job)>, TraceError> {
    let name = format!("pd-bench-trace-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    let loaded = load(&path, default_cache_blocks());
    std::fs::remove_file(&path).unwrap();
    loaded.map(arrivals)
}

fn arrivals(workload: Workload) -> Vec<(Timestamp, Job)> {
    match workload {
        Workload::Open { arrivals } => arrivals,
        Workload::Closed { .. } => panic!("a trace is open"),
    }
}

fn job(prompt_tokens: u32, cached_tokens: u32, output_tokens: u32) -> Job {
    Job {
        prompt_tokens,
        cached_tokens,
        output_tokens,
        class: 0,
    }
}

#[test]
fn the_azure_excerpt_is_read_whole() {
    let arrivals = arrivals(load(&excerpt("azure-code-2023-excerpt.csv"), 0).unwrap());
    assert_eq!(arrivals.len(), 1_500);
    assert_eq!(arrivals[0], (Timestamp::ZERO, job(4_808, 0, 10)));
    // 52 ms after the first.
    assert_eq!(arrivals[1].0, Timestamp::from_micros(52_000));
}

#[test]
fn prompts_of_the_mooncake_excerpt_find_their_beginnings_in_the_cache() {
    let path = excerpt("mooncake-synthetic-excerpt.jsonl");
    let cached = |blocks| {
        let arrivals = arrivals(load(&path, blocks).unwrap());
        assert_eq!(arrivals.len(), 60);
        let cached = arrivals.iter().map(|(_, job)| u64::from(job.cached_tokens));
        cached.sum::<u64>()
    };
    assert_eq!(cached(0), 0);
    let (small, large) = (cached(200), cached(default_cache_blocks()));
    assert!(0 < small && small < large, "{small} {large}");
}

#[test]
fn a_request_log_is_put_in_the_order_of_arrivals() {
    let log = r#"
{"at": 1700000002.5, "prompt_tokens": 70, "output_tokens": 3, "cached_tokens": 64, "status": 200}

{"at": 1700000000.0, "prompt_tokens": 50, "output_tokens": 9}
"#;
    let log = log.trim_start();
    assert_eq!(
        loaded("log", log).unwrap(),
        [
            (Timestamp::ZERO, job(50, 0, 9)),
            (Timestamp::from_micros(2_500_000), job(70, 64, 3)),
        ]
    );
}

#[test]
fn an_answer_without_a_token_still_had_its_first() {
    let csv = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,10,0\n";
    assert_eq!(loaded("none", csv).unwrap()[0].1, job(10, 0, 1));
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_expectation() {
    let table = [
        ("empty", "", "expected at least one request"),
        ("other", "a,b\n1,2\n", ":1: expected the header TIMESTAMP"),
        (
            "csv-number",
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,4,4\n2023-11-16 18:17:04,many,4\n",
            ":3: ",
        ),
        (
            "csv-time",
            "TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,4,4\n",
            ":2: expected a time such as",
        ),
        (
            "json-key",
            "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1}\n{\"timestamp\": 1}\n",
            ":2: missing field `input_length`",
        ),
        (
            "json-size",
            "{\"at\": 0, \"prompt_tokens\": 5000000000, \"output_tokens\": 1}\n",
            ":1: expected prompt tokens of at most 100000000, found 5000000000",
        ),
    ];
    for (name, text, expected) in table {
        let error = loaded(name, text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("/nonexistent.csv"), 0).unwrap_err();
    assert!(error.to_string().contains("/nonexistent.csv"));
}
