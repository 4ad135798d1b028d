//! What a split can carry of one kind of request: the unit in which the experiment's loads are given.

use std::{collections::HashMap, path::Path, str::FromStr, time::Duration};

use policies::{
    model::WorkerModel,
    ratio::{Need, Split},
};
use rayon::prelude::*;

use super::{
    arms::{Arm, Measures, Planning, SLO},
    engines::Fleet,
    store::{Store, StoreError},
};
use crate::{
    sim,
    workload::{Lengths, Mix, WorkloadSpec},
};

/// Requests of one kind: mean lengths in tokens, each request's own anything within half of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    pub prompt: u32,
    pub output: u32,
}

impl Kind {
    pub fn mix(self) -> Mix {
        let around = |mean| Lengths::Uniform { mean, spread: 0.5 };
        Mix {
            prompt: around(self.prompt),
            output: around(self.output),
            cached: 0.0,
        }
    }

    pub fn name(self) -> String {
        format!("{}/{}", self.prompt, self.output)
    }
}

/// As it is written on a command line: `2048/128`.
impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tokens = |text: &str| text.parse().ok().filter(|tokens| *tokens > 0);
        let read = || {
            let (prompt, output) = text.split_once('/')?;
            Some(Self {
                prompt: tokens(prompt)?,
                output: tokens(output)?,
            })
        };
        read().ok_or("expected tokens of prompt and answer, such as 2048/128")
    }
}

/// A split carries a rate where so many requests meet their targets.
const CARRIED: f64 = 0.95;

/// Each try is ten minutes of Poisson arrivals; the answer is within a two hundredth.
const SECONDS: f64 = 600.0;
const HALVINGS: u32 = 8;

/// Best capacities by the fleet's name and kind, requests a second.
pub struct Capacities(HashMap<(&'static str, Kind), f64>);

impl Capacities {
    /// Finds those of all `wanted`, where `store` doesn't know them.
    pub fn find(wanted: &[(Fleet, Kind)], store: &Store) -> Result<Self, StoreError> {
        let known = |(fleet, kind): &(Fleet, Kind)| {
            let inputs = format!("capacity of {:?} for {kind:?}", fleet.model);
            let best = if let Some(known) = store.get(&inputs) {
                known
            } else {
                let best = best(fleet.model, *kind, fleet.workers);
                store.put(&inputs, best)?;
                best
            };
            Ok(((fleet.name, *kind), best))
        };
        let found: Result<_, StoreError> = wanted.par_iter().map(known).collect();
        Ok(Self(found?))
    }

    /// Of the split that carries the most.
    pub fn best(&self, fleet: &Fleet, kind: Kind) -> f64 {
        self.0[&(fleet.name, kind)]
    }
}

/// The rate that the best split of so many workers carries.
pub(super) fn best(model: WorkerModel, kind: Kind, workers: u32) -> f64 {
    let splits = Split::all(workers).into_par_iter();
    let capacities = splits.map(|split| capacity(model, kind, split));
    capacities.reduce(|| 0.0, f64::max)
}

/// The largest rate that `split` carries, by halving an interval around what the model says.
fn capacity(model: WorkerModel, kind: Kind, split: Split) -> f64 {
    let stream = policies::estimate::Stream {
        requests_per_second: 1.0,
        deviation: 0.0,
        prompt_tokens: f64::from(kind.prompt),
        cached_tokens: 0.0,
        output_tokens: f64::from(kind.output),
    };
    let need = Need::of(&model, SLO.itl.as_secs_f64(), [stream].into_iter());
    let about = 1.0 / need.utilisation(split).highest();
    let (mut carried, mut too_much) = (0.0, 1.5 * about);
    let arm = Arm {
        planning: Planning::Fixed(split),
        measures: Measures::NONE,
    };
    let setup = arm.setup(&Fleet::standard("tried", model), Duration::ZERO, 0);
    for _ in 0..HALVINGS {
        let rate = f64::midpoint(carried, too_much);
        let work = WorkloadSpec::Poisson {
            rate,
            duration_s: SECONDS,
            mix: kind.mix(),
        };
        let work = work
            .make(0, Path::new(""))
            .expect("rates between those of the model are allowed");
        let outcome = sim::run(&setup, &work);
        if outcome.attainment(&SLO) >= CARRIED {
            carried = rate;
        } else {
            too_much = rate;
        }
    }
    carried
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Engine;

    #[test]
    fn long_answers_want_decode_workers_and_long_prompts_do_not() {
        let of = |prompt, output, prefill| {
            let split = Split {
                prefill,
                decode: 4 - prefill,
            };
            capacity(Engine::Clean.model(), Kind { prompt, output }, split)
        };
        assert!(of(128, 2_048, 1) > 1.2 * of(128, 2_048, 2));
        assert!(of(2_048, 16, 3) > 1.2 * of(2_048, 16, 2));
    }
}
