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

    /// The collector: OTLP over gRPC, or over HTTP where the port is 4318 or a path follows; https:// for TLS
    #[arg(
        id = "otlp-traces-endpoint", long, value_name = "HOST:PORT",
        default_value = OtlpEndpoint::DEFAULT, value_parser = OtlpEndpoint::parse
    )]
    pub endpoint: OtlpEndpoint,
}

/// The address of a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    pub protocol: OtlpProtocol,
    url: Url,
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    Grpc,
    Http,
}

/// The port that the specification gives OTLP over HTTP.
const HTTP_PORT: u16 = 4318;

/// The path that it gives traces.
const HTTP_PATH: &str = "/v1/traces";

impl OtlpEndpoint {
    const DEFAULT: &str = "localhost:4317";

    /// `HOST:PORT`, as gRPC addresses are written, or a URL. A gRPC address has no path, so a path means HTTP.
    pub(super) fn parse(text: &str) -> Result<Self, BadValue> {
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let mut url = Url::parse(&full).map_err(|_| BadValue::NotACollector)?;
        let is_plain = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !is_plain || !matches!(url.scheme(), "http" | "https") {
            return Err(BadValue::NotACollector);
        }
        let has_path = url.path() != "/";
        let protocol = if has_path || url.port() == Some(HTTP_PORT) {
            OtlpProtocol::Http
        } else {
            OtlpProtocol::Grpc
        };
        if protocol == OtlpProtocol::Http && !has_path {
            url.set_path(HTTP_PATH);
        }
        Ok(Self { protocol, url })
    }

    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl Default for OtlpEndpoint {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("a host and a port are an address")
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
