//! `/server_info`: the router's own, with those of the workers inside.
//!
//! SGLang's benchmark clients know a router by `router_manager` and look for a tokenizer in `prefill[0]` and for the
//! scheduler's state in `decode[0]`. They index without looking whether there is an element, so a role without an
//! answer has no key rather than an empty list. Before regular workers they expect what one of those would say.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use policies::worker::Role;
use serde_json::{Map, Value};

use super::ask::{self, Asked, ask_all};
use super::{AdminState, INFO_LIMIT, serving};

/// Launch arguments that are secrets. A worker shows them, once more inside `internal_states`, to whoever has its key;
/// the router, which has, must not pass them on to everybody.
const SECRETS: [&str; 3] = ["api_key", "admin_api_key", "ssl_keyfile_password"];

pub(super) async fn server_info(State(state): State<AdminState>) -> Json<Value> {
    let set = Arc::clone(&state.registry.snapshot());
    let answers = ask_all(&state.upstream, serving(&set), INFO_LIMIT, |worker| {
        ask::get(worker, "/server_info")
    })
    .await;
    Json(Value::Object(combined(&answers, set.members().len())))
}

fn combined(answers: &[Asked], workers: usize) -> Map<String, Value> {
    let mut info = of_role(answers, Role::Regular).next().unwrap_or_default();
    info.insert("router_manager".to_owned(), true.into());
    info.insert("routers_count".to_owned(), 1.into());
    info.insert("workers_count".to_owned(), workers.into());
    info.entry("internal_states")
        .or_insert_with(|| Value::Array(Vec::new()));
    for role in [Role::Prefill, Role::Decode] {
        let told: Vec<_> = of_role(answers, role).map(Value::Object).collect();
        if !told.is_empty() {
            info.insert(role.as_str().to_owned(), told.into());
        }
    }
    info
}

/// What the workers of `role` told, without their secrets.
fn of_role(answers: &[Asked], role: Role) -> impl Iterator<Item = Map<String, Value>> {
    answers
        .iter()
        .filter(move |(member, _)| member.role == role)
        .filter_map(|(_, answer)| serde_json::from_slice(answer.as_ref().ok()?).ok())
        .map(|mut info: Map<String, Value>| {
            remove_secrets(&mut info);
            info
        })
}

fn remove_secrets(object: &mut Map<String, Value>) {
    object.retain(|name, _| !SECRETS.contains(&name.as_str()));
    object.values_mut().for_each(remove_secrets_below);
}

fn remove_secrets_below(value: &mut Value) {
    match value {
        Value::Object(object) => remove_secrets(object),
        Value::Array(values) => values.iter_mut().for_each(remove_secrets_below),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::stand_in::{Bench, Reply};
    use serde_json::json;

    fn telling(info: Value) -> Vec<(&'static str, Reply)> {
        vec![("/server_info", Reply::json(info))]
    }

    #[tokio::test]
    async fn benchmark_clients_find_the_workers_in_their_roles() {
        let bench = Bench::new([
            (
                "p:1",
                Role::Prefill,
                telling(json!({"tokenizer_path": "t", "api_key": "secret"})),
            ),
            (
                "d:1",
                Role::Decode,
                telling(json!({"internal_states": [{"x": 1, "admin_api_key": "secret"}]})),
            ),
            ("d:2", Role::Decode, vec![]),
        ]);
        let expected = json!({
            "router_manager": true, "routers_count": 1, "workers_count": 3,
            "prefill": [{"tokenizer_path": "t"}],
            "decode": [{"internal_states": [{"x": 1}]}],
            "internal_states": [],
        });
        for path in ["/server_info", "/get_server_info"] {
            assert_eq!(bench.get(path).await.json(), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn before_regular_workers_the_router_says_what_one_of_them_says() {
        let states = json!({"internal_states": [{"x": 1}], "tokenizer_path": "t"});
        let bench = Bench::new([("r:1", Role::Regular, telling(states))]);
        let expected = json!({
            "router_manager": true, "routers_count": 1, "workers_count": 1,
            "internal_states": [{"x": 1}], "tokenizer_path": "t",
        });
        assert_eq!(bench.get("/server_info").await.json(), expected);
    }
}
