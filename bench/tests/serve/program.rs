//! The program: flags in, summary and file out.

use crate::support::{served, url};
use serde_json::Value;
use simulated_worker::Fault;
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::process::Command;

/// The program with the flags of the study, small.
fn command(url: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pd-bench"));
    command
        .args(["serve", "--backend", "vllm", "--base-url", url])
        .args(["--endpoint", "/v1/completions", "--dataset-name", "random"])
        .args(["--num-prompts", "30", "--max-concurrency", "4"])
        .args(["--random-input-len", "32", "--random-output-len", "8"])
        .args(flags)
        .env_remove("OPENAI_API_KEY")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pd-bench-serve-{}-{name}", std::process::id()))
}

fn read(folder: &PathBuf, name: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(name)).expect("the result was written");
    std::fs::remove_dir_all(folder).expect("it is ours");
    serde_json::from_str(&text).expect("it is JSON")
}

/// The fields of the published study's files, and those of later versions of the tool.
const FIELDS: [&str; 45] = [
    "date",
    "endpoint_type",
    "backend",
    "label",
    "model_id",
    "tokenizer_id",
    "num_prompts",
    "request_rate",
    "burstiness",
    "max_concurrency",
    "duration",
    "completed",
    "failed",
    "total_input_tokens",
    "total_output_tokens",
    "request_throughput",
    "request_goodput",
    "output_throughput",
    "total_token_throughput",
    "max_output_tokens_per_s",
    "max_concurrent_requests",
    "mean_ttft_ms",
    "median_ttft_ms",
    "std_ttft_ms",
    "p90_ttft_ms",
    "p99.9_ttft_ms",
    "mean_tpot_ms",
    "median_tpot_ms",
    "std_tpot_ms",
    "p90_tpot_ms",
    "p99.9_tpot_ms",
    "mean_itl_ms",
    "median_itl_ms",
    "std_itl_ms",
    "p90_itl_ms",
    "p99.9_itl_ms",
    "mean_e2el_ms",
    "median_e2el_ms",
    "std_e2el_ms",
    "p90_e2el_ms",
    "p99.9_e2el_ms",
    "interrupted",
    "failures",
    "mean_late_start_ms",
    "tp",
];

#[tokio::test]
async fn the_summary_and_the_file_say_what_the_users_of_vllm_look_for() {
    let served = served(Vec::new()).await;
    let folder = folder("fields");
    let mut command = command(
        &url(&served),
        &[
            "--ignore-eos",
            "--save-result",
            "--save-detailed",
            "--result-filename",
            "r.json",
        ],
    );
    command
        .arg("--result-dir")
        .arg(&folder)
        .args([
            "--goodput",
            "ttft:10000",
            "tpot:10000",
            "--metadata",
            "tp=2",
            "label2=x",
        ])
        .args([
            "--percentile-metrics",
            "ttft,tpot,itl,e2el",
            "--metric-percentiles",
            "90,99.9",
        ]);
    let output = command.output().await.expect("it was built");
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for line in [
        "============ Serving Benchmark Result ============\n",
        "Successful requests:                     30        \n",
        "Failed requests:                         0         \n",
        "Maximum request concurrency:             4         \n",
        "Total input tokens:                      960       \n",
        "Total generated tokens:                  240       \n",
        "---------------Time to First Token----------------\n",
        "-----Time per Output Token (excl. 1st token)------\n",
        "---------------Inter-token Latency----------------\n",
        "----------------End-to-end Latency----------------\n",
        "P99.9 E2EL (ms):",
    ] {
        assert!(summary.contains(line), "{line:?} is missing in\n{summary}");
    }
    let file = read(&folder, "r.json");
    for field in FIELDS {
        assert!(file.get(field).is_some(), "{field} is missing in {file}");
    }
    assert_eq!(
        file["model_id"], "simulated",
        "the first that the server lists"
    );
    assert_eq!(
        (&file["request_rate"], &file["tp"]),
        (&"inf".into(), &"2".into())
    );
    let throughput = [&file["request_throughput"], &file["request_goodput"]];
    assert_eq!(throughput[0], throughput[1], "all were good");
    for array in [
        "input_lens",
        "output_lens",
        "ttfts",
        "itls",
        "latencies",
        "start_times",
        "generated_texts",
        "errors",
    ] {
        assert_eq!(file[array].as_array().map(Vec::len), Some(30), "{array}");
    }
    assert_eq!(file["itls"][0].as_array().map(Vec::len), Some(7));
    served.stop().await;
}

#[tokio::test]
async fn failures_end_the_program_with_1_only_where_that_is_asked_for() {
    for (flags, code) in [(&[][..], 0), (&["--fail-on-error"][..], 1)] {
        let served = served(vec![Fault::CutShort { after_tokens: 2 }.times(3)]).await;
        let output = command(&url(&served), flags).output().await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let summary = String::from_utf8_lossy(&output.stdout);
        assert!(
            summary.contains("Failed requests:                         3 "),
            "{summary}"
        );
        assert!(
            summary.contains("incomplete:                              3 "),
            "{summary}"
        );
        served.stop().await;
    }
}

#[tokio::test]
async fn an_interrupt_still_writes_the_file() {
    let stall = Fault::StallMidStream {
        after_tokens: 2,
        stall_ms: Some(3_600_000),
    };
    let served = served(vec![stall.times(4)]).await;
    let folder = folder("interrupted");
    let mut command = command(
        &url(&served),
        &["--save-result", "--result-filename", "r.json"],
    );
    command
        .arg("--result-dir")
        .arg(&folder)
        .stdout(Stdio::piped());
    let child = command.spawn().expect("it was built");
    let worker = &served.workers()[0];
    while worker.stats().requests < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(
        summary.contains("Requests under way, not awaited:         4 "),
        "{summary}"
    );
    let file = read(&folder, "r.json");
    assert_eq!(file["interrupted"], true);
    assert_eq!(
        (&file["abandoned"], &file["unsent"]),
        (&4.into(), &26.into())
    );
    served.stop().await;
}

#[tokio::test]
async fn flags_that_make_no_sense_are_refused_with_what_to_do() {
    let table = [
        (&["--endpoint", "/generate"][..], "--backend openai"),
        (&["--dataset-name", "trace"], "--dataset-path"),
        (&["--goodput", "itl:5"], "ttft:2000"),
        (&["--tokenizer", "/nonexistent"], "tokenizer.json"),
        (&["--base-url", "https://localhost"], "http://"),
        (&["--percentile-metrics", "speed"], "e2el"),
        (&["--header", "a b=c"], "header"),
    ];
    for (flags, expected) in table {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pd-bench"));
        let command = command.args(["serve", "--model", "m"]).args(flags);
        let output = command.output().await.expect("it was built");
        assert!(!output.status.success(), "{flags:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
}
