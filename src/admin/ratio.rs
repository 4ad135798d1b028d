//! The ratio: what it is, what it is to be and why, and an operator's say in it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use policies::ratio::journal::Decision;
use policies::ratio::{Split, Utilisation};
use policies::time::Timestamp;
use policies::worker::Role;
use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminState;
use crate::control::ratio::{Standing, Steering};
use crate::error::error_response;
use crate::workers::WorkerSet;

/// Decisions in one answer, unless more are asked for: those of a minute.
const DECISIONS: usize = 60;

/// What an operator can ask for: a split, or `automatic`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    split: String,
}

const AUTOMATIC: &str = "automatic";

pub(super) async fn show(State(state): State<AdminState>) -> Json<Value> {
    Json(shown(&state))
}

fn shown(state: &AdminState) -> Value {
    let set = state.registry.snapshot();
    let split = serving(&set);
    let Some(steering) = &state.steering else {
        return json!({
            "controller": "off",
            "split": split.to_string(),
            "message": "the split stays; start with --policy ratio-controller to have it follow the traffic",
        });
    };
    let (now, standing, head) = (state.clock.now(), steering.standing(), steering.head());
    let since = |at: Timestamp| now.since(at).as_secs_f64();
    let cooldown = standing.ended.map_or(0.0, |ended| {
        (head.guardrails.cooldown.as_secs_f64() - since(ended)).max(0.0)
    });
    let mut answer = json!({
        "controller": steering.mode(&standing).as_str(),
        "split": split.to_string(),
        "pinned": standing.pinned.map(|pin| pin.split.to_string()),
        "pinned_seconds": standing.pinned.map(|pin| since(pin.since)),
        "moving": moving(&standing, now),
        "cooldown_seconds": cooldown,
        "moves_last_hour": standing.begun.iter().filter(|at| since(**at) <= 3600.0).count(),
        "moves_per_hour": head.guardrails.moves_per_hour,
        "away_seconds": standing.away.map(|away| away.as_secs_f64()),
        "last_failure": standing.failed.as_ref().map(|failed| json!({
            "worker": &*failed.worker,
            "seconds_ago": since(failed.at),
            "reason": failed.reason,
        })),
    });
    if let Some(decision) = steering.latest() {
        add_decision(&mut answer, &decision, steering, fleet(&set).workers());
    }
    answer
}

fn moving(standing: &Standing, now: Timestamp) -> Vec<Value> {
    let moves = standing.moving.iter();
    moves
        .map(|moving| {
            json!({
                "worker": &*moving.worker,
                "from": moving.from.as_str(),
                "to": moving.to.as_str(),
                "means": moving.means.as_str(),
                "seconds": now.since(moving.since).as_secs_f64(),
            })
        })
        .collect()
}

fn add_decision(answer: &mut Value, decision: &Decision, steering: &Steering, workers: u32) {
    let Decision { plan, seen, .. } = decision;
    answer["target"] = plan.target.to_string().into();
    answer["action"] = plan.action.as_str().into();
    answer["reason"] = plan.reason.as_str().into();
    answer["explanation"] = plan.reason.explanation().into();
    answer["demand"] = json!({
        "requests_per_second": seen.demand.requests_per_second,
        "prompt_tokens": seen.demand.prompt_tokens,
        "output_tokens": seen.demand.output_tokens,
    });
    answer["utilisation"] = plan.predicted.map(utilisation).into();
    let predictions = steering.predictions(decision, workers);
    let predicted = |(split, share): &(Split, Utilisation)| {
        let mut shown = utilisation(*share);
        shown["split"] = split.to_string().into();
        shown
    };
    answer["predictions"] = predictions.iter().map(predicted).collect();
}

fn utilisation(share: Utilisation) -> Value {
    json!({ "prefill": share.prefill, "decode": share.decode })
}

/// Pins the split, or leaves it to the controller again.
pub(super) async fn steer(State(state): State<AdminState>, body: Bytes) -> Response {
    let Some(steering) = &state.steering else {
        let message = "the split can't be changed: start with --policy ratio-controller";
        return error_response(StatusCode::CONFLICT, "ratio_controller_off", message);
    };
    let refused = |message: &str| error_response(StatusCode::BAD_REQUEST, "bad_split", message);
    let wish: Wish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => {
            let message = format!(
                "expected {{\"split\": \"3P1D\"}} or {{\"split\": \"automatic\"}}: {error}"
            );
            return refused(&message);
        }
    };
    let pinned = if wish.split.eq_ignore_ascii_case(AUTOMATIC) {
        None
    } else {
        let split: Split = match wish.split.parse() {
            Ok(split) => split,
            Err(error) => return refused(&format!("{error}, or {AUTOMATIC}")),
        };
        let workers = fleet(&state.registry.snapshot()).workers();
        if split.workers() != workers {
            return refused(&format!(
                "{split} is for {} workers, and there are {workers}",
                split.workers()
            ));
        }
        Some(split)
    };
    steering.pin(state.clock.now(), pinned);
    tracing::info!(split = wish.split, "an operator steers the ratio");
    Json(shown(&state)).into_response()
}

