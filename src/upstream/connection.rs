//! One connection to a worker, driven by whoever waits for its answer.
//!
//! No task of its own and no buffer of its own: a read goes to memory that all connections of a thread share and leaves it
//! as one piece of exactly its size, so a stream that is silent holds no memory for what may come, one whose client is slow
//! no more than it waits for, and all that a read brought is passed on at once. Dropping it closes the socket.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::Response;
use smallvec::SmallVec;
use tokio::io::{AsyncWrite as _, Interest};
use tokio::net::TcpStream;
use tokio::task::coop;
use tokio_util::io::poll_read_buf;

use super::client::UpstreamRequest;
use super::http1::{self, Framing, Head};
use crate::woken::Woken;

/// Bytes of one read. Tokens come in hundreds of bytes; a stream that comes faster is read in pieces of this.
const READ: usize = 32 * 1024;

thread_local! {
    /// Where reads land, until what they brought is taken.
    static LANDING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

const CLOSED: &str = "the worker closed the connection";

/// A request as it stands on the wire, and how much of it has gone out.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Its head, then its body; without what was written.
    pieces: SmallVec<[Bytes; 3]>,
    begun: bool,
    given_up: bool,
}

impl Outgoing {
    pub fn new(request: UpstreamRequest) -> Self {
        let UpstreamRequest {
            method,
            url,
            headers,
            body,
        } = request;
        let head = http1::write_request(&method, &url, &headers, body.len());
        let mut pieces = SmallVec::from_elem(Bytes::from(head), 1);
        pieces.extend(body.into_pieces());
        Self {
            pieces,
            begun: false,
            given_up: false,
        }
    }

    /// Whether a worker may have seen some of it.
    pub const fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether nothing is left to write.
    pub fn is_over(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn is_written(&self) -> bool {
        self.is_over() && !self.given_up
    }

    /// The worker takes no more of it.
    fn give_up(&mut self) {
        self.pieces.clear();
        self.given_up = true;
    }

    fn written(&mut self, mut bytes: usize) {
        self.begun = true;
        let whole = self.pieces.iter().position(|piece| {
            let goes_on = bytes < piece.len();
            bytes -= if goes_on { 0 } else { piece.len() };
            goes_on
        });
        self.pieces.drain(..whole.unwrap_or(self.pieces.len()));
        if let Some(first) = self.pieces.first_mut() {
            first.advance(bytes);
        }
    }
}

/// What a read found.
pub(super) enum Read {
    /// The body's next bytes; never none.
    Data(Bytes),
    /// The answer is over. `clean`: nothing stands behind it, so that the connection can be used again.
    End { last: Bytes, clean: bool },
}

#[derive(Debug)]
pub(super) struct Connection {
    /// Of the worker, `host:port`.
    pub authority: Arc<str>,
    stream: TcpStream,
    /// Who waits for the worker to send something.
    reader: Woken,
}

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub head: Response<()>,
    pub framing: Framing,
    /// Of the body, what came with the head.
    pub start: Bytes,
    /// Whether the connection can be used again after it.
    pub reusable: bool,
}

impl Connection {
    pub fn over(stream: TcpStream, authority: Arc<str>) -> Self {
        Self {
            authority,
            stream,
            reader: Woken::default(),
        }
    }

