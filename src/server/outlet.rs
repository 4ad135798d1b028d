//! Where the chunks of a stream go out, beside hyper's own buffer.
//!
//! hyper takes a body's data, encodes its chunk, puts the parts into a list, and asks for more twice before it writes: for
//! a token that is more work than all else that a relay does with it. So a relay gives hyper the first piece of a stream,
//! which goes out with the head, and the last, which goes out with the end; what comes between it puts here, and the
//! connection's socket writes it when hyper flushes.
//!
//! The order is right because hyper flushes its socket when it has written all that it had, and because nothing is given to
//! hyper before what stands here is written ([`Outlet::is_free`]).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are written as one slice, however many they lie in: a token is its chunk's size, an event of some hundred
/// bytes and an end of line, and to copy them costs less than the kernel's way with several.
const SMALL: usize = 2048;

/// Of a connection: the chunk of the current answer that is to be written.
///
/// The relay and the socket are of one task and take turns, so nobody waits for the lock.
#[derive(Debug, Default)]
pub struct Outlet {
    stage: AtomicU8,
    chunk: Mutex<Chunk>,
}

/// Where the chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// There is none, and nobody wants to send one.
    Free = 0,
    /// It was sent, and nobody has tried to write it.
    Sent = 1,
    /// It is being written, or waits behind what hyper writes: the socket wakes the task when it takes more.
    Begun = 2,
    /// It is written, and the relay wasn't asked for more yet.
    Written = 3,
}

#[derive(Debug, Default)]
struct Chunk {
    size: SizeLine,
    pieces: VecDeque<Bytes>,
    /// With its size in front and its end behind: how many bytes there are, and how many are written.
    length: usize,
    written: usize,
}

impl Outlet {
    /// Whether a chunk can be sent, or something be given to hyper. Where it can't, the connection asks for more when it
    /// can.
    pub fn is_free(&self) -> bool {
        match self.stage() {
            Stage::Free => true,
            Stage::Sent | Stage::Begun => false,
            Stage::Written => {
                self.set(Stage::Free);
                true
            }
        }
    }

    /// Takes all of `pieces` as one chunk; only where this is free. The connection asks for more once it is written.
    pub fn send(&self, pieces: &mut VecDeque<Bytes>) {
        debug_assert_eq!(self.stage(), Stage::Free, "one chunk at a time");
        let mut chunk = self.chunk.lock();
        // Each keeps the other's memory for the next time.
        std::mem::swap(&mut chunk.pieces, pieces);
        let data: usize = chunk.pieces.iter().map(Bytes::len).sum();
        if data == 0 {
            // A chunk without data would be the end of the answer.
            chunk.pieces.clear();
            self.set(Stage::Written);
            return;
        }
        chunk.size = SizeLine::of(data);
        chunk.length = chunk.size.as_slice().len() + data + END.len();
        chunk.written = 0;
        self.set(Stage::Sent);
    }

    /// The answer is over, or given up: nothing more of it is written, nobody wants to send more, and what it needed of
    /// memory is not kept for the connection's next.
    pub fn close(&self) {
        *self.chunk.lock() = Chunk::default();
        self.set(Stage::Free);
    }

    /// Whether the connection has to be polled again, because hyper did not flush what was sent, or not ask for more after
    /// that. As a rule it does both.
    pub(super) fn is_stranded(&self) -> bool {
        matches!(self.stage(), Stage::Sent | Stage::Written)
    }

    /// Writes what was sent.
    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.stage(), Stage::Free | Stage::Written) {
            return Poll::Ready(Ok(()));
        }
        self.set(Stage::Begun);
        let mut chunk = self.chunk.lock();
        while chunk.written < chunk.length {
            match ready!(chunk.poll_write_some(Pin::new(&mut *socket), context))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => chunk.written += written,
            }
        }
        chunk.pieces.clear();
        self.set(Stage::Written);
        Poll::Ready(Ok(()))
    }

    /// hyper has tried to write what it has.
    fn hyper_wrote<T>(&self, written: &Poll<T>) {
        if written.is_pending() && self.stage() == Stage::Sent {
            self.set(Stage::Begun);
        }
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Free,
            1 => Stage::Sent,
            2 => Stage::Begun,
            _ => Stage::Written,
        }
    }

    fn set(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }
}

const END: &[u8] = b"\r\n";

