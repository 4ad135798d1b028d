//! Streams of server-sent events.
//!
//! Events that are ready together leave as one frame, up to [`FRAME`]: a reader must find them by their blank lines
//! anyway, and one write for many events is what lets one core serve several hundred thousand a second.

use super::{
    choice::{Choice, Next, Piece},
    reset::ConnectionReset,
    serve::{self, Pending},
    wire::{DONE, Wire},
};
use crate::{
    SimulatedWorker,
    faults::{Fault, stall},
};
use bytes::Bytes;
use std::{
    future::poll_fn,
    task::{Context, Poll},
};

/// Bytes after which a frame is sent although more events are ready.
const FRAME: usize = 16 * 1024;

type Frame = Result<Bytes, ConnectionReset>;

pub(crate) struct Stream<W> {
    worker: SimulatedWorker,
    wire: W,
    phase: Phase,
    /// The choices that are not ended, by number, with the finish already sent or not.
    open: Vec<bool>,
    interval: u32,
    fault: Option<Struck>,
}

enum Phase {
    Fetching(Vec<Pending>),
    Streaming(Vec<Choice>),
    Closed,
}

/// A fault that waits for its token.
struct Struck {
    fault: Fault,
    after_tokens: u32,
}

impl<W: Wire> Stream<W> {
    pub(crate) fn new(
        worker: SimulatedWorker,
        wire: W,
        pending: Vec<Pending>,
        interval: u32,
        fault: Option<Fault>,
    ) -> Self {
        Self {
            worker,
            wire,
            open: vec![true; pending.len()],
            phase: Phase::Fetching(pending),
            interval,
            fault: fault.and_then(Struck::of),
        }
    }

    /// The stream as a body, after a first frame that was already taken from it.
    pub(crate) fn into_frames(
        self,
        first: Option<Frame>,
    ) -> impl futures_util::Stream<Item = Frame> + Send {
        futures_util::stream::unfold((self, first), |(mut stream, first)| async move {
            let frame = match first {
                Some(frame) => frame,
                None => stream.next_frame().await?,
            };
            Some((frame, (stream, None)))
        })
    }

    /// The next events, or None after the last.
    pub(crate) async fn next_frame(&mut self) -> Option<Frame> {
        let mut out = String::new();
        loop {
            match std::mem::replace(&mut self.phase, Phase::Closed) {
                Phase::Closed => return None,
                Phase::Fetching(pending) => {
                    let first = pending.first().map(|pending| &pending.choice);
                    if self.strikes_at(0)
                        && let Some(frame) = self.strike(first).await
                    {
                        return frame;
                    }
                    self.phase = Phase::Streaming(serve::fetch_all(&self.worker, pending).await);
                }
                Phase::Streaming(mut choices) => {
                    poll_fn(|cx| self.poll_any(&mut choices, cx)).await;
                    if self.write_ready(&mut choices, &mut out) {
                        self.wire.close(&mut out, &choices);
                        return Some(Ok(out.into()));
                    }
                    let struck = self.struck(&choices);
                    if out.is_empty()
                        && struck
                        && let Some(frame) = self.strike(choices.first()).await
                    {
                        return frame;
                    }
                    self.phase = Phase::Streaming(choices);
                    if !out.is_empty() {
                        return Some(Ok(out.into()));
                    }
                }
            }
        }
    }

    fn poll_any(&self, choices: &mut [Choice], cx: &mut Context<'_>) -> Poll<()> {
        let mut ready = false;
        for (choice, _) in choices
            .iter_mut()
            .zip(&self.open)
            .filter(|(_, open)| **open)
        {
            ready |= choice.poll_progress(self.interval, cx).is_ready();
        }
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Writes what is ready; true once nothing more will come.
    fn write_ready(&mut self, choices: &mut [Choice], out: &mut String) -> bool {
        for choice in choices.iter_mut() {
            while self.open[choice.index] && out.len() < FRAME {
                let cap = self
                    .fault
                    .as_ref()
                    .map_or(u32::MAX, |fault| fault.after_tokens);
                let Some(next) = choice.next_within(self.interval, cap) else {
                    break;
                };
                if self.write(choice, &next, out) {
                    return true;
                }
            }
        }
        !self.open.contains(&true)
    }

    /// Writes one event; true where it ends the whole stream.
    fn write(&mut self, choice: &mut Choice, next: &Next, out: &mut String) -> bool {
        match next {
            Next::Tokens(tokens) => {
                let piece = choice.written.advance(*tokens);
                self.event(choice, piece, out);
                false
            }
            Next::Ended => {
                // An end without a token of its own: nothing was asked for, or the answer was aborted.
                let piece = choice.written.advance(0);
                self.event(choice, piece, out);
                false
            }
            Next::Failed(abort) => {
                self.wire.failure(out, choice, abort);
                self.open[choice.index] = false;
                W::FAILS_WHOLE
            }
        }
    }

    fn event(&mut self, choice: &Choice, piece: Piece, out: &mut String) {
        let ending = choice.ending();
        self.wire.event(out, choice, piece, ending);
        self.open[choice.index] = ending.is_none();
    }

    fn strikes_at(&self, tokens: u32) -> bool {
        self.fault
            .as_ref()
            .is_some_and(|fault| fault.after_tokens <= tokens)
    }

    /// Whether an open choice has come to the token at which the fault strikes.
    fn struck(&self, choices: &[Choice]) -> bool {
        choices
            .iter()
            .any(|choice| self.open[choice.index] && self.strikes_at(choice.written.tokens))
    }

    /// Does what the fault says. None where the stream goes on.
    async fn strike(&mut self, choice: Option<&Choice>) -> Option<Option<Frame>> {
        let Struck { fault, .. } = self.fault.take()?;
        match fault {
            Fault::StallMidStream { stall_ms, .. } => {
                stall(stall_ms).await;
                None
            }
            Fault::ResetMidStream { .. } => Some(Some(Err(ConnectionReset))),
            Fault::ErrorEvent { .. } => {
                let mut out = String::new();
                if let Some(choice) = choice {
                    self.wire
                        .failure(&mut out, choice, &serve::simulated_failure());
                }
                out.push_str(DONE);
                Some(Some(Ok(out.into())))
            }
            Fault::Garbage { .. } => Some(Some(Ok(Bytes::from_static(serve::GARBAGE)))),
            _ => Some(None),
        }
    }
}

impl Struck {
    fn of(fault: Fault) -> Option<Self> {
        let (Fault::StallMidStream { after_tokens, .. }
        | Fault::ResetMidStream { after_tokens }
        | Fault::CutShort { after_tokens }
        | Fault::Garbage { after_tokens }
        | Fault::ErrorEvent { after_tokens }) = fault
        else {
            return None;
        };
        Some(Self {
            fault,
            after_tokens,
        })
    }
}
