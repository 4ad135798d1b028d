use super::*;
use policies::model::WorkerModel;

fn sequence(request: usize, kv_tokens: u64, remaining: u64) -> Sequence {
    Sequence {
        request,
        kv_tokens,
        remaining,
        last_token: Timestamp::ZERO,
    }
}

fn model(max_running: u32, kv_pool_tokens: u64) -> DecodeModel {
    DecodeModel {
        max_running,
        kv_pool_tokens,
        ..WorkerModel::default().decode
    }
}

/// Runs until nothing is left; the requests in the order of their ends, with the step.
fn ends(side: &mut DecodeSide, model: &DecodeModel) -> Vec<(u64, usize)> {
    let mut ends = Vec::new();
    while side.begin_step(model, Timestamp::ZERO).is_some() {
        let ended = side.end_step().ended;
        ends.extend(ended.into_iter().map(|request| (side.steps, request)));
    }
    assert_eq!(side.kv_tokens, 0);
    ends
}

#[test]
fn every_sequence_gets_a_token_a_step() {
    let mut side = DecodeSide::default();
    for (request, remaining) in [(0, 3), (1, 1), (2, 3)] {
        side.land(sequence(request, 10, remaining));
    }
    assert_eq!(side.remaining(), 7);
    assert_eq!(ends(&mut side, &model(8, 1000)), [(1, 1), (3, 0), (3, 2)]);
}

#[test]
fn the_largest_batch_makes_the_rest_wait() {
    let mut side = DecodeSide::default();
    for request in 0..3 {
        side.land(sequence(request, 10, 2));
    }
    assert_eq!(ends(&mut side, &model(2, 1000)), [(2, 0), (2, 1), (4, 2)]);
}

#[test]
fn a_full_pool_makes_the_rest_wait_before_their_prefill() {
    let (mut side, model) = (DecodeSide::default(), model(8, 130));
    for request in 0..4 {
        side.reserve(request, 60);
    }
    assert_eq!(side.preallocate(&model), [0, 1]);
    side.release(1);
    assert_eq!(side.preallocate(&model), [2]);
    side.land(sequence(0, 61, 2));
    assert!(side.preallocate(&model).is_empty());
    while side.begin_step(&model, Timestamp::ZERO).is_some() {
        side.end_step();
    }
    assert_eq!(side.preallocate(&model), [3]);
}

#[test]
fn sequences_that_outgrow_the_pool_put_the_newest_back_and_all_end() {
    let mut side = DecodeSide::default();
    for request in 0..2 {
        side.land(sequence(request, 40, 20));
    }
    let ends = ends(&mut side, &model(8, 100));
    // Both run until 2 * (40 + 10) tokens fill the pool; then the first alone, then the second to its end.
    assert_eq!(ends, [(20, 0), (30, 1)]);
    assert_eq!(side.retractions(), 1);
}

#[test]
fn one_that_is_longer_than_the_pool_runs_alone() {
    let mut side = DecodeSide::default();
    side.land(sequence(0, 500, 3));
    assert_eq!(ends(&mut side, &model(8, 100)), [(3, 0)]);
}

#[test]
fn those_that_join_are_told_from_those_that_run() {
    let (mut side, model) = (DecodeSide::default(), model(8, 1000));
    side.land(sequence(0, 10, 5));
    side.begin_step(&model, Timestamp::ZERO).unwrap();
    side.land(sequence(1, 10, 5));
    let first = side.end_step();
    assert_eq!((first.newcomers.len(), first.others), (1, 0));
    side.begin_step(&model, Timestamp::ZERO).unwrap();
    let second = side.end_step();
    assert_eq!((second.newcomers.len(), second.others), (1, 1));
}
