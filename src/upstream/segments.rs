//! A request body in pieces: the client's bytes and what the router puts between them, never copied together.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

/// Bytes in order. Cloning counts references: both legs and every retry send the same memory.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    /// Two for a request whose body gets fields spliced in, one for a body sent as it came.
    pieces: SmallVec<[Bytes; 2]>,
    next: usize,
}

impl Segments {
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// Bytes left to send.
    pub fn len(&self) -> usize {
        self.pieces[self.next..].iter().map(Bytes::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.next == self.pieces.len()
    }

    /// What is left to send, piece by piece.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.pieces.into_iter().skip(self.next)
    }

    /// All bytes in one piece; copies. For tests and for small bodies off the hot path.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces[self.next..].concat()
    }
}

impl From<Bytes> for Segments {
    fn from(bytes: Bytes) -> Self {
        let mut segments = Self::default();
        segments.push(bytes);
        segments
    }
}

impl Body for Segments {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        Poll::Ready(this.pieces.get(this.next).map(|piece| {
            this.next += 1;
            Ok(Frame::data(piece.clone()))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}
