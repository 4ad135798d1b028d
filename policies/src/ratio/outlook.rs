//! What is expected to miss its targets, by where the fleet goes from here.
//!
//! A mix that ends is followed by the one before it, as far as anybody knows: traffic that shifts once tends to shift
//! back, and again. So what is weighed is not a move but a way to go on: a split for the present mix and one for the
//! other, with all the moves between them over some turns. One of these ways is to stay for good, and where workers
//! are away for long while mixes last for short it is the best. What is left behind counts, too: a backlog is worked off
//! in the next mix, and makes its requests late ([`course`]).

mod course;
mod held;
mod mix;

use std::iter;

use crate::queue::QueueOrder;
use crate::worker::Role;

use super::Split;
use super::need::Need;

use self::course::Course;
pub(super) use self::mix::Mix;

/// From this load on requests begin to miss their targets: bursts no longer fit.
pub(super) const KNEE: f64 = 0.92;

/// A queue in the order of arrival makes all late once it takes longer than this: what is left of the usual target of
/// two seconds beside the prefill itself.
pub(super) const LATE_SECONDS: f64 = 1.5;

/// Until a new mix is seen for what it is.
const REACTION_SECONDS: f64 = 8.0;

/// Turns of both mixes that are looked ahead. What is gained once is not gained for ever: more would let a mistaken
/// forecast weigh more than what is known.
const TURNS: usize = 2;

/// Before any other mix has been seen, a move is held to be a mistake with this probability: that another comes for which
/// the worker would be missed where it was, as much as it is of that role, all the time until it is back.
const UNKNOWN: f64 = 0.5;

/// What a move takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Price {
    /// Seconds from the closing of a worker's gate until it serves in its other role.
    pub(super) from_prefill: f64,
    pub(super) from_decode: f64,
    /// Seconds of a prefill worker for the answers that a decode worker hands over when it leaves.
    pub(super) handed_over: f64,
}

impl Price {
    const fn away(&self, donor: Role) -> f64 {
        match donor {
            Role::Prefill | Role::Regular => self.from_prefill,
            Role::Decode => self.from_decode,
        }
    }
}

/// The present mix, how long it is expected to last, and the one expected to take turns with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    pub(super) now: Mix,
    /// Seconds that it has lasted, and that it lasts yet.
    pub(super) lasted: f64,
    pub(super) remaining: f64,
    pub(super) other: Option<Mix>,
    /// Seconds that a mix lasts.
    pub(super) lasting: f64,
    pub(super) price: Price,
    pub(super) order: QueueOrder,
    /// Whether that queue is decode's, too.
    pub(super) wait_for_decode: bool,
    /// Workers' worth of places that answers of another mix hold.
    pub(super) held: f64,
    /// Seconds for which late requests have waited, at the most.
    pub(super) late_for: f64,
    /// Seconds of a worker's time that each role is behind with.
    pub(super) behind: Need,
}

/// The best that begins with a move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Move {
    pub(super) donor: Role,
    /// Where the way leads for the present mix: its worker may not be the only one.
    pub(super) target: Split,
    /// Requests that meet their targets because of it.
    pub(super) saved: f64,
    /// Requests that miss them without it.
    pub(super) at_stake: f64,
}

/// Moves that a way may take to a split: with more, the forecast is the wrong tool.
const MOST_MOVES: u32 = 4;

impl Outlook {
    /// The best way that leaves `split`, against the best that stays for now.
    pub(super) fn best_move(&self, split: Split) -> Option<Move> {
        let near: Vec<_> = near(split).collect();
        let best = |target: Split| {
            let ways = near.iter().map(|other| self.missed(split, target, *other));
            ways.fold(f64::INFINITY, f64::min)
        };
        let staying = best(split);
        // Nothing is moved ahead of a need: when a mix will end is known too badly.
        let fullest = |split: Split| self.now.need.utilisation(split).highest();
        let better = |target: &&Split| fullest(**target) < fullest(split);
        let targets = near.iter().filter(better);
        let moves = targets.map(|target| Move {
            donor: if target.prefill > split.prefill {
                Role::Decode
            } else {
                Role::Prefill
            },
            target: *target,
            saved: staying - best(*target),
            at_stake: staying,
        });
        moves.max_by(|one, other| one.saved.total_cmp(&other.saved))
    }

    /// Requests that miss their targets where the fleet goes from `split` to `target` for the present mix, and to `other`
    /// whenever the other one comes.
    fn missed(&self, split: Split, target: Split, other: Split) -> f64 {
        let mut course = Course::new(self, split);
        course.stretch(&self.now, target, self.remaining, 0.0);
        if let Some(mix) = &self.other {
            for _ in 0..TURNS {
                course.stretch(mix, other, self.lasting, REACTION_SECONDS);
                course.stretch(&self.now, target, self.lasting, REACTION_SECONDS);
            }
        } else {
            course.missed += UNKNOWN * self.mistaken(split, target);
        }
        course.missed
    }

    /// Requests that miss their targets on the way back from `target` if the workers are missed where they were.
    fn mistaken(&self, split: Split, target: Split) -> f64 {
        let missed = steps(target, split).map(|(donor, after)| {
            let with_it = match donor {
                Role::Decode => after.prefill,
                Role::Prefill | Role::Regular => after.decode,
            };
            self.price.away(donor) / f64::from(with_it)
        });
        missed.sum::<f64>() * self.now.requests_per_second
    }
}

/// Splits within reach of a way, this one among them.
fn near(split: Split) -> impl Iterator<Item = Split> {
    let workers = split.prefill + split.decode;
    let first = split.prefill.saturating_sub(MOST_MOVES).max(1);
    let last = (split.prefill + MOST_MOVES).min(workers.saturating_sub(1));
    (first..=last).map(move |prefill| Split {
        prefill,
        decode: workers - prefill,
    })
}

/// The moves from one split to another of as many workers: whose worker is moved, and the split after it.
fn steps(from: Split, to: Split) -> impl Iterator<Item = (Role, Split)> {
    let donor = if to.prefill > from.prefill {
        Role::Decode
    } else {
        Role::Prefill
    };
    let after = iter::successors(Some(from), move |split| split.moved(donor)).skip(1);
    after
        .take(from.distance(to) as usize)
        .map(move |split| (donor, split))
}

#[cfg(test)]
mod tests;