    /// Whether the worker has said nothing since its last answer, neither bytes nor that it closes, as far as is known
    /// without asking.
    pub fn is_idle(&self) -> bool {
        let said = self.stream.try_read(&mut [0]);
        said.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends and waits for the answer's head. After an error `request` says whether anything of it went out.
    pub async fn send(&mut self, request: &mut Outgoing) -> Result<Begun, String> {
        // It may have been looked at in the pool, by whom doesn't matter.
        self.reader = Woken::default();
        // Of a head that comes in more than one read.
        let mut received = Vec::new();
        std::future::poll_fn(|context| self.poll_send(request, &mut received, context)).await
    }

    fn poll_send(
        &mut self,
        request: &mut Outgoing,
        received: &mut Vec<u8>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Begun, String>> {
        loop {
            // First, so that a connection which the worker has closed is seen before anything is written; and a worker
            // may answer before it has read all.
            if let Poll::Ready(begun) = self.poll_head(received, context) {
                let written = request.is_written();
                return Poll::Ready(begun.map(|begun| Begun {
                    reusable: begun.reusable && written,
                    ..begun
                }));
            }
            if request.is_over() {
                return Poll::Pending;
            }
            match ready!(self.poll_write(request, context)) {
                Ok(()) => return Poll::Pending,
                Err(error) if !request.is_begun() => return Poll::Ready(Err(error.to_string())),
                // The worker may have said why: that is read next, and else that it closed.
                Err(_) => request.give_up(),
            }
        }
    }

    /// Writes what is left of a request.
    pub fn poll_write(
        &mut self,
        request: &mut Outgoing,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !request.is_over() {
            let slices: SmallVec<[IoSlice<'_>; 3]> = request
                .pieces
                .iter()
                .map(|piece| IoSlice::new(piece))
                .collect();
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(context, &slices))?;
            drop(slices);
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            request.written(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once; `take` gets what came, nothing at the end.
    fn poll_read<T>(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&mut [u8]) -> T,
    ) -> Poll<io::Result<T>> {
        // Nothing has come since the same task was told so.
        let may_have_come = || self.stream.try_io(Interest::READABLE, || Ok(())).is_ok();
        if self.reader.is(context) && !may_have_come() {
            return Poll::Pending;
        }
        self.reader = Woken::default();
        let asked = coop::has_budget_remaining();
        let stream = Pin::new(&mut self.stream);
        let polled = LANDING.with_borrow_mut(|landing| {
            landing.clear();
            landing.reserve(READ);
            poll_read_buf(stream, context, landing).map_ok(|_| take(landing))
        });
        if polled.is_pending() && asked {
            self.reader = Woken::of(context);
        }
        polled
    }

    fn poll_head(
        &mut self,
        received: &mut Vec<u8>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Begun, String>> {
        loop {
            let begun = ready!(self.poll_read(context, |read| {
                if read.is_empty() {
                    return Err(CLOSED.to_owned());
                }
                // As a rule the head comes in one read, and is taken from there.
                let begun = if received.is_empty() {
                    begin(read)
                } else {
                    received.extend_from_slice(read);
                    begin(received)
                };
                if let (Ok(None), true) = (&begun, received.is_empty()) {
                    received.extend_from_slice(read);
                }
                begun.map_err(|malformed| malformed.to_string())
            }));
            if let Some(begun) = begun
                .unwrap_or_else(|error| Err(error.to_string()))
                .transpose()
            {
                return Poll::Ready(begun);
            }
        }
    }

    /// Reads the next of a body that isn't done.
    pub fn poll_data(
        &mut self,
        framing: &mut Framing,
        context: &mut Context<'_>,
    ) -> Poll<Result<Read, String>> {
        loop {
            let read = ready!(self.poll_read(context, |read| take_data(read, framing)));
            if let Some(read) = read
                .unwrap_or_else(|error| Err(error.to_string()))
                .transpose()
            {
                return Poll::Ready(read);
            }
        }
    }
}

/// What a read brought of a body; `None` where that is no data.
fn take_data(read: &mut [u8], framing: &mut Framing) -> Result<Option<Read>, String> {
    if read.is_empty() {
        return match framing {
            Framing::UntilClose => Ok(Some(Read::End {
                last: Bytes::new(),
                clean: false,
            })),
            Framing::Length(_) | Framing::Chunked(_) => Err(CLOSED.to_owned()),
        };
    }
    let decoded = framing.decode(read);
    let decoded = decoded.map_err(|malformed| malformed.to_string())?;
    let clean = decoded.taken == read.len();
    let data = Bytes::copy_from_slice(&read[..decoded.data]);
    if framing.is_done() {
        return Ok(Some(Read::End { last: data, clean }));
    }
    Ok((!data.is_empty()).then_some(Read::Data(data)))
}

/// The answer that begins with `bytes`, once its head is whole.
fn begin(bytes: &mut [u8]) -> Result<Option<Begun>, http1::Malformed> {
    let Some(head) = Head::parse(bytes)? else {
        return Ok(None);
    };
    let Head {
        response,
        mut framing,
        keep_alive,
        length,
    } = head;
    let body = &mut bytes[length..];
    let decoded = framing.decode(body)?;
    let clean = decoded.taken == body.len();
    Ok(Some(Begun {
        head: response,
        framing,
        start: Bytes::copy_from_slice(&body[..decoded.data]),
        reusable: keep_alive && clean,
    }))
}
