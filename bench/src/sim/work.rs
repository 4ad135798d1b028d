//! Workers work: prompts are computed and sent, sequences get their tokens, requests end.

use std::time::Duration;

use policies::worker::Role;

use super::decode::Sequence;
use super::events::Event;
use super::outcome::End;
use super::prefill::Prompt;
use super::world::{World, seconds};

impl World<'_> {
    /// Begins what can begin at the workers that were touched.
    pub(super) fn start_work(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for position in &touched {
            self.give_space(*position);
        }
        touched.append(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for position in touched.drain(..) {
            if self.workers[position].role == Role::Regular {
                self.begin_mixed_step(position);
                continue;
            }
            let (now, model) = (self.now, &self.setup.model);
            let worker = &mut self.workers[position];
            let epoch = worker.epoch;
            if let Some(took) = worker.prefill.form_batch(&model.prefill) {
                let took = seconds(took);
                worker.used.prefill_busy += took;
                let computed = Event::Computed {
                    worker: position,
                    epoch,
                };
                self.agenda.add(now.after(took), computed);
            }
            if let Some(step) = worker.decode.begin_step(&model.decode, now) {
                let took = seconds(step.seconds);
                worker.used.decode_busy += took;
                worker.step = took;
                let stepped = Event::Stepped {
                    worker: position,
                    epoch,
                };
                self.agenda.add(now.after(took), stepped);
            }
        }
        // Its memory is used again: this is done at every moment.
        self.touched = touched;
    }

    /// Prompts for which decode has space now go to their prefill workers.
    fn give_space(&mut self, position: usize) {
        let model = &self.setup.model;
        for request in self.workers[position].decode.preallocate(&model.decode) {
            let granted = &self.requests[request];
            let prompt = Prompt {
                request,
                attempt: granted.attempt,
                job: granted.to_compute(),
            };
            let prefill = granted.prefill;
            self.workers[prefill].prefill.push(prompt, &model.prefill);
            self.touched.push(prefill);
        }
    }

    pub(super) fn computed(&mut self, position: usize) {
        let prefill = &mut self.workers[position].prefill;
        let computed = prefill.computed();
        if prefill.sending() == computed {
            self.send_next(position);
        }
        self.touched.push(position);
    }

    pub(super) fn send_next(&mut self, position: usize) {
        let worker = &self.workers[position];
        if let Some(next) = worker.prefill.next_to_send() {
            let tokens = u64::from(next.job.prompt_tokens);
            let took = seconds(self.setup.model.prefill.sending_seconds(tokens));
            let sent = Event::Sent {
                worker: position,
                epoch: worker.epoch,
            };
            self.agenda.add(self.now.after(took), sent);
        }
    }

    pub(super) fn sent(&mut self, position: usize) {
        if let Some(prompt) = self.workers[position].prefill.sent() {
            let latency = seconds(self.setup.model.prefill.transfer_base);
            let landed = Event::Landed {
                request: prompt.request,
                attempt: prompt.attempt,
            };
            self.agenda.add(self.now.after(latency), landed);
        }
        self.send_next(position);
    }

    /// The KV is there and with it a token, the first or, of an answer that went elsewhere, the next; the prefill leg has
    /// ended.
    pub(super) fn landed(&mut self, request: usize, attempt: u32) {
        let landed = &mut self.requests[request];
        if landed.attempt != attempt || landed.ended.is_some() {
            return;
        }
        let gap = landed
            .first_token
            .map(|_| self.now.since(landed.last_token));
        landed.first_token.get_or_insert(self.now);
        landed.written += 1;
        landed.last_token = self.now;
        let (job, decode, written) = (landed.job, landed.decode, landed.written);
        if let Some(gap) = gap {
            self.record_itl(gap, 1);
        }
        self.leave_prefill(request);
        self.touched.push(decode);
        if written >= job.output_tokens {
            self.workers[decode].decode.release(request);
            self.end(request, End::Completed);
        } else if self.is_evacuated(decode) {
            self.workers[decode].decode.release(request);
            self.resubmit(request);
        } else {
            self.requests[request].decoding = true;
            self.workers[decode].decode.land(Sequence {
                request,
                kv_tokens: u64::from(job.prompt_tokens + written),
                remaining: u64::from(job.output_tokens - written),
                last_token: self.now,
            });
        }
    }

    pub(super) fn stepped(&mut self, position: usize) {
        let step = self.workers[position].decode.end_step();
        let now = self.now;
        for last_token in &step.newcomers {
            let gap = now.since(*last_token);
            self.record_itl(gap, 1);
        }
        let worker = &mut self.workers[position];
        let (took, running) = (worker.step, step.others + step.newcomers.len());
        worker
            .pace
            .gave(now, running as u32, took, worker.in_flight);
        if step.others > 0 {
            self.record_itl(took, step.others as u64);
        }
        for request in step.ended {
            self.end(request, End::Completed);
        }
        self.touched.push(position);
    }

    pub(super) fn record_itl(&mut self, gap: Duration, tokens: u64) {
        let micros = u64::try_from(gap.as_micros()).unwrap_or(u64::MAX);
        self.itl
            .record_n(micros, tokens)
            .expect("a histogram that resizes takes every value");
    }

    pub(super) fn end(&mut self, request: usize, end: End) {
        self.leave_prefill(request);
        let ended = &mut self.requests[request];
        ended.ended = Some((self.now, end));
        ended.decoding = false;
        let job = ended.job;
        if let Some(watch) = &mut self.watch {
            watch.ended(&job);
        }
        self.leave_decode(request);
        self.source.one_ended();
    }

    pub(super) fn leave_prefill(&mut self, request: usize) {
        let leaving = &mut self.requests[request];
        if std::mem::take(&mut leaving.prefilling) {
            let prefill = leaving.prefill;
            self.leave(prefill);
        }
    }

    pub(super) fn leave_decode(&mut self, request: usize) {
        let leaving = &mut self.requests[request];
        let (decode, late) = (leaving.decode, std::mem::take(&mut leaving.late));
        self.workers[decode].late -= u32::from(late);
        self.leave(decode);
    }

    fn leave(&mut self, position: usize) {
        self.workers[position].in_flight -= 1;
        self.switch_if_empty(position);
    }
}
