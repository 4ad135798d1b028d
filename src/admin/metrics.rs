//! `/metrics` on the main port, for whoever scrapes the port that serves; the metrics port has the same text.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;

use super::AdminState;

/// The Prometheus text format.
const EXPOSITION: &str = "text/plain; version=0.0.4";

pub(super) async fn own(State(state): State<AdminState>) -> Response {
    let set = state.registry.snapshot();
    exposition(state.metrics.render(&set, state.clock.now()))
}

pub(super) fn exposition(text: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, EXPOSITION)], text).into_response()
}

#[cfg(test)]
mod tests {
    use crate::admin::stand_in::Bench;
    use policies::worker::Role;

    #[tokio::test]
    async fn the_metrics_name_every_worker() {
        let bench = Bench::new([("p:1", Role::Prefill, vec![])]);
        let answer = bench.get("/metrics").await;
        assert_eq!(answer.content_type, "text/plain; version=0.0.4");
        let serves = r#"smg_worker_health{worker="http://p:1"} 1"#;
        assert!(answer.text().contains(serves), "{}", answer.text());
    }
}
