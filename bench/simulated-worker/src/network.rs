//! How a decode worker reaches a bootstrap server: by a socket, or within the process.
//!
//! Paused tokio time doesn't work across sockets, so tests connect workers by a [`Switchboard`] instead.

use crate::http::reset::ConnectionReset;
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tower::ServiceExt;

/// The network that a worker is on.
#[derive(Clone)]
pub enum Network {
    /// Sockets, as in production.
    Http,
    /// Everything in this process.
    InMemory(Switchboard),
}

/// The bootstrap servers of one process, by `host:port`. The host is compared as a resolver does, without regard to
/// letter case.
#[derive(Clone, Default)]
pub struct Switchboard {
    servers: Arc<Mutex<HashMap<String, Router>>>,
}

impl Switchboard {
    pub fn connect(&self, host: &str, port: u16, server: Router) {
        self.servers
            .lock()
            .insert(key(&format!("{host}:{port}")), server);
    }

    /// Takes a server off: from now on it refuses connections.
    pub fn disconnect(&self, host: &str, port: u16) {
        self.servers.lock().remove(&key(&format!("{host}:{port}")));
    }

    fn get(&self, server: &str) -> Option<Router> {
        self.servers.lock().get(&key(server)).cloned()
    }
}

fn key(server: &str) -> String {
    server.to_ascii_lowercase()
}

/// No connection, or it broke.
#[derive(Debug)]
pub(crate) struct Unreachable;

/// The calling side of a [`Network`].
pub(crate) enum Dial {
    Http(Box<Client<HttpConnector, Full<Bytes>>>),
    InMemory(Switchboard),
}

impl Dial {
    pub(crate) fn new(network: &Network) -> Self {
        match network {
            Network::Http => {
                Self::Http(Box::new(Client::builder(TokioExecutor::new()).build_http()))
            }
            Network::InMemory(switchboard) => Self::InMemory(switchboard.clone()),
        }
    }

    pub(crate) async fn call(
        &self,
        server: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Unreachable> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{server}{path}"))
            .header(http::header::CONTENT_TYPE, "application/json");
        match self {
            Self::Http(client) => {
                let request = request.body(Full::new(body)).map_err(|_| Unreachable)?;
                let response = client.request(request).await.map_err(|_| Unreachable)?;
                collect(response).await
            }
            Self::InMemory(switchboard) => {
                let router = switchboard.get(server).ok_or(Unreachable)?;
                let request = request.body(Body::from(body)).map_err(|_| Unreachable)?;
                let Ok(response) = router.oneshot(request).await;
                if response.extensions().get::<ConnectionReset>().is_some() {
                    return Err(Unreachable);
                }
                collect(response).await
            }
        }
    }
}

async fn collect<B>(response: http::Response<B>) -> Result<(StatusCode, Bytes), Unreachable>
where
    B: http_body::Body,
{
    let status = response.status();
    let body = response.into_body().collect().await;
    body.map(|body| (status, body.to_bytes()))
        .map_err(|_| Unreachable)
}
