//! Accepting connections: TCP with no delay, TLS where configured, and an end that loses nothing.
//!
//! What a client may take of the router's time and memory before it has said anything is bounded here: its head by time,
//! number of headers and bytes; an answer that it doesn't take by time.

mod drain;
mod outlet;
mod stall;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_http::add_extension::AddExtension;

use self::drain::Drain;
pub use self::outlet::Outlet;
use self::outlet::WithOutlet;
use self::stall::Patient;

/// For a TLS handshake: a client that sends a byte now and then holds no connection for ever.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// Headers of a request, and bytes of its head. Browsers send some 20 headers; HAProxy takes 101 of them and 16 KiB,
/// nginx 32 KiB. The same number of bytes is the most that is read ahead of a body, and the most that waits for a client.
const MOST_HEADERS: usize = 100;
const LONGEST_HEAD: usize = 128 * 1024;

/// Connections that wait to be accepted: who comes when it is full is dropped and tries again after a second. Linux takes
/// no more than net.core.somaxconn, which is 4,096.
const BACKLOG: i32 = 4096;

/// After a failed accept (no file descriptors left, as a rule) the loop waits instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How the serving of a listener ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Stop accepting, finish what runs.
    pub drain: CancellationToken,
    /// Drop everything.
    pub abort: CancellationToken,
    /// How long `drain` may take.
    pub grace: Duration,
}

/// How long a client may keep a connection waiting.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the next request's head.
    pub head: Duration,
    /// For it to take something of an answer.
    pub stall: Duration,
}

/// Takes as many open files as this process may have: each connection is one, and shells start programs with 1,024 of
/// them, for the sake of programs of another time. Answers how many there may be now.
pub fn allow_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::debug!(%error, "cannot raise the limit of open files");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}

/// Reads the certificate chain and its key.
pub fn tls_acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let certificates = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| TlsError(format!("{}: {cause}", certificate.display())))?;
    let key_der = PrivateKeyDer::from_pem_file(key)
        .map_err(|cause| TlsError(format!("{}: {cause}", key.display())))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key_der)
        .map_err(|cause| {
            TlsError(format!(
                "{} with {}: {cause}",
                certificate.display(),
                key.display()
            ))
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificate or its key can't be used.
#[derive(Debug)]
pub struct TlsError(String);

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot use the TLS certificate: {}", self.0)
    }
}

impl std::error::Error for TlsError {}

/// Serves `router` on `listener` until told to end.
///
/// `open` is kept at the number of connections, where somebody wants to know.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    patience: Patience,
    ending: Ending,
    open: Option<IntGauge>,
) {
    let drain = Arc::new(Drain::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = ending.drain.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, tls.clone(), router.clone(), patience, Arc::clone(&drain));
                    let open = open.clone().map(Open::count);
                    connections.spawn(async move {
                        connection.await;
                        drop(open);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    drain.begin();
    let all_end = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = all_end => {}
        () = ending.abort.cancelled() => tracing::warn!("ended at once: running requests are cut"),
        () = tokio::time::sleep(ending.grace) => {
            tracing::warn!(grace_secs = ending.grace.as_secs(), "the grace period is over: running requests are cut");
        }
    }
}

/// A connection, counted as long as this lives.
struct Open(IntGauge);

impl Open {
    fn count(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One connection, to its end.
async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    patience: Patience,
    drain: Arc<Drain>,
) {
    // Without it a token waits up to 40 ms for the client's acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let ended = match tls {
        None => http(stream, router, patience, drain).await,
        // A box of its own, so that plain connections have no place for what TLS needs.
        Some(acceptor) => Box::pin(tls_http(acceptor, stream, router, patience, drain)).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn tls_http(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    router: Router,
    patience: Patience,
    drain: Arc<Drain>,
) -> hyper::Result<()> {
    match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return http(stream, router, patience, drain).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
    Ok(())
}

/// Not an async function: it would keep the connection twice, as an argument and as what is awaited.
fn http<S>(
    stream: S,
    router: Router,
    patience: Patience,
    drain: Arc<Drain>,
) -> impl Future<Output = hyper::Result<()>> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let outlet = Arc::new(Outlet::default());
    let socket = WithOutlet::new(Patient::new(stream, patience.stall), Arc::clone(&outlet));
    let service = AddExtension::new(router, Arc::clone(&outlet));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service));
    drain.ends(connection, outlet)
}

/// Binds, with an error that says what to do.
pub async fn bind(host: &str, port: u16, flag: &'static str) -> Result<TcpListener, BindError> {
    listen(host, port).await.map_err(|cause| BindError {
        host: host.to_owned(),
        port,
        flag,
        cause,
    })
}

async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((host, port)).await?;
    // Asked again, because tokio asks for the standard library's 128.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// An address that can't be had.
#[derive(Debug)]
pub struct BindError {
    host: String,
    port: u16,
    flag: &'static str,
    cause: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            host,
            port,
            flag,
            cause,
        } = self;
        write!(
            f,
            "cannot listen on {host}:{port}: {cause}; stop what uses it, or choose another with {flag}"
        )
    }
}

impl std::error::Error for BindError {}

#[cfg(test)]
mod tests;