#[derive(Deserialize)]
pub(super) struct Page {
    /// Only decisions after this moment, `now` of one: microseconds since the router began.
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// The latest decisions, oldest first, each with all that it was made from.
pub(super) async fn decisions(
    State(state): State<AdminState>,
    Query(page): Query<Page>,
) -> Json<Value> {
    let after = Timestamp::from_micros(page.after);
    let decisions = state.steering.as_ref().map_or_else(Vec::new, |steering| {
        steering.decisions(after, page.limit.unwrap_or(DECISIONS))
    });
    let decisions: Vec<_> = decisions
        .iter()
        .map(|decision| {
            json!({
                "at": state.clock.unix_seconds(decision.now),
                "now": decision.now,
                "plan": decision.plan,
                "seen": decision.seen,
            })
        })
        .collect();
    Json(json!({ "decisions": decisions }))
}

/// The workers that serve.
fn serving(set: &WorkerSet) -> Split {
    Split {
        prefill: set.serving(Role::Prefill).len() as u32,
        decode: set.serving(Role::Decode).len() as u32,
    }
}

/// All workers, whether or not they serve.
fn fleet(set: &WorkerSet) -> Split {
    Split {
        prefill: set.count(Role::Prefill) as u32,
        decode: set.count(Role::Decode) as u32,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;
    use policies::model::WorkerModel;
    use policies::ratio::journal::Head;
    use policies::ratio::{GuardrailSettings, PlannerSettings};

    use super::*;
    use crate::admin::stand_in::Bench;
    use crate::config::Config;

    fn rig(config: Config) -> Bench {
        let workers = [
            ("p:1", Role::Prefill, vec![]),
            ("q:1", Role::Prefill, vec![]),
            ("d:1", Role::Decode, vec![]),
        ];
        Bench::with_config(config, workers)
    }

    fn steered(config: Config) -> (Bench, Arc<Steering>) {
        let mut rig = rig(config);
        let steering = Arc::new(Steering::new(Head {
            model: WorkerModel::default(),
            itl_seconds: 0.025,
            planner: PlannerSettings::Fixed,
            guardrails: GuardrailSettings::default(),
        }));
        rig.state.steering = Some(Arc::clone(&steering));
        (rig, steering)
    }

    #[tokio::test]
    async fn without_a_controller_the_split_is_shown_and_stays() {
        let rig = rig(Config::default());
        let shown = rig.get("/ratio").await.json();
        assert_eq!(
            (&shown["controller"], &shown["split"]),
            (&json!("off"), &json!("2P1D"))
        );
        let refused = rig
            .call(Method::POST, "/ratio", r#"{"split":"1P2D"}"#)
            .await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        let decisions = rig.get("/decisions").await.json();
        assert_eq!(decisions, json!({ "decisions": [] }));
    }

    #[tokio::test]
    async fn an_operator_pins_the_split_and_releases_it() {
        let (rig, steering) = steered(Config::default());
        let pinned = rig
            .call(Method::POST, "/ratio", r#"{"split":"1P2D"}"#)
            .await;
        assert_eq!(pinned.status, StatusCode::OK);
        assert_eq!(pinned.json()["controller"], "pinned");
        let pin = steering.standing().pinned.unwrap();
        assert_eq!(pin.split.to_string(), "1P2D");
        steering.pin(rig.state.clock.now(), Some(pin.split));
        assert_eq!(
            steering.standing().pinned,
            Some(pin),
            "since the first time"
        );
        let released = rig
            .call(Method::POST, "/ratio", r#"{"split":"Automatic"}"#)
            .await;
        assert_eq!(released.json()["controller"], "automatic");
        assert_eq!(steering.standing().pinned, None);
    }

    #[tokio::test]
    async fn a_split_that_the_fleet_cant_have_is_refused_with_the_reason() {
        let (rig, steering) = steered(Config::default());
        for (body, reason) in [
            ("", "expected {"),
            (r#"{"ratio":"1P2D"}"#, "expected {"),
            (r#"{"split":"3P0D"}"#, "at least one worker of each role"),
            (r#"{"split":"2P2D"}"#, "is for 4 workers, and there are 3"),
        ] {
            let refused = rig.call(Method::POST, "/ratio", body).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
            let message = refused.json()["error"]["message"].to_string();
            assert!(message.contains(reason), "{message}");
        }
        assert_eq!(steering.standing().pinned, None);
    }

    #[tokio::test]
    async fn who_has_no_key_neither_sees_nor_steers() {
        let mut config = Config::default();
        config.auth.api_key = Some("secret".to_owned());
        let (rig, _) = steered(config);
        for (method, path) in [
            (Method::GET, "/ratio"),
            (Method::POST, "/ratio"),
            (Method::GET, "/decisions"),
        ] {
            let refused = rig.call(method, path, r#"{"split":"1P2D"}"#).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
        }
    }
}
