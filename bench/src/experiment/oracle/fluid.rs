//! The schedule that is best if work were a fluid: dynamic programming over slots of time.
//!
//! The state is the split; a move takes the donors out for as long as it lasts and ends in another split. What a slot
//! costs is the requests that would miss their targets on the workers that serve then: those that arrive, as far as
//! prefill is short, and those that are being answered, as far as decode is. A fluid has no backlog and no cliff, so
//! several sets of assumptions stand for what is left out, and their schedules are starting points of the search.

use std::time::Duration;

use policies::{ratio::Drain, ratio::Split, worker::Role};

use super::{
    Question,
    schedule::{SLOT, Schedule, slot_of},
};
use crate::{
    sim::Setup,
    workload::{Job, Workload},
};

/// When workers are short, and what a move costs besides the time that it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumptions {
    /// Share of prefill's capacity that can be used.
    prefill_full: f64,
    /// Share of decode's capacity up to which all keep the time between tokens, and from which on none does.
    decode_full: f64,
    decode_slow: f64,
    /// Requests that a move has to gain: what is handed over is computed again.
    move_cost: f64,
}

impl Assumptions {
    /// From cautious to bold.
    pub const ALL: [Self; 3] = [
        Self {
            prefill_full: 0.85,
            decode_full: 0.85,
            decode_slow: 1.0,
            move_cost: 20.0,
        },
        Self {
            prefill_full: 0.95,
            decode_full: 0.95,
            decode_slow: 1.05,
            move_cost: 40.0,
        },
        Self {
            prefill_full: 1.0,
            decode_full: 1.0,
            decode_slow: 1.15,
            move_cost: 60.0,
        },
    ];
}

/// How long a worker goes on with what it has once it is given nothing new: until a batch is computed, or, where answers
/// run to their ends, about as long as the longest of the experiment's takes.
const HANDED_OVER: Duration = Duration::from_secs(1);
const RUN_TO_THEIR_ENDS: Duration = Duration::from_secs(40);

/// What one slot asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Demand {
    /// Workers' worth of work in each role.
    prefill: f64,
    decode: f64,
    arrivals: f64,
    /// Requests that are being answered, each counted once over all of its slots.
    answering: f64,
}

/// The schedule with the least cost.
pub fn plan(question: &Question, assumptions: &Assumptions) -> Schedule {
    let Workload::Open { arrivals } = question.work else {
        return Schedule::fixed(question.start());
    };
    let mut demand = Vec::new();
    for (at, job) in arrivals {
        add(&mut demand, slot_of(*at), job, question.setup);
    }
    let drain = match question.setup.drain {
        Drain::Migrate => HANDED_OVER,
        Drain::Wait => RUN_TO_THEIR_ENDS,
    };
    let slots =
        |drain: Duration| ((drain + question.dark).as_secs_f64() / SLOT.as_secs_f64()).ceil();
    let program = Program {
        demand: &demand,
        assumptions,
        splits: Split::all(question.start().workers()),
        from_prefill: slots(HANDED_OVER) as usize,
        from_decode: slots(drain) as usize,
    };
    program.solve()
}

fn add(demand: &mut Vec<Demand>, slot: usize, job: &Job, setup: &Setup) {
    let (itl, model) = (setup.slo.itl.as_secs_f64(), &setup.model);
    let (prompt, output) = (u64::from(job.prompt_tokens), u64::from(job.output_tokens));
    let cached = f64::from(job.cached_tokens) / f64::from(job.prompt_tokens.max(1));
    let life = f64::from(job.output_tokens) * itl;
    let lasts = (life / SLOT.as_secs_f64()).ceil().max(1.0);
    let last = slot + lasts as usize;
    if demand.len() < last {
        demand.resize(last, Demand::default());
    }
    let a_slot = SLOT.as_secs_f64();
    demand[slot].arrivals += 1.0;
    demand[slot].prefill += 1.0 / model.prefill.capacity(prompt, cached) / a_slot;
    let decode = model
        .decode
        .capacity(itl, prompt, output)
        .max(f64::MIN_POSITIVE);
    for slot in &mut demand[slot..last] {
        slot.decode += 1.0 / decode / lasts / a_slot;
        slot.answering += 1.0 / lasts;
    }
}

/// Requests that miss their targets where `split` serves.
fn cost(demand: &Demand, split: Split, assumptions: &Assumptions) -> f64 {
    let [prefill, decode] = [split.prefill, split.decode].map(f64::from);
    let computed = assumptions.prefill_full * prefill / demand.prefill.max(f64::MIN_POSITIVE);
    let load = demand.decode / decode.max(f64::MIN_POSITIVE);
    let slow =
        (load - assumptions.decode_full) / (assumptions.decode_slow - assumptions.decode_full);
    demand.arrivals * (1.0 - computed.min(1.0)) + demand.answering * slow.clamp(0.0, 1.0)
}

struct Program<'a> {
    demand: &'a [Demand],
    assumptions: &'a Assumptions,
    splits: Vec<Split>,
    /// Slots that a move takes.
    from_prefill: usize,
    from_decode: usize,
}