impl Chunk {
    fn poll_write_some<S: AsyncWrite>(
        &self,
        socket: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.length - self.written <= SMALL {
            let mut memory = [const { MaybeUninit::uninit() }; SMALL];
            let mut together = ReadBuf::uninit(&mut memory);
            for slice in self.unwritten() {
                together.put_slice(slice);
            }
            return socket.poll_write(context, together.filled());
        }
        let slices: SmallVec<[IoSlice<'_>; 8]> = self.unwritten().map(IoSlice::new).collect();
        socket.poll_write_vectored(context, &slices)
    }

    /// What is left of the chunk.
    fn unwritten(&self) -> impl Iterator<Item = &[u8]> {
        let mut written = self.written;
        let data = self.pieces.iter().map(|piece| &piece[..]);
        let parts = std::iter::once(self.size.as_slice()).chain(data);
        parts.chain(std::iter::once(END)).filter_map(move |part| {
            let skipped = written.min(part.len());
            written -= skipped;
            Some(&part[skipped..]).filter(|rest| !rest.is_empty())
        })
    }
}

/// A chunk's size as it stands in front of its data.
#[derive(Debug, Default)]
struct SizeLine {
    /// Written from the end: sixteen digits at most.
    bytes: [u8; 18],
    start: usize,
}

impl SizeLine {
    fn of(size: usize) -> Self {
        let mut bytes = [0; 18];
        let mut start = bytes.len() - END.len();
        bytes[start..].copy_from_slice(END);
        let mut rest = size;
        loop {
            start -= 1;
            bytes[start] = b"0123456789ABCDEF"[rest & 15];
            rest >>= 4;
            if rest == 0 {
                return Self { bytes, start };
            }
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// A socket that writes what stands in its outlet whenever it is flushed.
#[derive(Debug)]
pub(super) struct WithOutlet<S> {
    socket: S,
    outlet: Arc<Outlet>,
}

impl<S> WithOutlet<S> {
    pub(super) const fn new(socket: S, outlet: Arc<Outlet>) -> Self {
        Self { socket, outlet }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithOutlet<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithOutlet<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.outlet.hyper_wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.outlet.hyper_wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.outlet.poll_write(&mut this.socket, context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_size_is_written_as_http_has_it() {
        for size in [1, 9, 15, 16, 255, 4096, 0x00AB_CDEF, usize::MAX] {
            let line = SizeLine::of(size);
            assert_eq!(line.as_slice(), format!("{size:X}\r\n").as_bytes());
        }
    }

    fn pieces(lengths: &[usize]) -> VecDeque<Bytes> {
        let piece = |(number, &length): (usize, &usize)| Bytes::from(vec![number as u8; length]);
        lengths.iter().enumerate().map(piece).collect()
    }

    proptest! {
        /// Whatever the socket takes at a time, and however many pieces a chunk has.
        #[test]
        fn a_chunk_goes_out_whole_before_the_next_one(
            chunks in prop::collection::vec(prop::collection::vec(0usize..3_000, 1..12), 1..4),
            takes in 1usize..5_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (wanted, got) = runtime.block_on(async {
                let outlet = Arc::new(Outlet::default());
                let (ours, mut theirs) = tokio::io::duplex(takes);
                let mut socket = WithOutlet::new(ours, Arc::clone(&outlet));
                let reading = async move {
                    let mut got = Vec::new();
                    theirs.read_to_end(&mut got).await.unwrap();
                    got
                };
                let writing = async {
                    let mut wanted = Vec::new();
                    for lengths in &chunks {
                        let mut queue = pieces(lengths);
                        let data: Vec<u8> = queue.iter().flatten().copied().collect();
                        assert!(outlet.is_free());
                        outlet.send(&mut queue);
                        assert!(queue.is_empty());
                        assert!(outlet.is_stranded());
                        if !data.is_empty() {
                            assert!(!outlet.is_free());
                            wanted.extend(format!("{:X}\r\n", data.len()).into_bytes());
                            wanted.extend(data);
                            wanted.extend(END);
                        }
                        socket.flush().await.unwrap();
                    }
                    drop(socket);
                    wanted
                };
                tokio::join!(writing, reading)
            });
            prop_assert_eq!(wanted, got);
        }
    }

    #[tokio::test]
    async fn who_sent_a_chunk_is_asked_for_more_once_it_is_written() {
        let outlet = Arc::new(Outlet::default());
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut socket = WithOutlet::new(ours, Arc::clone(&outlet));
        outlet.send(&mut pieces(&[10]));
        // hyper has to flush it ...
        assert!(outlet.is_stranded());
        socket.flush().await.unwrap();
        // ... and then to ask for more.
        assert!(outlet.is_stranded());
        assert!(outlet.is_free());
        assert!(!outlet.is_stranded());
        outlet.send(&mut pieces(&[100]));
        let flushed = futures_util::poll!(std::pin::pin!(socket.flush()));
        assert!(flushed.is_pending());
        // The socket wakes the task.
        assert!(!outlet.is_stranded());
        assert!(!outlet.is_free());
    }

    #[tokio::test]
    async fn an_answer_that_is_given_up_leaves_nothing_to_write_and_nobody_to_ask() {
        for (lengths, flushed) in [(&[10][..], false), (&[10], true), (&[100], true)] {
            let outlet = Arc::new(Outlet::default());
            let (ours, mut theirs) = tokio::io::duplex(64);
            let mut socket = WithOutlet::new(ours, Arc::clone(&outlet));
            outlet.send(&mut pieces(lengths));
            if flushed {
                let _ = futures_util::poll!(std::pin::pin!(socket.flush()));
            }
            outlet.close();
            assert!(outlet.is_free() && !outlet.is_stranded());
            assert_eq!(outlet.chunk.lock().pieces.capacity(), 0);
            let mut got = Vec::new();
            let writing = async {
                socket.write_all(b".").await.unwrap();
                socket.flush().await.unwrap();
                drop(socket);
            };
            let ((), read) = tokio::join!(writing, theirs.read_to_end(&mut got));
            read.unwrap();
            assert!(got.ends_with(b"."));
        }
    }
}
