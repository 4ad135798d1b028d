use super::*;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A tokenizer of 400 words, split at spaces, which puts a token of its own before every text and knows no other words.
fn tokenizer(name: &str, beginning: bool) -> PathBuf {
    let mut vocab: serde_json::Map<String, Value> = (0..400_u32)
        .map(|n| {
            let letters = [n / 26 / 26, n / 26 % 26, n % 26, n % 7, n % 11];
            let word: String = letters
                .map(|letter| char::from(b'a' + letter as u8))
                .iter()
                .collect();
            (word, (n + 2).into())
        })
        .collect();
    vocab.insert("<unk>".into(), 0.into());
    vocab.insert("<s>".into(), 1.into());
    let first = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let file = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": beginning.then(|| json!({
            "type": "TemplateProcessing",
            "single": [first, text],
            "pair": [first, text, text],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        })),
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    });
    let folder =
        std::env::temp_dir().join(format!("pd-bench-tokenizer-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("tokenizer.json"), file.to_string()).unwrap();
    folder
}

const fn drawn(shared: u32, fresh: u32) -> Prompt {
    Prompt::Drawn { shared, fresh }
}

#[test]
fn prompts_are_exact_in_tokens_special_ones_included() {
    for beginning in [false, true] {
        let folder = tokenizer(&format!("exact-{beginning}"), beginning);
        let prompts = Prompts::load(&folder).unwrap();
        for (shared, fresh) in [(0, 2), (0, 17), (30, 100), (0, 4_000)] {
            let text = prompts.text(&drawn(shared, fresh), 1, 2).unwrap();
            let words = text.split_ascii_whitespace().count() as u32;
            assert_eq!(words + u32::from(beginning), shared + fresh);
            assert_eq!(prompts.count(&text), Ok(shared + fresh));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_length_that_a_tokenizer_cannot_have_is_refused_with_one_it_can() {
    let folder = tokenizer("impossible", true);
    let prompts = Prompts::load(&folder).unwrap();
    let error = prompts.text(&drawn(5, 0), 1, 2).unwrap_err();
    let expected = PromptError::NoLength {
        tokens: 5,
        nearest: 6,
    };
    assert_eq!(error, expected);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn prompts_share_the_beginning_that_they_are_to_share_and_no_more() {
    let prompts = Prompts::Approximate;
    let text = |seed, number| prompts.text(&drawn(8, 8), seed, number).unwrap();
    let (one, two, other) = (text(1, 0), text(1, 1), text(2, 0));
    assert_eq!(one, text(1, 0));
    assert_eq!(one[..32], two[..32]);
    assert_ne!(one[32..], two[32..]);
    assert_ne!(one[..32], other[..32]);
    assert_eq!(prompts.count(&one), Ok(16));
}

#[test]
fn what_is_no_tokenizer_is_refused_with_what_to_do() {
    let folder =
        std::env::temp_dir().join(format!("pd-bench-tokenizer-{}-none", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let missing = Prompts::load(&folder).err().map(|error| error.to_string());
    assert!(
        missing
            .unwrap()
            .contains("download the model's tokenizer.json")
    );
    let file = folder.join("tokenizer.json");
    std::fs::write(&file, "{}").unwrap();
    assert!(matches!(
        Prompts::load(&file).err(),
        Some(PromptError::Tokenizer { .. })
    ));
    std::fs::remove_dir_all(folder).unwrap();
}
