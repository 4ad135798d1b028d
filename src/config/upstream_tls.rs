//! How the router shows itself to workers that are served over HTTPS, and whom it trusts.

use std::path::PathBuf;

use clap::Args;

/// Certificates for talking to workers.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "TLS to Workers")]
pub struct UpstreamTlsSettings {
    /// Client certificate (PEM) shown to workers; needs --client-key-path
    #[arg(long, value_name = "FILE")]
    pub client_cert_path: Option<PathBuf>,

    /// Private key (PEM) of --client-cert-path
    #[arg(long, value_name = "FILE")]
    pub client_key_path: Option<PathBuf>,

    /// Authorities (PEM) that workers' certificates may come from, besides the usual ones
    #[arg(long, value_name = "FILE", num_args = 0.., action = clap::ArgAction::Set)]
    pub ca_cert_paths: Vec<PathBuf>,
}
