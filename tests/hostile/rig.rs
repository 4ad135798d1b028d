//! A router as it runs in production, raw connections to it, and workers that answer with whatever bytes they are told.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adaptive_router::app::App;
use adaptive_router::config::{Config, Parsed};
use adaptive_router::proxy::Proxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; so long only a test that fails waits.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    port: u16,
    pub(crate) proxy: Arc<Proxy>,
    _router: JoinSet<()>,
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As received, names in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether all of the body came.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.trim()))
    }
}

impl Rig {
    /// In front of simulated workers.
    pub(crate) async fn simulated(flags: &[&str]) -> Self {
        let fleet = ["--simulate", "--simulate-time-scale=0.001"];
        Self::start(&[&fleet, flags].concat()).await
    }

    /// In front of these regular workers, which are taken to be well.
    pub(crate) async fn before(workers: &[&Liar], flags: &[&str]) -> Self {
        let urls: Vec<_> = workers.iter().map(|worker| worker.url()).collect();
        let mut all = vec![
            "--disable-health-check",
            "--retry-initial-backoff-ms=1",
            "--policy=round_robin",
        ];
        all.extend(flags);
        all.push("--worker-urls");
        all.extend(urls.iter().map(String::as_str));
        Self::start(&all).await
    }

    async fn start(flags: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ports = ["--host=127.0.0.1", "--port=0", "--prometheus-port=0"];
        let flags = ports.iter().chain(flags).map(Into::into);
        let parsed = Config::from_sources(flags, &|_| None);
        let Ok(Parsed::Run(config)) = parsed else {
            panic!("{parsed:?}")
        };
        let app = App::start(*config).await.expect("free ports");
        let (port, proxy) = (app.port(), Arc::clone(app.proxy()));
        let mut router = JoinSet::new();
        router.spawn(app.run(CancellationToken::new(), CancellationToken::new()));
        let rig = Self {
            port,
            proxy,
            _router: router,
        };
        rig.until("every worker serves", || {
            let set = rig.proxy.registry.snapshot();
            let mut members = set.members().iter();
            members.all(|member| member.state == policies::lifecycle::WorkerState::Serving)
        })
        .await;
        rig
    }

    pub(crate) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port));
        Client {
            stream: stream.await.expect("it listens"),
            read: Vec::new(),
        }
    }

    /// Sends these bytes on a connection of their own; the answers until it is closed.
    pub(crate) async fn told(&self, bytes: &[u8]) -> Vec<Answer> {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.answers().await
    }

    /// Waits until it holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waits = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, waits).await;
        assert!(waited.is_ok(), "{what}\n{}", self.metrics());
    }

    pub(crate) fn metrics(&self) -> String {
        String::from_utf8(self.proxy.metrics_text()).expect("text")
    }

    /// The sum of a family's samples whose labels contain `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        let text = self.metrics();
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '))
            .filter(|(set, _)| (set.is_empty() || set.starts_with('{')) && set.contains(labels))
            .map(|(_, value)| value.parse::<f64>().expect("a number") as u64)
            .sum()
    }

    /// Nothing is in flight, no body is held, and every accepted request has ended.
    pub(crate) async fn is_empty_in_the_end(&self) {
        self.until("nothing is left", || {
            self.metric("adaptive_router_requests_in_flight", "") == 0
                && self.metric("adaptive_router_request_body_bytes", "") == 0
        })
        .await;
    }
}

