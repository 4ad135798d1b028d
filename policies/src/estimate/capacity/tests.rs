use proptest::prelude::*;

use super::*;

/// A worker that counts what it does by a model.
struct Counting {
    model: WorkerModel,
    counters: WorkerCounters,
}

impl Counting {
    fn new(model: WorkerModel, role: Role) -> Self {
        let counters = WorkerCounters {
            worker: WorkerId(7),
            role,
            prefill_tokens: 0,
            prefill_busy_us: 0,
            decode_moments: [0.0; 6],
        };
        Self { model, counters }
    }

    fn prefill(&mut self, tokens: u64) -> WorkerCounters {
        self.counters.prefill_tokens += tokens;
        let seconds = self.model.prefill.batch_seconds(tokens);
        self.counters.prefill_busy_us += (seconds * 1e6).round() as u64;
        self.counters
    }

    fn step(&mut self, batch: u32, kv_each: u64) -> WorkerCounters {
        let kv = u64::from(batch) * kv_each;
        let (b, t) = (
            f64::from(batch),
            self.model.decode.step_seconds(batch, kv) * 1e6,
        );
        let terms = [1.0, b, t, b * b, b * t, b];
        for (sum, term) in self.counters.decode_moments.iter_mut().zip(terms) {
            *sum += term;
        }
        self.counters
    }
}

fn off(found: f64, truth: f64) -> f64 {
    (found / truth - 1.0).abs()
}

/// Another deployment: half as fast at a batch's base, other slopes.
fn truth() -> WorkerModel {
    let mut truth = WorkerModel::default();
    truth.prefill.batch_base *= 1.8;
    truth.prefill.per_token *= 1.4;
    truth.decode.step_base *= 1.5;
    truth.decode.per_sequence *= 0.7;
    truth
}

#[test]
fn lines_are_found_that_differ_from_the_prior() {
    let truth = truth();
    let mut estimator = CapacityEstimator::new(WorkerModel::default());
    estimator.sequences_hold(1_000.0);
    let mut prefill = Counting::new(truth, Role::Prefill);
    let mut decode = Counting::new(truth, Role::Decode);
    decode.counters.worker = WorkerId(8);
    let mut dice = 5_u64;
    for _ in 0..300 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        for _ in 0..=(dice >> 60) % 3 {
            prefill.prefill(1 + (dice >> 40) % 8_192);
        }
        for step in 0..100 {
            decode.step(8 + (dice >> 50) as u32 % 60 + step / 10, 1_000);
        }
        estimator.observe(&[prefill.counters, decode.counters]);
    }
    let model = estimator.model();
    for (found, truth) in [
        (model.prefill.batch_base, truth.prefill.batch_base),
        (model.prefill.per_token, truth.prefill.per_token),
        (model.decode.step_base, truth.decode.step_base),
        (model.decode.per_sequence, truth.decode.per_sequence),
    ] {
        assert!(off(found, truth) < 0.03, "{found} {truth}");
    }
}

#[test]
fn a_batch_that_never_varies_moves_the_line_and_keeps_the_prior_slope() {
    let prior = WorkerModel::default();
    let mut slow = prior;
    slow.decode.step_base += 0.003;
    let mut estimator = CapacityEstimator::new(prior);
    let mut worker = Counting::new(slow, Role::Decode);
    for _ in 0..100 {
        for _ in 0..100 {
            worker.step(30, 1_024);
        }
        estimator.observe(&[worker.counters]);
    }
    let found = estimator.model().decode;
    let expected = slow.decode.step_seconds(30, 30 * 1_024);
    assert!(off(found.step_seconds(30, 30 * 1_024), expected) < 0.01);
    assert!(off(found.per_sequence, prior.decode.per_sequence) < 0.2);
}

#[test]
fn repeats_add_nothing_and_a_restart_begins_anew() {
    let mut estimator = CapacityEstimator::new(WorkerModel::default());
    let mut worker = Counting::new(truth(), Role::Prefill);
    let fresh = worker.counters;
    estimator.observe(&[fresh]);
    estimator.observe(&[worker.prefill(2_048)]);
    let (seen, model) = (estimator.windows(), estimator.model());
    for again in [worker.counters, worker.counters, fresh] {
        estimator.observe(&[again]);
        assert_eq!((estimator.windows(), estimator.model()), (seen, model));
    }
    let mut restarted = Counting::new(truth(), Role::Prefill);
    estimator.observe(&[restarted.prefill(4_096)]);
    assert_eq!(estimator.windows(), (2, 0));
}

#[test]
fn work_of_a_role_that_changed_in_between_is_nobodys() {
    let mut estimator = CapacityEstimator::new(WorkerModel::default());
    let mut worker = Counting::new(truth(), Role::Prefill);
    estimator.observe(&[worker.counters]);
    worker.counters.role = Role::Decode;
    worker.prefill(1_000);
    estimator.observe(&[worker.step(8, 100)]);
    assert_eq!(estimator.windows(), (0, 0));
}

fn counters() -> impl Strategy<Value = WorkerCounters> {
    let moments = prop::array::uniform6(prop_oneof![any::<f64>(), 0.0..1e9]);
    (
        0_u64..4,
        prop::sample::select(&Role::ALL[..]),
        any::<u64>(),
        any::<u64>(),
        moments,
    )
        .prop_map(
            |(worker, role, prefill_tokens, prefill_busy_us, decode_moments)| WorkerCounters {
                worker: WorkerId(worker),
                role,
                prefill_tokens,
                prefill_busy_us,
                decode_moments,
            },
        )
}

proptest! {
    #[test]
    fn whatever_is_counted_the_model_stays_within_the_factor(looks in prop::collection::vec(prop::collection::vec(counters(), 0..5), 0..20)) {
        let prior = WorkerModel::default();
        let mut estimator = CapacityEstimator::new(prior);
        for look in &looks {
            estimator.observe(look);
        }
        for parameter in crate::model::Parameter::ALL {
            let (found, prior) = (parameter.get(&estimator.model()), parameter.get(&prior));
            let least = if parameter == crate::model::Parameter::ArrivalPerToken { 0.0 } else { prior / BELIEVED * 0.999 };
            prop_assert!(found >= least && found <= prior * BELIEVED * 1.001, "{parameter:?}: {found}");
        }
    }

    #[test]
    fn without_work_the_model_is_the_prior(factor in 0.1..10.0) {
        let prior = WorkerModel::default().scaled(factor);
        let mut estimator = CapacityEstimator::new(prior);
        let worker = Counting::new(truth(), Role::Regular);
        estimator.observe(&[worker.counters]);
        estimator.observe(&[worker.counters]);
        let found = estimator.model();
        for parameter in crate::model::Parameter::ALL {
            let (found, prior) = (parameter.get(&found), parameter.get(&prior));
            prop_assert!((found - prior).abs() <= 1e-9 * prior, "{parameter:?}: {found} {prior}");
        }
    }
}
