//! Pairing: the fields by which a prefill and a decode worker find each other, put into the untouched body.
//!
//! `bootstrap_host` and `bootstrap_port` lead the decode worker to the prefill worker, `bootstrap_room` names the
//! request that they share, and a common `rid` lets the router abort both halves. The fields go in right behind the
//! opening brace; a client's own bootstrap values are replaced where they stand. All other bytes (unknown fields, key
//! order, number formats) reach the worker as they came, and none of them is copied.

use std::fmt::Write as _;

use bytes::Bytes;

use super::request::{BOOTSTRAP_MEMBERS, Batch, NULL_RID, RequestView};
use crate::upstream::Segments;
use crate::workers::Bootstrap;

/// Rooms are non-negative 64-bit signed integers in the engine.
const ROOMS: u64 = 1 << 63;

/// What pairs the two legs of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    pub bootstrap: Bootstrap,
    /// The first room; a batch uses the ones that follow too.
    pub room: u64,
    pub rid: Rid,
}

/// A request id for the engine: 32 hexadecimal digits, as the engine makes up itself where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rid(pub u128);

impl std::fmt::Display for Rid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A room drawn uniformly such that the batch's last room is still a legal one.
///
/// Two live requests in one room of a pair get each other's text, so rooms must not meet: with 63 bits and 100,000
/// live requests the chance that any two do is below one in a billion.
pub fn draw_room(entropy: u64, batch: Batch) -> u64 {
    entropy % (ROOMS - batch.rooms())
}

/// `body` with the pairing's fields in it.
pub fn splice(body: &Bytes, view: &RequestView<'_>, pairing: &Pairing) -> Segments {
    let values = [
        host_value(&pairing.bootstrap, view.batch),
        port_value(&pairing.bootstrap, view.batch),
        room_value(pairing.room, view.batch),
    ];
    let mut segments = Segments::default();
    segments.push(inserted(view, &values, pairing.rid).into());
    let mut done = view.object_start + 1;
    for (which, span) in &view.foreign {
        segments.push(body.slice(done..span.start));
        let value = match values.get(*which) {
            Some(value) => Bytes::copy_from_slice(value.as_bytes()),
            None => format!("\"{}\"", pairing.rid).into(),
        };
        segments.push(value);
        done = span.end;
    }
    segments.push(body.slice(done..));
    segments
}

/// The opening brace and the fields that the client did not send itself.
fn inserted(view: &RequestView<'_>, values: &[String; 3], rid: Rid) -> String {
    let mut text = String::with_capacity(160 + values.iter().map(String::len).sum::<usize>());
    let has = |which| view.foreign.iter().any(|(foreign, _)| *foreign == which);
    text.push('{');
    for (which, (name, value)) in BOOTSTRAP_MEMBERS.iter().zip(values).enumerate() {
        if !has(which) {
            push_member(&mut text, name, value);
        }
    }
    if !view.has_rid && !has(NULL_RID) {
        push_member(&mut text, "rid", &format!("\"{rid}\""));
    }
    if view.object_is_empty {
        text.pop();
    }
    text
}

fn push_member(text: &mut String, name: &str, value: &str) {
    for part in ["\"", name, "\":", value, ","] {
        text.push_str(part);
    }
}

fn host_value(bootstrap: &Bootstrap, batch: Batch) -> String {
    // A host that a URL parser let through holds nothing that JSON would escape.
    repeated(batch, |text, _| {
        let _ = write!(text, "\"{}\"", bootstrap.host);
    })
}

fn port_value(bootstrap: &Bootstrap, batch: Batch) -> String {
    repeated(batch, |text, _| match bootstrap.port {
        Some(port) => {
            let _ = write!(text, "{port}");
        }
        None => text.push_str("null"),
    })
}

fn room_value(room: u64, batch: Batch) -> String {
    repeated(batch, |text, index| {
        let _ = write!(text, "{}", room + index);
    })
}

