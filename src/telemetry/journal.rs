//! What happened to the fleet, in order: changes of state and role, breakers, the controller's decisions.
//!
//! A ring in memory, read by the live page. Every entry has a number, so that a reader knows what it has seen.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use policies::time::Timestamp;
use serde::Serialize;

/// Entries kept: some hours of a calm fleet, minutes of a flapping one.
const KEPT: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A worker's lifecycle state.
    State,
    /// A worker's role.
    Role,
    /// A worker's circuit breaker.
    Breaker,
    /// The ratio controller.
    Decision,
}

/// What is to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: Kind,
    /// The worker's URL.
    pub worker: Option<Arc<str>>,
    pub from: Option<&'static str>,
    pub to: Option<&'static str>,
    /// In words.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counts up by one from 1.
    pub seq: u64,
    pub at: Timestamp,
    pub event: Event,
}

#[derive(Default)]
pub struct Journal {
    entries: Mutex<VecDeque<Entry>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    pub fn note(&self, at: Timestamp, event: Event) {
        let mut entries = self.entries.lock();
        let seq = entries.back().map_or(1, |last| last.seq + 1);
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(Entry { seq, at, event });
    }

    /// The entries after number `seq`, oldest first, at most the `limit` newest.
    pub fn after(&self, seq: u64, limit: usize) -> Vec<Entry> {
        let entries = self.entries.lock();
        let newer = entries.iter().rev().take_while(|entry| entry.seq > seq);
        let mut newer: Vec<_> = newer.take(limit).cloned().collect();
        newer.reverse();
        newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: usize) -> Event {
        Event {
            kind: Kind::Decision,
            worker: None,
            from: None,
            to: None,
            reason: Some(reason.to_string()),
        }
    }

    #[test]
    fn a_reader_gets_what_it_has_not_seen_and_the_ring_is_bounded() {
        let journal = Journal::default();
        for number in 1..=KEPT + 10 {
            journal.note(Timestamp::ZERO, event(number));
        }
        let all = journal.after(0, usize::MAX);
        assert_eq!((all.len(), all[0].seq), (KEPT, 11));
        let newest = journal.after(all[KEPT - 4].seq, usize::MAX);
        let seqs: Vec<_> = newest.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, [520, 521, 522]);
        let limited = journal.after(0, 2);
        assert_eq!(limited[0].event.reason.as_deref(), Some("521"));
        assert!(journal.after(522, 10).is_empty());
    }
}
