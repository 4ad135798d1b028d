//! The handover of a request from prefill to decode: the bootstrap server, and the decode side's calls to it.
//!
//! SGLang's decode asks the bootstrap server where the prefill rank listens, remembers the answer under the text
//! `host:port` of the request, and then speaks to the rank. Here the rank is a route of the same server, and what
//! moves is not a KV cache but the name of the answer that it holds. The memory is kept, with its consequence: after
//! the prefill has changed its role and back, a decode that still knows it under the same spelling talks to a rank
//! that is gone, and waits until its timeout.

use crate::{
    engine::{Engine, Kv},
    http::reset,
    network::{Dial, Unreachable},
    ticket::Abort,
};
use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::HashMap, fmt::Write as _, sync::Arc};
use tokio::time::Instant;

const HANDOVER: &str = "/simulated/handover";
const RANK_ROUTE: &str =
    "/route?prefill_dp_rank=0&prefill_cp_rank=0&target_tp_rank=0&target_pp_rank=0";

/// What a decode asks a prefill rank for.
#[derive(Serialize, Deserialize)]
struct Handover {
    room: u64,
    /// The rank as the decode remembers it.
    rank_port: u16,
}

#[derive(Deserialize)]
struct RankAddress {
    rank_port: u16,
}

/// The HTTP side of a bootstrap server.
pub(crate) fn server(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/route", get(route))
        .route(HANDOVER, post(handover))
        .with_state(engine)
}

async fn health(State(engine): State<Arc<Engine>>) -> Response {
    if engine.bootstrap_is_dead() {
        return reset::response();
    }
    "OK".into_response()
}

#[derive(Deserialize)]
struct RouteQuery {
    prefill_dp_rank: Option<i32>,
    prefill_cp_rank: Option<i32>,
    target_tp_rank: Option<i32>,
    target_pp_rank: Option<i32>,
}

