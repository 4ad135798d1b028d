//! Where the router listens and what it takes from a client before anything is routed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::parse;

/// The listening side.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerSettings {
    /// Address to listen on: IPv4, IPv6 (::, ::1) or a name
    #[arg(long, default_value = "0.0.0.0", value_parser = parse::listen_host)]
    pub host: String,

    /// Port to listen on; 0 takes a free one. 8000 here, where sglang_router has 30000
    #[arg(long, default_value_t = 8000, value_parser = parse::whole::<u16>)]
    pub port: u16,

    /// Seconds that running requests get to finish after SIGTERM
    #[arg(id = "shutdown-grace-period-secs", long, value_name = "SECS", default_value = "180", value_parser = parse::seconds)]
    pub shutdown_grace_period: Duration,

    /// Largest request body in bytes
    #[arg(long, value_name = "BYTES", default_value = "536870912", value_parser = parse::positive_size)]
    pub max_payload_size: usize,

    /// Seconds in which a client has to send the next request's head, from the connection's beginning or the answer
    /// before. Longer than load balancers in front keep connections that rest: 60 s, as a rule
    #[arg(id = "client-head-timeout-secs", long, value_name = "SECS", default_value = "75", value_parser = parse::positive_seconds)]
    pub head_timeout: Duration,

    /// Seconds in which a client has to send the next 1 MiB of a body, or the rest
    #[arg(id = "client-body-timeout-secs", long, value_name = "SECS", default_value = "60", value_parser = parse::positive_seconds)]
    pub body_timeout: Duration,

    /// Seconds after which a client that takes nothing of an answer is left
    #[arg(id = "client-stall-timeout-secs", long, value_name = "SECS", default_value = "300", value_parser = parse::positive_seconds)]
    pub stall_timeout: Duration,

    /// Request headers that may carry the client's own request id, looked at in this order
    #[arg(
        long, value_name = "HEADER", num_args = 0.., action = clap::ArgAction::Set,
        default_values = ["x-request-id", "x-correlation-id", "x-trace-id", "request-id"],
        value_parser = parse::header_name
    )]
    pub request_id_headers: Vec<String>,

    /// Origins that browsers may call from; none named allows every origin
    #[arg(long, value_name = "ORIGIN", num_args = 0.., action = clap::ArgAction::Set, value_parser = parse::origin)]
    pub cors_allowed_origins: Vec<String>,

    /// Certificate chain (PEM) to serve HTTPS with; needs --tls-key-path
    #[arg(long, value_name = "FILE")]
    pub tls_cert_path: Option<PathBuf>,

    /// Private key (PEM) of --tls-cert-path
    #[arg(long, value_name = "FILE")]
    pub tls_key_path: Option<PathBuf>,
}
