//! The ports that the router listens on.

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::StartError;
use crate::config::Config;
use crate::server;

/// Both ports, bound.
pub(super) struct Listeners {
    pub(super) main: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) metrics: TcpListener,
}

impl Listeners {
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        let Config {
            server, metrics, ..
        } = config;
        let tls = match (&server.tls_cert_path, &server.tls_key_path) {
            (Some(certificate), Some(key)) => {
                Some(server::tls_acceptor(certificate, key).map_err(StartError::Tls)?)
            }
            _ => None,
        };
        let main = server::bind(&server.host, server.port, "--port");
        let metrics = server::bind(&metrics.host, metrics.port, "--prometheus-port");
        Ok(Self {
            main: main.await.map_err(StartError::Bind)?,
            tls,
            metrics: metrics.await.map_err(StartError::Bind)?,
        })
    }
}