/// A way on from a slot and a split.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Of all that is to come.
    cost: f64,
    /// Where the fleet is next, and when.
    next: (usize, usize),
}

impl Program<'_> {
    fn solve(&self) -> Schedule {
        let slots = self.demand.len();
        let ended = vec![
            Way {
                cost: 0.0,
                next: (slots, 0)
            };
            self.splits.len()
        ];
        let mut ways = vec![ended; slots + 1];
        for slot in (0..slots).rev() {
            for here in 0..self.splits.len() {
                ways[slot][here] = self.best(slot, here, &ways);
            }
        }
        self.schedule(&ways)
    }

    fn best(&self, slot: usize, here: usize, ways: &[Vec<Way>]) -> Way {
        let all = (0..self.splits.len()).map(|there| self.way(slot, here, there, ways));
        // Staying is first among equals.
        let stay = self.way(slot, here, here, ways);
        all.fold(
            stay,
            |best, way| if way.cost < best.cost { way } else { best },
        )
    }

    fn way(&self, slot: usize, here: usize, there: usize, ways: &[Vec<Way>]) -> Way {
        let (from, to) = (self.splits[here], self.splits[there]);
        let (serving, takes, moves) = match to.prefill.cmp(&from.prefill) {
            std::cmp::Ordering::Equal => (from, 1, 0),
            std::cmp::Ordering::Greater => {
                let decode = to.decode;
                (
                    Split { decode, ..from },
                    self.from_decode,
                    from.distance(to),
                )
            }
            std::cmp::Ordering::Less => {
                let prefill = to.prefill;
                (
                    Split { prefill, ..from },
                    self.from_prefill,
                    from.distance(to),
                )
            }
        };
        let end = (slot + takes.max(1)).min(self.demand.len());
        let meanwhile = self.demand[slot..end].iter();
        let missed: f64 = meanwhile
            .map(|demand| cost(demand, serving, self.assumptions))
            .sum();
        Way {
            cost: missed + f64::from(moves) * self.assumptions.move_cost + ways[end][there].cost,
            next: (end, there),
        }
    }

    fn schedule(&self, ways: &[Vec<Way>]) -> Schedule {
        let begins = &ways[0];
        let start = (0..self.splits.len())
            .min_by(|a, b| begins[*a].cost.total_cmp(&begins[*b].cost))
            .unwrap_or(0);
        let mut schedule = Schedule::fixed(self.splits[start]);
        let (mut slot, mut here) = (0, start);
        while slot < self.demand.len() {
            let (next_slot, there) = ways[slot][here].next;
            let (from, to) = (self.splits[here], self.splits[there]);
            let donor = if to.prefill > from.prefill {
                Role::Decode
            } else {
                Role::Prefill
            };
            let at = policies::time::Timestamp::ZERO.after(SLOT * slot as u32);
            let moves = (0..from.distance(to)).map(|_| (at, donor));
            schedule.moves.extend(moves);
            (slot, here) = (next_slot, there);
        }
        schedule
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::arms::START;
    use policies::model::WorkerModel;

    fn demand(prefill: f64, decode: f64) -> Demand {
        Demand {
            prefill,
            decode,
            arrivals: 10.0,
            answering: 10.0,
        }
    }

    fn solved(demand: &[Demand], takes: usize) -> Schedule {
        let program = Program {
            demand,
            assumptions: &Assumptions::ALL[1],
            splits: Split::all(4),
            from_prefill: takes,
            from_decode: takes,
        };
        program.solve()
    }

    #[test]
    fn it_begins_where_it_is_best_and_moves_ahead_of_what_comes() {
        let mut slots = vec![demand(0.5, 2.8); 100];
        slots.extend(vec![demand(1.8, 1.0); 100]);
        let schedule = solved(&slots, 10);
        assert_eq!(schedule.start.to_string(), "1P3D");
        assert_eq!(schedule.moves.len(), 1);
        let (at, donor) = schedule.moves[0];
        assert_eq!(donor, Role::Decode);
        assert!((90..=100).contains(&slot_of(at)), "{at:?}");
    }

    #[test]
    fn it_stays_where_a_move_takes_longer_than_its_reason_lasts() {
        let mut slots = vec![demand(0.5, 1.8); 100];
        slots.extend(vec![demand(2.2, 1.7); 4]);
        slots.extend(vec![demand(0.5, 1.8); 100]);
        let schedule = solved(&slots, 20);
        assert_eq!(schedule, Schedule::fixed(START));
    }

    #[test]
    fn a_request_is_counted_once_whatever_its_length() {
        let mut slots = Vec::new();
        let job = Job {
            prompt_tokens: 128,
            cached_tokens: 0,
            output_tokens: 2_048,
            class: 0,
        };
        let setup = Setup::study(WorkerModel::default(), 2, 2);
        add(&mut slots, 3, &job, &setup);
        let answering: f64 = slots.iter().map(|slot| slot.answering).sum();
        assert!((answering - 1.0).abs() < 1e-9);
        assert!((slots[3].arrivals - 1.0).abs() < 1e-9 && slots[2] == Demand::default());
    }
}