/// One value, or a list with one for each member of the batch.
fn repeated(batch: Batch, write: impl Fn(&mut String, u64)) -> String {
    let mut text = String::with_capacity(24);
    match batch {
        Batch::Scalar { .. } => write(&mut text, 0),
        Batch::List { len } => {
            text.push('[');
            for index in 0..len {
                if index > 0 {
                    text.push(',');
                }
                write(&mut text, index);
            }
            text.push(']');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::proxy::endpoint::Endpoint;
    use crate::proxy::request::RequestError;

    fn pairing(port: Option<u16>) -> Pairing {
        Pairing {
            bootstrap: Bootstrap {
                host: "127.0.0.1".into(),
                port,
            },
            room: 41,
            rid: Rid(7),
        }
    }

    fn spliced(endpoint: Endpoint, body: &str) -> String {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let view = RequestView::parse(endpoint, &body).unwrap();
        String::from_utf8(splice(&body, &view, &pairing(Some(9000))).to_vec()).unwrap()
    }

    #[test]
    fn fields_go_in_behind_the_brace_and_every_other_byte_survives() {
        let body = r#" { "model" : "any/name", "temperature":0.70, "x-unknown":{"b":1e400,"a":[]}, "prompt":"é\u00e9" }"#;
        assert_eq!(
            spliced(Endpoint::Completions, body),
            r#"{"bootstrap_host":"127.0.0.1","bootstrap_port":9000,"bootstrap_room":41,"rid":"00000000000000000000000000000007", "model" : "any/name", "temperature":0.70, "x-unknown":{"b":1e400,"a":[]}, "prompt":"é\u00e9" }"#
        );
    }

    #[test]
    fn a_clients_own_bootstrap_fields_are_replaced_where_they_stand() {
        let body = r#"{"bootstrap_room":5000000000,"text":"a","boot\u0073trap_host":["x"],"bootstrap_room":1,"rid":"mine"}"#;
        assert_eq!(
            spliced(Endpoint::Generate, body),
            r#"{"bootstrap_port":9000,"bootstrap_room":41,"text":"a","boot\u0073trap_host":"127.0.0.1","bootstrap_room":41,"rid":"mine"}"#
        );
    }

    /// The bodies that make the router write the most for what they are long.
    #[test]
    fn a_body_adds_little_to_itself_however_it_is_made() {
        let prompts = |count: usize| vec!["\"\""; count].join(",");
        let repeated = |count: usize| r#""bootstrap_room":1,"#.repeat(count);
        let table = [
            (Endpoint::Chat, r#"{"n":1024}"#.to_owned()),
            (Endpoint::Chat, r#"{"n":1025}"#.to_owned()),
            (Endpoint::Chat, r#"{"n":99999999}"#.to_owned()),
            (
                Endpoint::Completions,
                format!(r#"{{"prompt":[{}]}}"#, prompts(1_024)),
            ),
            (
                Endpoint::Completions,
                format!(r#"{{"prompt":[{}]}}"#, prompts(1_025)),
            ),
            (
                Endpoint::Completions,
                format!(r#"{{"prompt":[{}]}}"#, prompts(100_000)),
            ),
            (Endpoint::Chat, format!(r#"{{{}"n":1024}}"#, repeated(8))),
        ];
        for (endpoint, body) in table {
            let added = spliced(endpoint, &body).len() - body.len();
            assert!(
                added < 64 * 1024 * 8,
                "{added} bytes more than {}",
                body.len()
            );
            let once = !body.contains("bootstrap");
            assert!(
                !once || added < 64 * 1024,
                "{added} bytes more than {}",
                body.len()
            );
        }
        for count in [9, 100_000] {
            let body = format!(r#"{{{}"n":1024}}"#, repeated(count));
            let refused = RequestView::parse(Endpoint::Chat, body.as_bytes());
            assert_eq!(
                refused.err(),
                Some(RequestError::TooManyBootstrapMembers),
                "{count}"
            );
        }
    }

    #[test]
    fn a_rid_that_is_null_is_replaced_since_the_last_of_equal_names_counts() {
        let rid = "00000000000000000000000000000007";
        assert_eq!(
            spliced(
                Endpoint::Generate,
                r#"{"rid":null,"bootstrap_room":1,"text":"a"}"#
            ),
            format!(
                r#"{{"bootstrap_host":"127.0.0.1","bootstrap_port":9000,"rid":"{rid}","bootstrap_room":41,"text":"a"}}"#
            )
        );
        let body = spliced(Endpoint::Generate, r#"{"rid":"first","rid":null}"#);
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["rid"], rid);
    }

    #[test]
    fn batches_get_the_shape_that_the_engine_matches_up() {
        let cases = [
            (Endpoint::Generate, r#"{"text":"a"}"#, json!(41)),
            (Endpoint::Generate, r#"{"text":["a","b"]}"#, json!([41, 42])),
            (Endpoint::Generate, r#"{"input_ids":[1,2,3]}"#, json!(41)),
            (
                Endpoint::Generate,
                r#"{"input_ids":[[1,2,3]]}"#,
                json!([41]),
            ),
            (
                Endpoint::Generate,
                r#"{"input_ids":[ [1], [2] , [3] ]}"#,
                json!([41, 42, 43]),
            ),
            (
                Endpoint::Generate,
                r#"{"input_embeds":[[0.1,0.2],[0.3,0.4]]}"#,
                json!(41),
            ),
            (
                Endpoint::Generate,
                r#"{"input_embeds":[[[0.1],[0.3]],[[1.0]]]}"#,
                json!([41, 42]),
            ),
            (
                Endpoint::Generate,
                r#"{"text":"a","sampling_params":{"n":3}}"#,
                json!(41),
            ),
            (
                Endpoint::Generate,
                r#"{"text":["a","b"],"sampling_params":{"n":3}}"#,
                json!(41),
            ),
            (Endpoint::Completions, r#"{"prompt":["a"]}"#, json!([41])),
            (Endpoint::Completions, r#"{"prompt":[1,2]}"#, json!(41)),
            (
                Endpoint::Completions,
                r#"{"prompt":[[1],[2]]}"#,
                json!([41, 42]),
            ),
            (
                Endpoint::Completions,
                r#"{"prompt":["a","b"],"n":2}"#,
                json!(41),
            ),
            (Endpoint::Completions, r#"{"prompt":[]}"#, json!(41)),
            (Endpoint::Chat, r#"{"messages":[{}],"n":1}"#, json!(41)),
            (
                Endpoint::Chat,
                r#"{"messages":[{}],"n":3}"#,
                json!([41, 42, 43]),
            ),
            (
                Endpoint::Rerank,
                r#"{"query":"q","documents":["a","b"]}"#,
                json!(41),
            ),
            (Endpoint::Generate, "{}", json!(41)),
        ];
        for (endpoint, body, rooms) in cases {
            let value: Value = serde_json::from_str(&spliced(endpoint, body)).unwrap();
            assert_eq!(value["bootstrap_room"], rooms, "{body}");
            let len = rooms.as_array().map(Vec::len);
            assert_eq!(
                value["bootstrap_host"].as_array().map(Vec::len),
                len,
                "{body}"
            );
            assert_eq!(
                value["bootstrap_port"].as_array().map(Vec::len),
                len,
                "{body}"
            );
        }
    }

    #[test]
    fn a_batch_keeps_room_for_every_sample() {
        let view =
            RequestView::parse(Endpoint::Completions, br#"{"prompt":["a","b"],"n":3}"#).unwrap();
        assert_eq!(view.batch, Batch::Scalar { rooms: 6 });
        assert_eq!(draw_room(ROOMS - 7, view.batch), ROOMS - 7);
        assert_eq!(draw_room(ROOMS - 6, view.batch), 0);
    }

    #[test]
    fn an_unknown_port_is_null() {
        let body = Bytes::from_static(b"{}");
        let view = RequestView::parse(Endpoint::Generate, &body).unwrap();
        let value: Value =
            serde_json::from_slice(&splice(&body, &view, &pairing(None)).to_vec()).unwrap();
        assert_eq!(value["bootstrap_port"], Value::Null);
    }

    #[test]
    fn bodies_that_are_no_json_object_are_refused_with_the_reason() {
        for (body, begin) in [
            ("", "the request body is not valid JSON"),
            ("{", "the request body is not valid JSON"),
            (r#"{"a":1} x"#, "the request body is not valid JSON"),
            (r"{'a':1}", "the request body is not valid JSON"),
            ("[1]", "the request body must be a JSON object"),
            ("\"text\"", "the request body must be a JSON object"),
        ] {
            let error = RequestView::parse(Endpoint::Chat, body.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(begin), "{body}: {error}");
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_slows() {
        let body = format!(
            r#"{{"a":{}{}}}"#,
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        );
        assert!(RequestView::parse(Endpoint::Chat, body.as_bytes()).is_ok());
    }

    /// Any JSON value, a few levels deep.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_name() -> impl Strategy<Value = String> {
        const KNOWN: &[&str] = &[
            "text",
            "prompt",
            "n",
            "rid",
            "stream",
            "bootstrap_room",
            "bootstrap_host",
            "sampling_params",
        ];
        prop_oneof![
            proptest::sample::select(KNOWN).prop_map(str::to_owned),
            ".*"
        ]
    }

    proptest! {
        #[test]
        fn the_result_is_the_same_json_plus_the_fields(
            members in proptest::collection::btree_map(any_name(), any_json(), 0..8),
            pretty: bool,
            endpoint in proptest::sample::select(&Endpoint::ALL[..]),
        ) {
            let object = Value::Object(members.into_iter().collect());
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
            let result: Value = serde_json::from_str(&spliced(endpoint, &text)).unwrap();
            let mut expected = serde_json::from_str::<Value>(&text).unwrap();
            for name in BOOTSTRAP_MEMBERS {
                expected[name] = result[name].clone();
                prop_assert!(!result[name].is_null());
            }
            if expected.get("rid").is_none_or(Value::is_null) {
                expected["rid"] = result["rid"].clone();
            }
            prop_assert_eq!(result, expected);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for endpoint in Endpoint::ALL {
                let _ = RequestView::parse(endpoint, &body);
            }
        }
    }
}
