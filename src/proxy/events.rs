//! A stream as events: where each ends, what it reports, and what is held back until it is whole.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::chunk::{self, Template};
use super::continuation::Said;
use super::endpoint::Endpoint;
use super::logprobs::PromptLogprobs;
use super::meter::StreamMeter;
use super::sse::{self, EventScanner, StreamError};

/// What is shorter costs less to copy than to keep where it came.
const FEW: usize = 1024;

/// What a stream of events needs beyond bytes.
pub(super) struct Events {
    endpoint: Endpoint,
    scanner: EventScanner,
    /// The last event, where others can be known by it.
    template: Template,
    /// Pieces of an event that has not ended, up to [`sse::LONGEST_EVENT`] bytes: a worker that never ends its event
    /// fills no memory.
    pub(super) held: Vec<Bytes>,
    held_bytes: usize,
    merge: Option<PromptLogprobs>,
    /// `None` where streams are not to be measured.
    pub(super) meter: Option<StreamMeter>,
    /// What the client has been told, where the stream can be continued.
    pub(super) said: Option<Said>,
    /// The worker reported an error inside the stream, and the client has it.
    pub(super) failed: bool,
    /// The error was none that somebody asked for, so nothing may follow it.
    over: bool,
    /// The event came that says that the stream is whole.
    pub(super) done: bool,
}

impl Events {
    /// Events that are changed have to be seen whole, however long, up to `longest_merged` bytes.
    pub(super) fn new(
        endpoint: Endpoint,
        merge: Option<PromptLogprobs>,
        longest_merged: usize,
    ) -> Self {
        Self {
            endpoint,
            scanner: match merge {
                Some(_) => EventScanner::up_to(longest_merged),
                None => EventScanner::default(),
            },
            template: Template::default(),
            held: Vec::new(),
            held_bytes: 0,
            merge,
            meter: None,
            said: None,
            failed: false,
            over: false,
            done: false,
        }
    }