/// A raw connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    /// The router may close before it has read all: what it said is read afterwards.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(LIMIT, self.stream.write_all(bytes)).await;
        sent.expect("it reads or closes").is_ok()
    }

    /// One read; false at the end.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(LIMIT, self.stream.read_buf(&mut self.read));
        matches!(read.await.expect("it answers or closes"), Ok(bytes) if bytes > 0)
    }

    /// The next answer; `None` where the connection ends instead.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None if self.more().await => {}
                None => return None,
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let status = head[9..12].parse().expect("a status");
        let lower = head.to_ascii_lowercase();
        let mut answer = Answer {
            status,
            head: lower,
            body: Vec::new(),
            whole: true,
        };
        if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer).await;
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().expect("a length");
            while self.read.len() < length && self.more().await {}
            let there = length.min(self.read.len());
            answer.whole = there == length;
            answer.body = self.read.drain(..there).collect();
        }
        Some(answer)
    }

    async fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let line = loop {
                match self.read.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break end,
                    None if self.more().await => {}
                    None => {
                        answer.whole = false;
                        return;
                    }
                }
            };
            let size = std::str::from_utf8(&self.read[..line]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            while self.read.len() < line + 2 + size + 2 {
                if !self.more().await {
                    answer.whole = false;
                    return;
                }
            }
            answer
                .body
                .extend_from_slice(&self.read[line + 2..line + 2 + size]);
            self.read.drain(..line + 2 + size + 2);
            if size == 0 {
                return;
            }
        }
    }

    /// All answers until the connection ends.
    pub(crate) async fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer().await {
            answers.push(answer);
        }
        assert!(
            self.read.is_empty(),
            "{:?}",
            String::from_utf8_lossy(&self.read)
        );
        answers
    }
}

/// What a worker says, and what it does then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    pub(crate) says: &'static [u8],
    pub(crate) then: Then,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    Closes,
    /// Keeps the connection, and waits for the next request or for its end.
    Waits,
    /// Says this over and over, as long as somebody listens.
    Repeats(&'static [u8]),
}

/// A worker that answers every request in the same way.
pub(crate) struct Liar {
    port: u16,
    /// Connections that it has now and over which it was asked something. Its load is asked for, too, which it never
    /// answers.
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) requests: Arc<AtomicUsize>,
    pub(crate) sent: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Liar {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let counters = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let [open, requests, sent] = counters.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let [open, requests, sent] = counters.clone();
                connections.spawn(async move {
                    let mut asked = 0;
                    // The router's leaving is the end of it.
                    let _ = lie(stream, script, &sent, || {
                        if asked == 0 {
                            open.fetch_add(1, Ordering::SeqCst);
                        }
                        asked += 1;
                        requests.fetch_add(1, Ordering::SeqCst);
                    })
                    .await;
                    open.fetch_sub(asked.min(1), Ordering::SeqCst);
                });
            }
        });
        Self {
            port,
            open,
            requests,
            sent,
            _tasks: tasks,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn lie(
    mut stream: TcpStream,
    script: Script,
    sent: &AtomicUsize,
    mut asked: impl FnMut(),
) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        // The bodies here have no blank line, and are as long as their heads say.
        let end = loop {
            let head = read.windows(4).position(|four| four == b"\r\n\r\n");
            let whole = head.and_then(|head| {
                let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
                let length = text.split("content-length: ").nth(1)?;
                let length: usize = length.split("\r\n").next()?.parse().ok()?;
                (read.len() >= head + 4 + length).then_some(head + 4 + length)
            });
            match whole {
                Some(end) => break end,
                None if stream.read_buf(&mut read).await? == 0 => return Ok(()),
                None => {}
            }
        };
        read.drain(..end);
        asked();
        stream.write_all(script.says).await?;
        match script.then {
            Then::Closes => return Ok(()),
            Then::Waits => {}
            Then::Repeats(what) => loop {
                stream.write_all(what).await?;
                sent.fetch_add(what.len(), Ordering::SeqCst);
            },
        }
    }
}

/// A request for `/generate` that is understood.
pub(crate) fn generate(body: &str, headers: &str) -> Vec<u8> {
    format!(
        "POST /generate HTTP/1.1\r\nhost: r\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) const BODY: &str = r#"{"text":"a","sampling_params":{"max_new_tokens":2}}"#;

/// The last request of a connection, which tells where the router thinks that the one before ended.
pub(crate) const LAST: &[u8] = b"GET /liveness HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n";
