//! The way to the collector: a bounded queue, batches sent from a thread of their own, and one word in the log when it
//! stops working.
//!
//! Requests never wait for it: what the queue has no room for is dropped. The batches, the queue, the sampler and
//! headers for the collector follow the `OTEL_*` variables of the OpenTelemetry specification.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter as OtlpExporter, WithExportConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

use crate::config::{OtlpEndpoint, OtlpProtocol};

/// The name that the router has among services, unless `OTEL_SERVICE_NAME` gives it another.
const SERVICE: &str = "adaptive-router";

/// Traces can't be exported as configured.
#[derive(Debug)]
pub struct TraceError {
    endpoint: String,
    cause: ExporterBuildError,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, cause } = self;
        write!(
            f,
            "cannot export traces to {endpoint}: {cause}; see --otlp-traces-endpoint"
        )
    }
}

impl std::error::Error for TraceError {}

/// Spans on their way to `endpoint`. Needs a tokio runtime around it, which carries a gRPC connection.
pub(super) fn provider(endpoint: &OtlpEndpoint) -> Result<SdkTracerProvider, TraceError> {
    let built = match endpoint.protocol {
        OtlpProtocol::Grpc => by_grpc(endpoint),
        OtlpProtocol::Http => by_http(endpoint),
    };
    let exporter = built.map_err(|cause| TraceError {
        endpoint: endpoint.to_string(),
        cause,
    })?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(Watched {
            exporter,
            endpoint: endpoint.clone(),
            failing: AtomicBool::new(false),
        })
        .with_resource(resource())
        .build())
}

fn by_grpc(endpoint: &OtlpEndpoint) -> Result<OtlpExporter, ExporterBuildError> {
    let mut builder = OtlpExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.as_str());
    if endpoint.is_tls() {
        builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
    }
    builder.build()
}

fn by_http(endpoint: &OtlpEndpoint) -> Result<OtlpExporter, ExporterBuildError> {
    OtlpExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint.as_str())
        .build()
}

fn resource() -> Resource {
    let mut attributes = vec![KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        attributes.push(KeyValue::new("service.name", SERVICE));
    }
    Resource::builder().with_attributes(attributes).build()
}

/// An exporter that says when it begins to fail and when it works again, and nothing in between: a collector that is
/// down for a night is two lines.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    endpoint: OtlpEndpoint,
    failing: AtomicBool,
}

impl<E> Watched<E> {
    /// `Some` when `result` is other than the one before.
    fn change(&self, result: &OTelSdkResult) -> Option<Change> {
        let fails = result.is_err();
        let failed = self.failing.swap(fails, Ordering::Relaxed);
        match (failed, fails) {
            (false, true) => Some(Change::Fails),
            (true, false) => Some(Change::Works),
            (false, false) | (true, true) => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Fails,
    Works,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let endpoint = &self.endpoint;
        match (self.change(&result), &result) {
            (Some(Change::Fails), Err(error)) => {
                tracing::warn!(%endpoint, %error, "traces do not reach the collector and are dropped; serving goes on");
            }
            (Some(Change::Works), _) => {
                tracing::info!(%endpoint, "traces reach the collector again");
            }
            (Some(Change::Fails) | None, _) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn a_collector_that_stays_away_is_told_of_once() {
        let watched = Watched {
            exporter: (),
            endpoint: OtlpEndpoint::default(),
            failing: AtomicBool::new(false),
        };
        let failure = || Err(OTelSdkError::InternalFailure("down".to_owned()));
        assert_eq!(watched.change(&Ok(())), None);
        assert_eq!(watched.change(&failure()), Some(Change::Fails));
        assert_eq!(watched.change(&failure()), None);
        assert_eq!(watched.change(&Ok(())), Some(Change::Works));
        assert_eq!(watched.change(&Ok(())), None);
        assert_eq!(watched.change(&failure()), Some(Change::Fails));
    }
}
