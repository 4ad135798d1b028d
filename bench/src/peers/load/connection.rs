//! One connection to one server, plain or TLS: no pool, so that what is measured is the router and not a client.

use crate::load::Failure;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::{fmt, io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

/// Where requests go.
pub struct Target {
    pub address: SocketAddr,
    /// How to speak TLS, where it is spoken.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    Io(io::Error),
    Http(hyper::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "no connection: {error}"),
            Self::Http(error) => write!(f, "no connection: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl Target {
    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(ConnectError::Io)?;
        stream.set_nodelay(true).map_err(ConnectError::Io)?;
        match &self.tls {
            None => Connection::over(stream).await,
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let name = ServerName::from(self.address.ip());
                let stream = connector
                    .connect(name, stream)
                    .await
                    .map_err(ConnectError::Io)?;
                Connection::over(stream).await
            }
        }
    }
}

/// A kept connection.
pub struct Connection {
    send: SendRequest<Full<Bytes>>,
    /// What moves its bytes; dropped with it.
    _driver: JoinSet<()>,
}

impl Connection {
    async fn over<S>(stream: S) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ConnectError::Http)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // How it ends shows in the answer that is being read.
            let _ = connection.await;
        });
        Ok(Self {
            send,
            _driver: driver,
        })
    }

    /// Sends a chat request and waits for the head of its answer.
    pub(super) async fn post(
        &mut self,
        target: &Target,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/v1/chat/completions");
        request.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        self.send(target, request).await
    }

    /// The same for a GET.
    pub(super) async fn get(
        &mut self,
        target: &Target,
        path: &'static str,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = Uri::from_static(path);
        self.send(target, request).await
    }

    async fn send(
        &mut self,
        target: &Target,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        self.send.ready().await.map_err(|_| Failure::Connection)?;
        let host = HeaderValue::from_str(&target.address.to_string())
            .expect("an address is digits and dots");
        request.headers_mut().insert(header::HOST, host);
        let response = self.send.send_request(request).await;
        let response = response.map_err(|_| Failure::Connection)?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(Failure::Status(response.status().as_u16()))
        }
    }
}
