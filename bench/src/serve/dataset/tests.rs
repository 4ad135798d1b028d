use super::*;
use std::time::Duration;

fn dataset(name: DatasetName, path: Option<&Path>) -> Dataset {
    Dataset {
        name,
        path: path.map(Path::to_owned),
        requests: Some(200),
        random: Random {
            input: 100,
            output: 50,
            range_ratio: 0.0,
            prefix: 0,
        },
        sharegpt_output_tokens: None,
        rate: None,
        burstiness: 1.0,
        rate_scale: 1.0,
        seed: 1,
    }
}

fn made(dataset: &Dataset) -> Requests {
    dataset.requests(&Prompts::Approximate).unwrap()
}

fn file(name: &str, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pd-bench-dataset-{}-{name}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn random_lengths_lie_around_those_given_and_the_prefix_comes_on_top() {
    let mut asked = dataset(DatasetName::Random, None);
    let lengths = |asked: &Dataset| -> Vec<(u32, u32)> {
        let items = made(asked).items;
        assert!(items.iter().all(|item| item.due.is_none()));
        items
            .iter()
            .map(|item| (item.prompt.tokens(), item.output_tokens))
            .collect()
    };
    assert_eq!(lengths(&asked), vec![(100, 50); 200]);
    asked.random.range_ratio = 0.3;
    asked.random.prefix = 1_000;
    let drawn = lengths(&asked);
    assert!(
        drawn
            .iter()
            .all(|(input, _)| (1_070..=1_130).contains(input))
    );
    assert!(drawn.iter().all(|(_, output)| (35..=65).contains(output)));
    assert!(drawn.iter().any(|length| *length != drawn[0]));
}

#[test]
fn a_rate_gives_every_request_its_moment() {
    let mut asked = dataset(DatasetName::Random, None);
    asked.rate = Some(10.0);
    let items = made(&asked).items;
    assert!(items.is_sorted_by_key(|item| item.due));
    let last = items.last().and_then(|item| item.due).unwrap();
    assert!((last.as_secs_f64() - 20.0).abs() < 1e-6);
}

#[test]
fn traces_of_both_formats_keep_their_times_lengths_and_what_was_cached() {
    let azure = file(
        "azure.csv",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.0,4808,10\n2023-11-16 18:17:05.0,110,27\n",
    );
    let mooncake = file(
        "mooncake.jsonl",
        "{\"timestamp\": 0, \"input_length\": 1024, \"output_length\": 5, \"hash_ids\": [1, 2]}\n\
         {\"timestamp\": 2000, \"input_length\": 1500, \"output_length\": 6, \"hash_ids\": [1, 2, 3]}\n",
    );
    let drawn = |shared, fresh| Prompt::Drawn { shared, fresh };
    let table = [
        (&azure, [(drawn(0, 4808), 10), (drawn(0, 110), 27)]),
        (&mooncake, [(drawn(0, 1024), 5), (drawn(1024, 476), 6)]),
    ];
    for (path, expected) in table {
        let mut asked = dataset(DatasetName::Trace, Some(path));
        asked.rate_scale = 4.0;
        let items = made(&asked).items;
        let dues: Vec<_> = items.iter().map(|item| item.due).collect();
        let half = Duration::from_millis(500);
        assert_eq!(dues, [Some(Duration::ZERO), Some(half)]);
        let found: Vec<_> = items
            .into_iter()
            .map(|item| (item.prompt, item.output_tokens))
            .collect();
        assert_eq!(found, expected);
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn phases_are_drawn_by_a_workload_file_or_by_a_scenario() {
    let mix = "{ prompt = { fixed = 64 }, output = { fixed = 8 } }";
    let phases = format!(
        "phase_s = 5\nduration_s = 10\nmixes = [{{ rate = 50, mix = {mix} }}, {{ rate = 1, mix = {mix} }}]\n"
    );
    for header in ["[phases]", "[workload.phases]"] {
        let path = file("phases.toml", &format!("{header}\n{phases}"));
        let items = made(&dataset(DatasetName::Phases, Some(&path))).items;
        let five = Some(Duration::from_secs(5));
        let early = items.iter().filter(|item| item.due < five).count();
        assert!(early > 9 * (items.len() - early), "{early}");
        std::fs::remove_file(path).unwrap();
    }
    let closed = file(
        "closed.toml",
        &format!("[closed]\njobs = 30\nconcurrency = 4\nmix = {mix}\n"),
    );
    let requests = made(&dataset(DatasetName::Phases, Some(&closed)));
    assert_eq!((requests.items.len(), requests.concurrency), (30, Some(4)));
    std::fs::remove_file(closed).unwrap();
}

#[test]
fn conversations_that_fit_are_taken_and_repeated_until_there_are_enough() {
    let turn = |letters: usize| serde_json::json!({"from": "x", "value": "a".repeat(letters)});
    let conversations = serde_json::json!([
        {"conversations": [turn(400), turn(80)]},
        {"conversations": [turn(8), turn(80)]},
        {"conversations": [turn(5_000), turn(80)]},
        {"conversations": [turn(400)]},
        {"id": "none"},
    ]);
    let path = file("sharegpt.json", &conversations.to_string());
    let mut asked = dataset(DatasetName::Sharegpt, Some(&path));
    asked.requests = Some(3);
    let lengths = |asked: &Dataset| -> Vec<_> {
        made(asked)
            .items
            .iter()
            .map(|item| (item.prompt.tokens(), item.output_tokens))
            .collect()
    };
    assert_eq!(lengths(&asked), [(100, 20); 3]);
    asked.sharegpt_output_tokens = Some(7);
    assert_eq!(lengths(&asked), [(100, 7); 3]);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let some = Path::new("/nonexistent/file");
    let mut rated = dataset(DatasetName::Trace, Some(some));
    rated.rate = Some(1.0);
    let mut huge = dataset(DatasetName::Random, None);
    huge.requests = Some(usize::MAX);
    let table = [
        (
            dataset(DatasetName::Random, Some(some)),
            "takes no --dataset-path",
        ),
        (
            dataset(DatasetName::Sharegpt, None),
            "sharegpt needs --dataset-path",
        ),
        (dataset(DatasetName::Sharegpt, Some(some)), "cannot read"),
        (dataset(DatasetName::Phases, Some(some)), "cannot read"),
        (rated, "--rate-scale"),
        (huge, "fit in memory"),
    ];
    for (asked, expected) in table {
        let error = asked.requests(&Prompts::Approximate).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
