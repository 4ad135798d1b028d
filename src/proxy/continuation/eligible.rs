//! What a request may not ask for if its stream is to be continued exactly.

use serde_json::value::RawValue;

use super::obstacle::Obstacle;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::object::Object;

type Asks = fn(&RawValue) -> bool;

/// How tokens are to be drawn: at the top level of OpenAI's requests, in `sampling_params` at `/generate`.
const SAMPLING: [(&str, Asks, Obstacle); 17] = [
    ("n", more_than_one, Obstacle::Sequences),
    ("best_of", more_than_one, Obstacle::Sequences),
    ("use_beam_search", is_set, Obstacle::Sequences),
    ("beam_width", more_than_one, Obstacle::Sequences),
    ("json_schema", is_set, Obstacle::Grammar),
    ("regex", is_set, Obstacle::Grammar),
    ("ebnf", is_set, Obstacle::Grammar),
    ("structural_tag", is_set, Obstacle::Grammar),
    ("response_format", is_more_than_text, Obstacle::Grammar),
    ("frequency_penalty", is_not_zero, Obstacle::Penalties),
    ("presence_penalty", is_not_zero, Obstacle::Penalties),
    ("repetition_penalty", is_not_one, Obstacle::Penalties),
    ("custom_params", is_set, Obstacle::Penalties),
    ("custom_logit_processor", is_set, Obstacle::Penalties),
    ("watermark", is_set, Obstacle::Penalties),
    ("thinking_budget", is_set, Obstacle::Reasoning),
    ("stop_regex", is_set, Obstacle::StopRegex),
];

/// What else.
const REQUEST: [(&str, Asks, Obstacle); 13] = [
    ("return_logprob", is_set, Obstacle::Internals),
    ("logprobs", is_set, Obstacle::Internals),
    ("return_hidden_states", is_set, Obstacle::Internals),
    ("return_routed_experts", is_set, Obstacle::Internals),
    ("return_token_ids", is_set, Obstacle::Internals),
    ("return_prompt_token_ids", is_set, Obstacle::Internals),
    ("custom_logit_processor", is_set, Obstacle::Penalties),
    ("tools", is_set, Obstacle::Tools),
    ("input_embeds", is_set, Obstacle::Prompt),
    ("echo", is_set, Obstacle::Prompt),
    ("suffix", is_set, Obstacle::Prompt),
    ("session_params", is_set, Obstacle::Prompt),
    ("session_id", is_set, Obstacle::Prompt),
];

/// The first thing that `request` asks for and that a second pair couldn't go on with. `sampling` is its
/// `sampling_params`, at `/generate`.
pub(super) fn obstacle(
    endpoint: Endpoint,
    request: &Object<'_>,
    sampling: &Object<'_>,
) -> Option<Obstacle> {
    let drawn_by = if endpoint == Endpoint::Generate {
        sampling
    } else {
        request
    };
    let first = |object: &Object<'_>, table: &[(&str, Asks, Obstacle)]| {
        let asked = |&&(name, asks, _): &&(&str, Asks, _)| object.get(name).is_some_and(asks);
        table.iter().find(asked).map(|&(.., obstacle)| obstacle)
    };
    first(request, &REQUEST)
        .filter(|obstacle| *obstacle != Obstacle::Tools || !has_tools_off(request))
        .or_else(|| first(drawn_by, &SAMPLING))
}

/// The stop strings, if one of them may have begun at the end of `text`: its worker would have seen it through, the next
/// one sees its own tokens only.
pub(super) fn stop_has_begun(text: &str, stops: &[String]) -> bool {
    let begun = |stop: &String| {
        let ends = stop.char_indices().map(|(at, _)| at).skip(1);
        ends.into_iter().any(|end| text.ends_with(&stop[..end]))
    };
    stops.iter().any(begun)
}

fn has_tools_off(request: &Object<'_>) -> bool {
    request.read::<String>("tool_choice").as_deref() == Some("none")
}

fn is_set(raw: &RawValue) -> bool {
    !matches!(raw.get(), "false" | "\"\"")
        && !is_empty_in(raw, '[', ']')
        && !is_empty_in(raw, '{', '}')
}

