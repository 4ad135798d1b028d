//! A server that costs as little as a server can: it looks at nothing of a request but where it ends.

use super::cpu;
use rustix::time::ClockId;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Larger than any request of the measurement.
const LARGEST_REQUEST: usize = 16 << 10;

pub(super) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    /// Ends with the processor time that it took.
    thread: JoinHandle<Duration>,
}

/// One answer, and when its parts are written.
struct Answer {
    pieces: Vec<String>,
    pace: Option<Duration>,
}

impl Server {
    /// Answers of so many tokens, one every `pace` or as fast as they are read.
    pub(super) fn start(tokens: u32, pace: Option<Duration>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let answer = Arc::new(Answer {
            pieces: pieces(tokens),
            pace,
        });
        let thread = std::thread::Builder::new()
            .name("ceiling-server".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        _ = accept(listener, answer) => {}
                    }
                });
                cpu(ClockId::ThreadCPUTime)
            })?;
        Ok(Self {
            address,
            stop,
            thread,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; returns the processor time that it took.
    pub(super) fn stop(self) -> Duration {
        self.stop.cancel();
        self.thread.join().unwrap_or_default()
    }
}

/// An answer as it goes over the wire: each event a chunk.
fn pieces(tokens: u32) -> Vec<String> {
    let start =
        r#"{"id":"cmpl-5a3c","object":"text_completion","created":1760000000,"model":"ceiling","#;
    let token = |finish: &str| {
        format!(
            r#"{start}"choices":[{{"index":0,"text":" word","logprobs":null,"finish_reason":{finish},"matched_stop":null}}],"usage":null}}"#
        )
    };
    let usage = format!(
        r#"{start}"choices":[],"usage":{{"prompt_tokens":32,"completion_tokens":{tokens},"total_tokens":0}}}}"#
    );
    let (middle, last) = (token("null"), token(r#""length""#));
    let events =
        (1..tokens)
            .map(|_| middle.as_str())
            .chain([last.as_str(), usage.as_str(), "[DONE]"]);
    let mut pieces: Vec<String> = events
        .map(|event| {
            let event = format!("data: {event}\n\n");
            format!("{:x}\r\n{event}\r\n", event.len())
        })
        .collect();
    pieces.push("0\r\n\r\n".into());
    pieces
}

async fn accept(listener: TcpListener, answer: Arc<Answer>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = Arc::clone(&answer);
        // It ends when the client closes, which is no error.
        connections.spawn(async move { drop(connection(stream, &answer).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut stream: TcpStream, answer: &Answer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(LARGEST_REQUEST);
    loop {
        request.clear();
        while !is_whole(&request) {
            if stream.read_buf(&mut request).await? == 0 || request.len() > LARGEST_REQUEST {
                return Ok(());
            }
        }
        stream.write_all(HEAD.as_bytes()).await?;
        let mut ticks = answer.pace.map(tokio::time::interval);
        for piece in &answer.pieces {
            match &mut ticks {
                Some(ticks) => drop(ticks.tick().await),
                // The other connections get their turn.
                None => tokio::task::yield_now().await,
            }
            stream.write_all(piece.as_bytes()).await?;
        }
    }
}

/// Whether head and body are there.
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = memchr::memmem::find(request, b"\r\n\r\n") else {
        return false;
    };
    let length = std::str::from_utf8(&request[..head]).ok().and_then(|head| {
        let mut lines = head.lines();
        lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        })
    });
    request.len() >= head + 4 + length.unwrap_or(0)
}
