//! Requests wait in the router until it is their turn or their time is over.

use std::time::Duration;

use policies::queue::{Claim, Place};
use policies::time::Timestamp;

use super::Dispatch;
use super::events::Event;
use super::outcome::End;
use super::world::{World, seconds};

impl World<'_> {
    /// It waits in the router, as one that came at `arrived`.
    pub(super) fn wait(&mut self, arrived: Timestamp, request: usize) {
        let waiting = &mut self.requests[request];
        let tokens = waiting.to_compute().prompt_tokens;
        let place = self.queue.push(arrived, tokens, request);
        waiting.waiting = Some((place, self.now));
        // An answer that was begun is waited for.
        if let Some(timeout) = self.setup.queue_timeout
            && waiting.first_token.is_none()
        {
            let left = timeout.saturating_sub(waiting.waited);
            let timed_out = Event::TimedOut { request, place };
            self.agenda.add_behind(self.now.after(left), timed_out);
        }
    }

    /// It is sent away, if it still waits at `place`.
    pub(super) fn time_out(&mut self, request: usize, place: Place) {
        let waiting = &mut self.requests[request];
        if waiting.waiting.is_some_and(|(at, _)| at == place) {
            waiting.waiting = None;
            waiting.ended = Some((self.now, End::TimedOut));
            self.queue.remove(place);
            self.source.one_ended();
        }
    }

    pub(super) fn dispatch_waiting(&mut self) {
        while !self.queue.is_empty() {
            let lead = match self.setup.dispatch {
                Dispatch::AtOnce => Duration::ZERO,
                Dispatch::WhenThereIsRoom { .. } => self.lead(),
            };
            let may_have_turn = self.has_decode_place(Claim::Owed);
            let next = self.queue.peek(self.now, lead, || may_have_turn);
            let Some((claim, request)) = next.map(|next| (next.claim, *next.request)) else {
                return;
            };
            if !self.dispatch(request, claim) {
                return;
            }
            self.queue.pop(self.now);
            let dispatched = &mut self.requests[request];
            if let Some((_, since)) = dispatched.waiting.take() {
                dispatched.waited += self.now.since(since);
            }
        }
    }

    /// How long the first token takes from the dispatch to the prefill worker that has the least before it: what is
    /// pending there and a prompt of the same length as those, computed and sent.
    pub(super) fn lead(&self) -> Duration {
        let model = &self.setup.model.prefill;
        let before = self
            .serving(self.prompt_role())
            .map(|worker| (worker.prefill.pending_tokens, worker.prefill.sending()))
            .min();
        let (pending, sending) = before.unwrap_or((0, 0));
        let mean = self.prompts.mean();
        let computing = model.batch_seconds(pending + mean);
        let waiting = sending as f64 * model.sending_seconds(mean);
        seconds(computing + waiting + model.transfer_seconds(mean))
    }
}
