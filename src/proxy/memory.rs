//! The memory that request bodies may take, all together.
//!
//! A body is held for as long as its request may have to be sent again, and one may be as long as `--max-payload-size`: a
//! bound on the number of requests alone bounds nothing. What is held is counted where it is allocated and given back
//! where it is freed, by the bytes themselves: whoever holds on to them holds on to their part of the bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge};

#[derive(Debug)]
pub struct BodyMemory {
    most: usize,
    held: AtomicUsize,
    /// The same for whoever looks.
    gauge: IntGauge,
    refused: IntCounter,
}

/// So much of it, given back on drop.
#[derive(Debug)]
pub struct Held {
    memory: Arc<BodyMemory>,
    bytes: usize,
}

/// There is no room for so much now.
#[derive(Debug, PartialEq, Eq)]
pub struct NoMemory;

impl BodyMemory {
    /// `None` is no bound. `gauge` is kept at what is held, `refused` counts bodies for which there was no room.
    pub fn new(most: Option<usize>, gauge: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self {
            most: most.unwrap_or(usize::MAX),
            held: AtomicUsize::new(0),
            gauge,
            refused,
        })
    }

    /// The longest body for which there can ever be room.
    pub const fn most(&self) -> usize {
        self.most
    }

    pub fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, NoMemory> {
        let mut held = Held {
            memory: Arc::clone(self),
            bytes: 0,
        };
        held.grow_to(bytes)?;
        Ok(held)
    }
}

impl Held {
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn grow_to(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let more = bytes.saturating_sub(self.bytes);
        let BodyMemory {
            most,
            held,
            gauge,
            refused,
        } = &*self.memory;
        let room = held.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |held| {
            held.checked_add(more).filter(|held| held <= most)
        });
        if room.is_err() {
            refused.inc();
            return Err(NoMemory);
        }
        gauge.add(more.cast_signed() as i64);
        self.bytes += more;
        Ok(())
    }

    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.memory.held.fetch_sub(less, Ordering::AcqRel);
        self.memory.gauge.sub(less.cast_signed() as i64);
        self.bytes -= less;
    }

    /// `bytes`, which are what is held, as long as anybody has them.
    pub fn over(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Body { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// The bytes above what is held, so that they are freed first.
struct Body<B> {
    bytes: B,
    _held: Held,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Body<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn memory(most: usize) -> Arc<BodyMemory> {
        BodyMemory::new(
            Some(most),
            IntGauge::new("held", "What is held").unwrap(),
            IntCounter::new("refused", "What was refused").unwrap(),
        )
    }

    #[test]
    fn what_is_held_ends_with_the_last_who_has_the_bytes() {
        let memory = memory(100);
        let held = memory.hold(60).unwrap();
        assert_eq!(memory.hold(41).unwrap_err(), NoMemory);
        let body = held.over(vec![b'x'; 60]);
        let part = body.slice(10..20);
        drop(body);
        assert_eq!((memory.gauge.get(), memory.refused.get()), (60, 1));
        drop(part);
        assert_eq!(memory.gauge.get(), 0);
        assert!(memory.hold(100).is_ok());
    }

    #[test]
    fn the_bound_holds_however_many_ask_at_once_and_nothing_of_it_is_lost() {
        let memory = memory(1_000);
        // So that some are refused also where the threads run one after the other.
        let base = memory.hold(300).unwrap();
        let most = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (memory, most) = (&memory, &most);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(thread);
                    for _ in 0..20_000 {
                        let Ok(mut held) = memory.hold(random.usize(0..600)) else {
                            continue;
                        };
                        let _ = held.grow_to(random.usize(0..900));
                        most.fetch_max(memory.held.load(Ordering::Acquire), Ordering::AcqRel);
                        held.shrink_to(random.usize(0..600));
                    }
                });
            }
        });
        drop(base);
        let most = most.into_inner();
        assert!((600..=1_000).contains(&most), "{most}");
        assert_eq!(memory.held.load(Ordering::Acquire), 0);
        assert_eq!(memory.gauge.get(), 0);
        assert!(memory.refused.get() > 0);
    }
}
