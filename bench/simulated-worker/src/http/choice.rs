//! One answer on its way to the client: its place in the engine and the text written so far.

use super::{json, request::Prompt};
use crate::{
    engine::{Admission, Finish, Plan},
    ticket::{Abort, End, Progress},
};
use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::Instant;

pub(crate) struct Choice {
    pub(crate) index: usize,
    pub(crate) rid: Arc<str>,
    pub(crate) prompt_tokens: u64,
    /// The text before the answer, where a client wants it repeated.
    pub(crate) echo: String,
    /// Prompt tokens whose log probabilities are reported.
    pub(crate) logged_input: Vec<u32>,
    pub(crate) hold: Admission,
    pub(crate) written: Written,
    /// Known once the engine has ended the request; the text may not be written to its end yet.
    end: Option<End>,
    available: u32,
    pub(crate) admitted: Instant,
    pub(crate) first_token: Option<Instant>,
}

/// The answer as far as it is written, in its JSON form.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) plan: Plan,
    pub(crate) tokens: u32,
    /// All text, escaped: a cumulative event takes it whole, a delta its tail.
    pub(crate) json: String,
    shown_bytes: usize,
    scratch: String,
}

/// The tokens of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) first: u32,
    /// Where their text starts in [`Written::json`].
    pub(crate) start: usize,
}

/// Why an answer ends, seen from the client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    Finished(&'a Finish),
    /// Aborted on request: reported as a finish reason, not as an error.
    Quiet(&'a Abort),
}

/// What may be written next.
pub(crate) enum Next {
    /// Tokens up to this count.
    Tokens(u32),
    Ended,
    Failed(Abort),
}

impl Written {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            tokens: 0,
            json: String::new(),
            shown_bytes: 0,
            scratch: String::new(),
        }
    }

    /// Writes the tokens up to `tokens`.
    pub(crate) fn advance(&mut self, tokens: u32) -> Piece {
        let piece = Piece {
            first: self.tokens,
            start: self.json.len(),
        };
        for index in self.tokens..tokens {
            let token = self.plan.answer.token(index);
            match self.plan.cut {
                None => token.push_json(&mut self.json),
                Some(cut) => {
                    self.scratch.clear();
                    token.push_text(&mut self.scratch);
                    // A cut lies where a stop string starts, which is between two characters.
                    let room = cut.saturating_sub(self.shown_bytes);
                    let shown = &self.scratch[..room.min(self.scratch.len())];
                    self.shown_bytes += shown.len();
                    json::escape(&mut self.json, shown);
                }
            }
        }
        self.tokens = self.tokens.max(tokens);
        piece
    }
}

impl Choice {
    pub(crate) fn new(index: usize, rid: Arc<str>, prompt: &Prompt, hold: Admission) -> Self {
        Self {
            index,
            rid,
            prompt_tokens: prompt.tokens,
            echo: String::new(),
            logged_input: Vec::new(),
            hold,
            // Replaced once it is known what is generated.
            written: Written::new(Plan::first_token(prompt.answer)),
            end: None,
            available: 0,
            admitted: Instant::now(),
            first_token: None,
        }
    }

    /// Ready once there is something to write in chunks of `interval` tokens, or nothing more will come.
    pub(crate) fn poll_progress(&mut self, interval: u32, cx: &mut Context<'_>) -> Poll<()> {
        while self.next(interval).is_none() {
            let Poll::Ready(Progress { tokens, end }) =
                self.hold.ticket.poll_beyond(self.available, cx)
            else {
                return Poll::Pending;
            };
            self.note(tokens, end);
        }
        Poll::Ready(())
    }

    pub(crate) async fn wait_for_end(&mut self) {
        // In two steps, to know when the first token came.
        poll_fn(|cx| self.poll_progress(1, cx)).await;
        let (tokens, end) = self.hold.ended().await;
        self.note(tokens, Some(end));
    }

    fn note(&mut self, tokens: u32, end: Option<End>) {
        self.available = tokens;
        self.end = end;
        if tokens > 0 && self.first_token.is_none() {
            self.first_token = Some(Instant::now());
        }
    }

    /// What comes next in chunks of `interval` tokens; None where it has to be waited for.
    pub(crate) fn next(&self, interval: u32) -> Option<Next> {
        let written = self.written.tokens;
        // The first token is sent by itself, later ones so many at a time.
        let due = if written == 0 {
            1
        } else {
            written.saturating_add(interval)
        };
        match &self.end {
            _ if due <= self.available => Some(Next::Tokens(due)),
            None => None,
            Some(_) if written < self.available => Some(Next::Tokens(self.available)),
            Some(End::Finished) => Some(Next::Ended),
            Some(End::Aborted(abort)) if abort.status.is_none() => Some(Next::Ended),
            Some(End::Aborted(abort)) => Some(Next::Failed(abort.clone())),
        }
    }

    /// The end, if the text is written up to it.
    pub(crate) fn ending(&self) -> Option<Ending<'_>> {
        if self.written.tokens < self.available {
            return None;
        }
        match self.end.as_ref()? {
            End::Finished => Some(Ending::Finished(&self.written.plan.finish)),
            End::Aborted(abort) => Some(Ending::Quiet(abort)),
        }
    }

    /// The error that ended the answer, if one did.
    pub(crate) fn failure(&self) -> Option<&Abort> {
        match self.end.as_ref()? {
            End::Aborted(abort) if abort.status.is_some() => Some(abort),
            End::Aborted(_) | End::Finished => None,
        }
    }

    pub(crate) fn write_all(&mut self) {
        self.written.advance(self.available);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{answer::Answer, engine::Sampling};

    #[test]
    fn pieces_add_up_to_the_whole_text() {
        let answer = Answer::to_text("pieces");
        let sampling = Sampling {
            max_tokens: 50,
            ignore_eos: true,
            ..Sampling::default()
        };
        let mut written = Written::new(Plan::new(answer, &sampling));
        let mut json = String::new();
        for tokens in [1, 2, 10, 50] {
            let piece = written.advance(tokens);
            json.push_str(&written.json[piece.start..]);
        }
        let text: String = serde_json::from_str(&format!("\"{json}\"")).unwrap();
        assert_eq!(text, answer.text(50));
    }

    #[test]
    fn nothing_is_shown_beyond_a_stop_string() {
        let answer = Answer::to_text("stopped");
        let whole = answer.text(30);
        let stop = &whole[whole.char_indices().nth(40).unwrap().0..][..3];
        let sampling = Sampling {
            max_tokens: 30,
            stop: vec![stop.into()],
            ..Sampling::default()
        };
        let mut written = Written::new(Plan::new(answer, &sampling));
        let tokens = written.plan.tokens;
        for upto in 1..=tokens {
            written.advance(upto);
        }
        let text: String = serde_json::from_str(&format!("\"{}\"", written.json)).unwrap();
        assert_eq!(text, whole[..whole.find(stop).unwrap()]);
    }
}
