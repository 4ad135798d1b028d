//! A client that takes nothing of what waits for it: its connection ends after a while.
//!
//! Nothing is lost in memory by it, for a stream is read from its worker no faster than its client takes it; but its
//! worker's place is, and a drain that waits for it. There is no timer as long as everything that is written is taken.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Bytes that are written as one slice, however many they lie in: a token is its chunk's size, an event of some hundred
/// bytes and an end of line, and to copy them costs less than the kernel's way with several.
const SMALL: usize = 2048;

#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Runs while something waits to be written.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) const fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            waits: None,
        }
    }

    /// Lets a write wait as long as it may.
    fn bounded<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let limit = self.limit;
        let waits = self
            .waits
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        waits.as_mut().poll(context).map(|()| {
            let error = io::Error::new(
                io::ErrorKind::TimedOut,
                "the client takes nothing of its answer",
            );
            Err(error)
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let stream = Pin::new(&mut self.stream);
        let written = if length > SMALL || slices.len() < 2 {
            stream.poll_write_vectored(context, slices)
        } else {
            let mut memory = [const { MaybeUninit::uninit() }; SMALL];
            let mut together = ReadBuf::uninit(&mut memory);
            for slice in slices {
                together.put_slice(slice);
            }
            stream.poll_write(context, together.filled())
        };
        self.bounded(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bounded(shut, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);
    const JUST_IN_TIME: Duration = Duration::from_secs(299);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_left_after_the_limit_and_who_takes_little_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(1_000);
        let mut patient = Patient::new(ours, LIMIT);
        let began = Instant::now();
        let writing = async {
            let written = patient.write_all(&[b'x'; 3_001]).await;
            (written.map_err(|error| error.kind()), began.elapsed())
        };
        let reading = async {
            // A thousand fits; a second and a third are made room for just in time; then no more.
            for _ in 0..2 {
                tokio::time::sleep(JUST_IN_TIME).await;
                theirs.read_exact(&mut [0; 1_000]).await.unwrap();
            }
            theirs
        };
        let ((written, took), _theirs) = tokio::join!(writing, reading);
        assert_eq!(written, Err(io::ErrorKind::TimedOut));
        assert_eq!(took, JUST_IN_TIME * 2 + LIMIT);
    }
}