async fn route(State(engine): State<Arc<Engine>>, Query(query): Query<RouteQuery>) -> Response {
    if engine.bootstrap_is_dead() {
        return reset::response();
    }
    let RouteQuery {
        prefill_dp_rank: Some(dp),
        prefill_cp_rank: Some(cp),
        target_tp_rank: Some(tp),
        target_pp_rank: Some(pp),
    } = query
    else {
        return (
            StatusCode::BAD_REQUEST,
            "Missing inputs for bootstrap server.",
        )
            .into_response();
    };
    let Some(rank_port) = engine.rank_port() else {
        let text = "Prefill server not fully registered yet (0 workers registered).";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    match [dp, cp, tp, pp] {
        [-1, -1, -1, -1] => Json(server_facts(&engine)).into_response(),
        [0, 0, 0, 0] => {
            Json(json!({"rank_ip": engine.config.host, "rank_port": rank_port})).into_response()
        }
        _ => {
            let text = format!(
                "Bootstrap info not found for dp_rank={dp} cp_rank={cp} tp_rank={tp} pp_rank={pp}"
            );
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

fn server_facts(engine: &Engine) -> serde_json::Value {
    json!({
        "attn_tp_size": 1,
        "attn_cp_size": 1,
        "dp_size": 1,
        "pp_size": 1,
        "page_size": 1,
        "kv_cache_dtype": "auto",
        "follow_bootstrap_room": true,
        "enable_dsa_cache_layer_split": false,
        "enable_kv_cache_sharding": false,
        "prefill_http_port": engine.config.port,
        "decode_allocation_policy": null,
    })
}

async fn handover(State(engine): State<Arc<Engine>>, Json(wanted): Json<Handover>) -> Response {
    if engine.bootstrap_is_dead() {
        return reset::response();
    }
    let Some(mut arrival) = engine.arrive(wanted.room, wanted.rank_port) else {
        return std::future::pending().await;
    };
    let parcel = arrival.kv().await;
    if parcel.arrives > Instant::now() {
        tokio::time::sleep_until(parcel.arrives).await;
    }
    if arrival.delivered() {
        Json(parcel.kv).into_response()
    } else {
        std::future::pending().await
    }
}

/// A decode worker's way to the prefill ranks.
pub(crate) struct Receiver {
    dial: Dial,
    ranks: Mutex<HashMap<String, u16>>,
}

/// Which KV a decode request wants.
pub(crate) struct Wanted<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) room: u64,
    pub(crate) rid: &'a str,
}

impl Receiver {
    pub(crate) fn new(dial: Dial) -> Self {
        Self {
            dial,
            ranks: Mutex::default(),
        }
    }

    /// Fetches the KV, for as long as the worker waits.
    pub(crate) async fn fetch(&self, engine: &Engine, wanted: &Wanted<'_>) -> Result<Kv, Abort> {
        let mut server = wanted.host.to_owned();
        // Writing to a String can't fail.
        let _ = write!(server, ":{}", wanted.port);
        let limit = engine.config.waiting_timeout;
        let fetched = tokio::time::timeout(limit, self.fetch_from(engine, &server, wanted)).await;
        let failed = match fetched {
            Ok(Ok(kv)) => return Ok(kv),
            Ok(Err(abort)) => abort,
            Err(_) => {
                let why = format!(
                    "Request {} timed out after {:.1}s in KVPoll.WaitingForInput",
                    wanted.room,
                    limit.as_secs_f64()
                );
                wanted.abort("Decode transfer failed", &why)
            }
        };
        self.ranks.lock().remove(&server);
        Err(failed)
    }

    async fn fetch_from(
        &self,
        engine: &Engine,
        server: &str,
        wanted: &Wanted<'_>,
    ) -> Result<Kv, Abort> {
        let rank_port = self.shake_hands(engine, server, wanted).await?;
        let order = format!(r#"{{"room":{},"rank_port":{rank_port}}}"#, wanted.room);
        match self
            .dial
            .call(server, Method::POST, HANDOVER, order.into())
            .await
        {
            Ok((StatusCode::OK, body)) => serde_json::from_slice(&body)
                .map_err(|error| wanted.abort("Decode transfer failed", &error.to_string())),
            Ok((status, _)) => {
                Err(wanted.abort("Decode transfer failed", &format!("rank answered {status}")))
            }
            Err(Unreachable) => {
                // Nothing tells a decode of a dead prefill but the heartbeats that it misses.
                tokio::time::sleep(engine.config.lost_prefill_after).await;
                let why =
                    format!("Lost connection with prefill instance (bootstrap_addr: {server})");
                Err(wanted.abort("Decode transfer failed", &why))
            }
        }
    }

    async fn shake_hands(
        &self,
        engine: &Engine,
        server: &str,
        wanted: &Wanted<'_>,
    ) -> Result<u16, Abort> {
        if let Some(&rank_port) = self.ranks.lock().get(server) {
            return Ok(rank_port);
        }
        for _ in 0..engine.config.handshake_tries {
            if let Some(rank_port) = self.ask_rank(server).await {
                self.ranks.lock().insert(server.to_owned(), rank_port);
                return Ok(rank_port);
            }
            tokio::time::sleep(engine.config.handshake_pause).await;
        }
        Err(wanted.abort("Decode handshake failed", "Aborted by AbortReq."))
    }

    async fn ask_rank(&self, server: &str) -> Option<u16> {
        let asked = self
            .dial
            .call(server, Method::GET, RANK_ROUTE, Bytes::new())
            .await;
        match asked {
            Ok((StatusCode::OK, body)) => serde_json::from_slice::<RankAddress>(&body)
                .ok()
                .map(|rank| rank.rank_port),
            Ok(_) | Err(Unreachable) => None,
        }
    }
}

impl Wanted<'_> {
    fn abort(&self, what: &str, why: &str) -> Abort {
        Abort::new(
            500,
            crate::engine::transfer_error(what, self.rid, self.room, why),
        )
    }
}