fn is_empty_in(raw: &RawValue, open: char, close: char) -> bool {
    let inner = raw.get().strip_prefix(open);
    let inner = inner.and_then(|rest| rest.strip_suffix(close));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

fn number(raw: &RawValue) -> Option<f64> {
    raw.get().parse().ok()
}

fn more_than_one(raw: &RawValue) -> bool {
    number(raw).is_none_or(|n| n > 1.0)
}

fn is_not_zero(raw: &RawValue) -> bool {
    number(raw) != Some(0.0)
}

fn is_not_one(raw: &RawValue) -> bool {
    number(raw) != Some(1.0)
}

fn is_more_than_text(raw: &RawValue) -> bool {
    let kind = Object::parse(raw.get().as_bytes()).and_then(|format| format.read::<String>("type"));
    kind.as_deref() != Some("text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: Endpoint, json: &str) -> Option<&'static str> {
        let request = Object::parse(json.as_bytes()).unwrap();
        let sampling = request.object("sampling_params").unwrap_or_default();
        obstacle(endpoint, &request, &sampling).map(Obstacle::as_str)
    }

    #[test]
    fn each_thing_that_a_second_pair_could_not_go_on_with_is_named() {
        let (generate, chat, completions) =
            (Endpoint::Generate, Endpoint::Chat, Endpoint::Completions);
        for (endpoint, json, expected) in [
            (generate, r#"{"sampling_params":{"n":2}}"#, "sequences"),
            (chat, r#"{"n":3}"#, "sequences"),
            (completions, r#"{"best_of":2}"#, "sequences"),
            (generate, r#"{"return_logprob":true}"#, "internals"),
            (completions, r#"{"logprobs":0}"#, "internals"),
            (chat, r#"{"logprobs":true}"#, "internals"),
            (completions, r#"{"return_token_ids":true}"#, "internals"),
            (
                generate,
                r#"{"sampling_params":{"json_schema":"{}"}}"#,
                "grammar",
            ),
            (
                chat,
                r#"{"response_format":{"type":"json_object"}}"#,
                "grammar",
            ),
            (chat, r#"{"tools":[{"type":"function"}]}"#, "tools"),
            (chat, r#"{"frequency_penalty":0.1}"#, "penalties"),
            (
                generate,
                r#"{"sampling_params":{"repetition_penalty":1.1}}"#,
                "penalties",
            ),
            (chat, r#"{"stop_regex":"a+"}"#, "stop_regex"),
            (completions, r#"{"echo":true}"#, "prompt"),
            (completions, r#"{"suffix":"x"}"#, "prompt"),
            (generate, r#"{"input_embeds":[[1.0]]}"#, "prompt"),
        ] {
            assert_eq!(of(endpoint, json), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_changes_nothing_stands_in_nobodys_way() {
        let harmless = r#"{"n":1,"logprobs":null,"tools":[],"response_format":{"type":"text"},"echo":false,
            "frequency_penalty":0,"presence_penalty":0.0,"repetition_penalty":1.0,"temperature":0.7,"seed":3,
            "stop":["x"],"stop_token_ids":[5],"suffix":"","logit_bias":{"1":2},"unknown":[1]}"#;
        assert_eq!(of(Endpoint::Chat, harmless), None);
        let off = r#"{"tools":[{"type":"function"}],"tool_choice":"none"}"#;
        assert_eq!(of(Endpoint::Chat, off), None);
        // At /generate these names mean nothing at the top level.
        let elsewhere = r#"{"n":2,"regex":"a","sampling_params":{"temperature":0}}"#;
        assert_eq!(of(Endpoint::Generate, elsewhere), None);
    }

    #[test]
    fn a_stop_string_has_begun_where_the_text_ends_in_its_beginning() {
        let stops = ["</end>".to_owned(), "é!".to_owned()];
        for (text, begun) in [
            ("some <", true),
            ("some </en", true),
            ("caf\u{e9}", true),
            ("some", false),
            ("</end", true),
            ("", false),
        ] {
            assert_eq!(stop_has_begun(text, &stops), begun, "{text}");
        }
        assert!(
            !stop_has_begun("x", &["x".to_owned()]),
            "a whole one would have ended it"
        );
    }
}
