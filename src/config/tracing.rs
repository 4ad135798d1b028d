//! Distributed traces: whether, and where to.

use std::fmt;

use clap::Args;
use url::Url;

use super::parse::BadValue;

/// Traces.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Tracing")]
pub struct TracingSettings {
    /// Export an OpenTelemetry trace of each request, continue the client's and hand it on to the workers. The OTEL_*
    /// variables of the OpenTelemetry specification set the rest: sampler, queue, headers for the collector
    #[arg(id = "enable-trace", long)]
    pub enabled: bool,

    /// The collector, which takes OTLP over gRPC; https:// for TLS
    #[arg(
        id = "otlp-traces-endpoint", long, value_name = "HOST:PORT",
        default_value = OtlpEndpoint::DEFAULT, value_parser = OtlpEndpoint::parse
    )]
    pub endpoint: OtlpEndpoint,
}

/// The address of a collector that takes OTLP over gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(Url);

impl OtlpEndpoint {
    const DEFAULT: &str = "localhost:4317";

    /// `HOST:PORT`, as gRPC addresses are written, or the same behind `http://` or `https://`.
    pub(super) fn parse(text: &str) -> Result<Self, BadValue> {
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&full).map_err(|_| BadValue::NotACollector)?;
        let is_bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if is_bare && matches!(url.scheme(), "http" | "https") {
            Ok(Self(url))
        } else {
            Err(BadValue::NotACollector)
        }
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl Default for OtlpEndpoint {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("a host and a port are an address")
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str().trim_end_matches('/'))
    }
}
