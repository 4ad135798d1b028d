//! A connection in virtual time: how long a client may keep it waiting, and how much of an answer waits for a client.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use axum::body::Body;
use axum::{Extension, routing};
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream,
};
use tokio::time::Instant;

use super::*;

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(75),
    stall: Duration::from_secs(300),
};

/// What a client's socket takes before it is read.
const SOCKET: usize = 64 * 1024;

/// A connection to `router`, and the task that serves it.
fn connected(router: Router) -> (DuplexStream, JoinSet<hyper::Result<()>>, Arc<Drain>) {
    let (ours, theirs) = tokio::io::duplex(SOCKET);
    let drain = Arc::new(Drain::default());
    let mut serving = JoinSet::new();
    serving.spawn(http(ours, router, PATIENCE, Arc::clone(&drain)));
    (theirs, serving, drain)
}

fn hello() -> Router {
    Router::new().route("/", routing::get(|| async { "hello" }))
}

/// Sends `bytes` with a pause before each; whether all were taken, and how long that took.
async fn drips(client: &mut DuplexStream, bytes: &[u8], pause: Duration) -> (bool, Duration) {
    let began = Instant::now();
    for byte in bytes {
        tokio::time::sleep(pause).await;
        if client.write_all(&[*byte]).await.is_err() {
            return (false, began.elapsed());
        }
    }
    (true, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_head_may_take_its_time_and_no_more_however_it_is_dripped() {
    let head = b"GET / HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n";
    let second = Duration::from_secs(1);
    for (pause, answered) in [(second, true), (2 * second, false), (60 * second, false)] {
        let (mut client, mut serving, _drain) = connected(hello());
        let began = Instant::now();
        let ended = async {
            let ended = serving.join_next().await;
            drop(ended);
            began.elapsed()
        };
        let ((all, _), ended) = tokio::join!(drips(&mut client, head, pause), ended);
        assert_eq!(all, answered, "{pause:?}");
        assert!(ended <= PATIENCE.head, "{pause:?}: {ended:?}");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.ends_with("hello"), answered, "{pause:?}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_is_kept_for_as_long_as_a_head_may_take() {
    let (mut client, mut serving, _drain) = connected(hello());
    let request = b"GET / HTTP/1.1\r\nhost: r\r\n\r\n";
    let mut buffer = [0; 1_000];
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(74)).await;
        client.write_all(request).await.unwrap();
        let read = client.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].ends_with(b"hello"));
    }
    let began = Instant::now();
    serving.join_next().await;
    assert_eq!(began.elapsed(), PATIENCE.head);
}

/// A stream as a relay makes it: hyper has the first piece and the end, the outlet what comes between.
struct Relayed<I> {
    outlet: Arc<Outlet>,
    pieces: I,
    began: bool,
}

impl<I: Iterator<Item = Bytes> + Unpin> http_body::Body for Relayed<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.began && !this.outlet.is_free() {
            return Poll::Pending;
        }
        let piece = this.pieces.next();
        if let Some(piece) = piece.as_ref().filter(|_| this.began) {
            this.outlet.send(&mut VecDeque::from([piece.clone()]));
            return Poll::Pending;
        }
        this.began = true;
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Pieces of all sizes, each its own.
fn relayed_pieces() -> impl Iterator<Item = Bytes> + Send {
    (0..200_usize).map(|number| Bytes::from(vec![number as u8; 1 + number * number % 9_001]))
}

async fn relayed(Extension(outlet): Extension<Arc<Outlet>>) -> Body {
    Body::new(Relayed {
        outlet,
        pieces: relayed_pieces(),
        began: false,
    })
}