    /// Another worker goes on with the stream: what the last one left half-written is nothing.
    pub(super) fn begin_anew(&mut self) {
        self.scanner = EventScanner::default();
        self.template = Template::default();
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Whether a token has come.
    pub(super) fn has_token(&self) -> bool {
        self.meter
            .as_ref()
            .is_some_and(|meter| meter.first_token().is_some())
    }

    fn hold(&mut self, piece: Bytes, queue: &mut VecDeque<Bytes>) {
        self.held_bytes += piece.len();
        self.held.push(piece);
        if self.held_bytes > sse::LONGEST_EVENT {
            self.release(queue);
        }
    }

    fn release(&mut self, queue: &mut VecDeque<Bytes>) {
        queue.extend(self.held.drain(..));
        self.held_bytes = 0;
    }

    /// Takes a piece and puts what may go to the client into `queue`. Answers the error that the worker reported, where the
    /// stream can go on elsewhere, or that it sent something else than events: the client learns nothing of it. Behind an
    /// error that the client does get nothing follows, and no `[DONE]`: it would say that all is well. An abort that
    /// somebody asked for is no such error.
    pub(super) fn take(
        &mut self,
        piece: Bytes,
        queue: &mut VecDeque<Bytes>,
        now: Instant,
    ) -> Option<StreamError> {
        let Self {
            endpoint,
            scanner,
            template,
            merge,
            meter,
            said,
            failed,
            over,
            done,
            ..
        } = self;
        // Behind an error that the client has nothing follows.
        if *over {
            return None;
        }
        let mut broke: Option<StreamError> = None;
        // Bytes of the piece that belong to events that have ended, and to those of them in front of an error.
        let (mut ended, mut good) = (0, 0);
        while broke.is_none() && !*over {
            // Most chunks are the last one with another text: they are no error and no end, and bring a token.
            if let (Some(meter), None, true) = (&mut *meter, &*merge, scanner.is_at_boundary()) {
                ended += take_alike(template, &piece[ended..], meter, said.as_mut(), now);
                good = ended;
            }
            let Some(event) = scanner.next(&piece, &mut ended) else {
                break;
            };
            if let (Some(meter), None, Some(brought)) =
                (&mut *meter, &*merge, template.brought(event))
            {
                good = ended;
                meter.others(1, now);
                if let Some(said) = said {
                    said.another(event, &brought);
                }
                continue;
            }
            if !sse::is_event(event) {
                broke = Some(not_an_event());
                continue;
            }
            if let Some(error) = sse::error_in(event) {
                if said.is_some() && is_the_workers(&error) {
                    broke = Some(error);
                    continue;
                }
                *failed = true;
                *over = !error.asked_for;
            }
            good = ended;
            *done |= sse::is_done(event);
            let brought = chunk::brought(*endpoint, event);
            if let Some(said) = said {
                said.event(event, brought.as_ref());
            }
            if let Some(meter) = meter {
                let counted = meter.event(event, brought.as_ref(), now);
                template.take(event, brought.filter(|_| counted));
            }
            if let Some(merge) = merge {
                queue.push_back(merge.merge_event(event));
            }
        }
        if let Some(meter) = meter {
            meter.read_ends(now);
        }
        if merge.is_some() {
            return broke;
        }
        let over = broke.is_some() || *over;
        if over {
            ended = good;
        }
        self.pass_on(piece, ended, over, queue);
        broke
    }

    /// Puts what belongs to events that have ended into `queue`, and holds what is behind them, if that is to follow.
    fn pass_on(&mut self, piece: Bytes, ended: usize, over: bool, queue: &mut VecDeque<Bytes>) {
        if ended > 0 && !self.held.is_empty() {
            self.release(queue);
        }
        if ended == piece.len() {
            queue.push_back(piece);
            return;
        }
        if ended > 0 {
            queue.push_back(piece.slice(..ended));
        }
        if !over {
            // A few bytes don't keep the memory of all that came.
            let rest = &piece[ended..];
            let rest = if rest.len() < FEW {
                Bytes::copy_from_slice(rest)
            } else {
                piece.slice_ref(rest)
            };
            self.hold(rest, queue);
        }
    }
}

/// Takes the chunks with which `bytes` begin as long as they are like the last one; answers their length.
fn take_alike(
    template: &Template,
    bytes: &[u8],
    meter: &mut StreamMeter,
    mut said: Option<&mut Said>,
    now: Instant,
) -> usize {
    let (mut ended, mut chunks) = (0, 0);
    while let Some(length) = template.first(&bytes[ended..])
        && bytes[ended + length..].starts_with(b"\n\n")
    {
        if let (Some(said), Some(brought)) = (&mut said, template.brought_by(length)) {
            said.another(&bytes[ended..], &brought);
        }
        ended += length + 2;
        chunks += 1;
    }
    meter.others(chunks, now);
    ended
}

fn not_an_event() -> StreamError {
    StreamError {
        status: StatusCode::BAD_GATEWAY,
        message: "the worker sent something else than events".to_owned(),
        asked_for: false,
    }
}

/// Not the client's mistake, and nothing that somebody asked for.
fn is_the_workers(error: &StreamError) -> bool {
    error.status.is_server_error() && !error.asked_for
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policies::worker::Role;
    use prometheus::{Histogram, IntCounter};
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::telemetry::{Buckets, Metrics, TokenCount};
    use crate::workers::{WorkerRegistry, WorkerSpec, WorkerUrl};

    /// Events of a stream of two sequences that is measured and can be continued, with its worker's times between tokens
    /// and their number.
    fn measured(endpoint: Endpoint) -> (Events, (Histogram, IntCounter)) {
        let metrics = Metrics::new(&Buckets::default());
        let registry = WorkerRegistry::new(Config::default().breaker, |_| {});
        let url = WorkerUrl::parse("decode:30000").expect("a good URL");
        let worker = registry.add(&WorkerSpec::new(url, Role::Decode));
        let worker = worker.expect("registered once");
        let clock = Clock::start();
        let now = Instant::now();
        let mut events = Events::new(endpoint, None, usize::MAX);
        let recorded = metrics.workers.stream(&worker);
        events.meter = Some(StreamMeter::new(&metrics, clock, worker, endpoint, 2, now));
        events.said = Some(Said::new(endpoint));
        (events, recorded)
    }

    /// All that is known of a stream, and what its client got.
    type Known = (TokenCount, SaidSoFar, bool, Vec<u8>);
    type SaidSoFar = (Vec<u8>, bool, Vec<u8>, Option<Vec<u8>>);

    /// What is known of a stream that comes in pieces; `each_anew` forgets the template in front of every piece.
    fn known(endpoint: Endpoint, pieces: &[Bytes], each_anew: bool) -> Known {
        let (mut events, _) = measured(endpoint);
        let (mut queue, now) = (VecDeque::new(), Instant::now());
        for piece in pieces {
            if each_anew {
                events.template = Template::default();
            }
            if events.take(piece.clone(), &mut queue, now).is_some() {
                break;
            }
        }
        let output = events.meter.as_ref().expect("measured").output();
        let said = events.said.as_ref().expect("kept");
        let said = (
            said.text(),
            said.is_more_than_text(),
            said.first().to_vec(),
            // A chunk that is known by its template is kept by it: the same but for its text.
            (endpoint == Endpoint::Generate).then(|| said.last().to_vec()),
        );
        let sent = queue.iter().flatten().copied().collect();
        (output, said, events.done, sent)
    }

    fn chunk() -> impl Strategy<Value = Bytes> {
        let before = [
            "0,\"delta\":{",
            "1,\"delta\":{",
            "0}],\"usage\":{\"completion_tokens\":7,",
        ];
        let name = [
            "\"content\":",
            "\"text\":",
            "\"content\":null,\"reasoning_content\":",
            "\"role\":",
        ];
        let string = [
            "a",
            "",
            "\\\"",
            "\\\\",
            "\\",
            "\"",
            "abort",
            "\",\"text\":\"b",
            "\",\"content\":\"b",
        ];
        let behind = [
            "}}]}",
            ",\"x\":\"abort\"}}]}",
            ":5}}]}",
            ",\"choices\":[]}",
            "}],\"usage\":{\"completion_tokens\":9}}",
        ];
        let parts = (
            prop::sample::select(before.to_vec()),
            prop::sample::select(name.to_vec()),
            prop::sample::select(string.to_vec()),
            prop::sample::select(behind.to_vec()),
        );
        let chunk = parts.prop_map(|(before, name, string, behind)| {
            format!("data: {{\"choices\":[{{\"index\":{before}{name}\"{string}\"{behind}\n\n")
        });
        let other = [
            "data: [DONE]\n\n",
            ": ping\n\n",
            "data: {\"error\":{\"code\":500}}\n\n",
            "x\n\n",
        ];
        prop_oneof![
            9 => chunk,
            1 => prop::sample::select(other.to_vec()).prop_map(str::to_owned),
        ]
        .prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn what_is_known_by_a_template_is_what_each_event_says(
            chunks in prop::collection::vec(chunk(), 0..12),
            times in prop::collection::vec(1usize..4, 12),
        ) {
            // Often the same again, as in a stream.
            let repeated = chunks.iter().zip(times);
            let pieces: Vec<_> = repeated
                .flat_map(|(chunk, times)| std::iter::repeat_n(chunk.clone(), times))
                .collect();
            for endpoint in [Endpoint::Chat, Endpoint::Completions, Endpoint::Generate] {
                let (with, without) = (known(endpoint, &pieces, false), known(endpoint, &pieces, true));
                prop_assert_eq!(with, without);
            }
        }
    }

    #[test]
    fn times_of_tokens_that_came_with_one_read_are_all_recorded() {
        let (mut events, (itl, tokens)) = measured(Endpoint::Chat);
        let chunk = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        let start = Instant::now();
        for (read, chunks) in [1, 3, 20].into_iter().enumerate() {
            let now = start + Duration::from_millis(30) * read as u32;
            let piece = Bytes::from(chunk.repeat(chunks));
            events.take(piece, &mut VecDeque::new(), now);
        }
        assert_eq!(tokens.get(), 24);
        assert_eq!(itl.get_sample_count(), 23);
        assert!((itl.get_sample_sum() - 0.06).abs() < 1e-9);
    }

    #[test]
    fn an_event_that_never_ends_is_passed_on_and_fills_no_memory() {
        let mut events = Events::new(Endpoint::Chat, None, usize::MAX);
        let mut queue = VecDeque::new();
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        for _ in 0..40 {
            events.take(piece.clone(), &mut queue, Instant::now());
            assert!(events.held_bytes <= sse::LONGEST_EVENT);
        }
        let passed: usize = queue.iter().map(Bytes::len).sum();
        assert_eq!(passed + events.held_bytes, 40 * 1024 * 1024);
    }

    #[test]
    fn behind_an_error_nothing_follows_and_what_is_no_event_is_not_passed_on() {
        let error = b"data: {\"error\":{\"message\":\"m\",\"code\":500}}\n\n";
        for cut in 0..error.len() {
            let mut events = Events::new(Endpoint::Chat, None, usize::MAX);
            let mut queue = VecDeque::new();
            let stream = [&b"data: a\n\n"[..], error, b"data: [DONE]\n\n"].concat();
            let (first, second) = stream.split_at(9 + cut);
            for piece in [first, second] {
                let piece = Bytes::copy_from_slice(piece);
                assert_eq!(events.take(piece, &mut queue, Instant::now()), None);
            }
            assert!(events.failed);
            assert_eq!(queue.iter().flatten().count(), stream.len() - 14, "{cut}");
        }
        let mut events = Events::new(Endpoint::Chat, None, usize::MAX);
        let mut queue = VecDeque::new();
        let stream = Bytes::from_static(b"data: a\n\n\xff garbage\n\ndata: b\n\n");
        assert_eq!(
            events.take(stream, &mut queue, Instant::now()),
            Some(not_an_event())
        );
        assert_eq!(queue, [&b"data: a\n\n"[..]]);
    }

    #[test]
    fn a_half_written_event_is_held_until_it_is_whole() {
        let mut events = Events::new(Endpoint::Chat, None, usize::MAX);
        let mut queue = VecDeque::new();
        let now = Instant::now();
        events.take(Bytes::from_static(b"data: a\n\ndata: b"), &mut queue, now);
        assert_eq!(queue, [&b"data: a\n\n"[..]]);
        events.take(Bytes::from_static(b"\n\n"), &mut queue, now);
        assert_eq!(
            queue.iter().flatten().copied().collect::<Vec<_>>(),
            b"data: a\n\ndata: b\n\n"
        );
    }
}