#[tokio::test(start_paused = true)]
async fn a_relayed_stream_comes_whole_and_leaves_its_connection_to_the_next_or_ends_it_in_a_drain()
{
    let router = Router::new().route("/", routing::get(relayed));
    let (client, mut serving, drain) = connected(router);
    let mut client = BufReader::new(client);
    let wanted: Vec<u8> = relayed_pieces().flatten().collect();
    for number in 0..3 {
        let request = b"GET / HTTP/1.1\r\nhost: r\r\n\r\n";
        client.write_all(request).await.unwrap();
        if number == 2 {
            // Its head is there before the drain begins.
            client.fill_buf().await.unwrap();
            drain.begin();
        }
        let got = tokio::time::timeout(PATIENCE.stall, chunked(&mut client)).await;
        let got = got.expect("it doesn't get stuck");
        assert_eq!(got, wanted, "answer {number}");
    }
    serving.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

struct Woke(AtomicBool);

impl Wake for Woke {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A client that takes nothing of the head has the chunk behind it wait, and nobody asks again and again whether it does
/// now.
#[tokio::test]
async fn a_chunk_behind_a_head_that_waits_keeps_nobody_busy() {
    let router = Router::new().route("/", routing::get(relayed));
    let (ours, mut client) = tokio::io::duplex(64);
    let drain = Arc::new(Drain::default());
    let mut connection = pin!(http(ours, router, PATIENCE, drain));
    let request = b"GET / HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let woke = Arc::new(Woke(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woke));
    let mut polls = 0;
    while woke.0.swap(false, Ordering::SeqCst) {
        let polled = connection.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        polls += 1;
        assert!(polls < 10, "it keeps itself busy");
    }
    let mut client = BufReader::new(client);
    let (served, got) = tokio::join!(connection, chunked(&mut client));
    served.unwrap();
    assert_eq!(got, relayed_pieces().flatten().collect::<Vec<_>>());
}

/// The body of an answer that comes in chunks.
async fn chunked(client: &mut BufReader<DuplexStream>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).await.unwrap();
    }
    loop {
        line.clear();
        client.read_line(&mut line).await.unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        client.read_exact(&mut chunk).await.unwrap();
        assert!(chunk.ends_with(b"\r\n"));
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return body;
        }
    }
}

/// An answer without end for a client that reads nothing: it is made no further than buffers take it, and dropped when
/// the client has had its time. What a stream may hold is so far below the megabyte that one may cost.
#[tokio::test(start_paused = true)]
async fn for_a_client_that_stops_reading_little_is_made_and_not_for_ever() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    for piece in [100, 1_000, 16 * 1024] {
        let endless = move || async move {
            MADE.store(0, Ordering::SeqCst);
            Body::from_stream(stream::repeat_with(move || {
                MADE.fetch_add(piece, Ordering::SeqCst);
                Ok::<_, Infallible>(Bytes::from(vec![b'x'; piece]))
            }))
        };
        let relayed = move |Extension(outlet): Extension<Arc<Outlet>>| async move {
            MADE.store(0, Ordering::SeqCst);
            let pieces = std::iter::repeat_with(move || {
                MADE.fetch_add(piece, Ordering::SeqCst);
                Bytes::from(vec![b'x'; piece])
            });
            Body::new(Relayed {
                outlet,
                pieces,
                began: false,
            })
        };
        let router = Router::new()
            .route("/endless", routing::get(endless))
            .route("/relayed", routing::get(relayed));
        for path in ["/endless", "/relayed"] {
            stalls(router.clone(), path, piece, &MADE).await;
        }
    }
}

async fn stalls(router: Router, path: &str, piece: usize, made: &AtomicUsize) {
    let (mut client, mut serving, _drain) = connected(router);
    let request = format!("GET {path} HTTP/1.1\r\nhost: r\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    // It reads some, then no more.
    client.read_exact(&mut vec![0; 1_000_000]).await.unwrap();
    let began = Instant::now();
    serving.join_next().await;
    assert_eq!(began.elapsed(), PATIENCE.stall);
    let waits = made.load(Ordering::SeqCst) - 1_000_000;
    assert!(
        waits < 2 * LONGEST_HEAD + 2 * SOCKET,
        "{path}: {waits} bytes in pieces of {piece}"
    );
}

#[tokio::test]
async fn a_connection_without_tls_has_no_place_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let task = connection(stream, None, Router::new(), PATIENCE, Arc::default());
    let size = size_of_val(&task);
    assert!(size <= 2048, "{size} bytes for each connection");
}

#[tokio::test]
async fn many_who_come_at_once_are_let_wait_rather_than_turned_away() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most = most.ok().and_then(|most| most.trim().parse().ok());
    let listener = bind("127.0.0.1", 0, "--port").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts them. One that finds no room is sent again after a second.
    let come = async {
        let mut clients = Vec::new();
        for _ in 0..most.unwrap_or(4096).min(600) {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        clients.len()
    };
    let come = tokio::time::timeout(Duration::from_secs(20), come).await;
    assert!(come.is_ok());
}
