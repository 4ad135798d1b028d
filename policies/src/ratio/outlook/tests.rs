use super::course::{FULL, share_above};
use super::*;

const fn split(prefill: u32, decode: u32) -> Split {
    Split { prefill, decode }
}

const fn mix(prefill: f64, decode: f64, requests_per_second: f64) -> Mix {
    Mix {
        need: Need { prefill, decode },
        requests_per_second,
        answer_seconds: 40.0,
        empty_step: 0.25,
        full_step: 1.0,
    }
}

/// Decode-heavy now, which takes three decode workers; prefill-heavy at other times, which takes two of each.
fn outlook(lasting: f64, away: f64) -> Outlook {
    Outlook {
        now: mix(0.1, 2.3, 10.0),
        lasted: 1_000.0,
        remaining: lasting - 10.0,
        other: Some(mix(1.6, 0.8, 40.0)),
        lasting,
        price: Price {
            from_prefill: away,
            from_decode: away,
            handed_over: 0.0,
        },
        order: QueueOrder::FreshFirst,
        wait_for_decode: false,
        held: 0.0,
        late_for: 0.0,
        behind: Need::default(),
    }
}

fn course(outlook: &Outlook) -> Course<'_> {
    Course::new(outlook, split(2, 2))
}

#[test]
fn nobody_misses_below_the_knee_and_decode_slows_down_for_all() {
    let outlook = outlook(300.0, 5.0);
    let table = [
        (mix(1.8, 1.4, 1.0), 0.0),
        (mix(4.0, 1.0, 1.0), 1.0 - FULL / 2.0),
        (mix(1.0, 1.74, 1.0), 0.5),
        (mix(1.0, 2.2, 1.0), 1.0),
    ];
    for (mix, missed) in table {
        let mut course = course(&outlook);
        course.pass(&mix, split(2, 2), 10.0);
        assert!((course.missed - 10.0 * missed).abs() < 1e-9, "{mix:?}");
    }
}

#[test]
fn what_decode_is_behind_with_is_worked_off_and_makes_the_next_mix_late() {
    let outlook = outlook(300.0, 5.0);
    let mut course = course(&outlook);
    // 0.5 of a worker too little for 20 s, then 1.2 to spare.
    course.pass(&mix(0.1, 2.5, 10.0), split(2, 2), 20.0);
    assert!((course.behind.decode - 10.0).abs() < 1e-9);
    let before = course.missed;
    course.pass(&mix(0.1, 0.8, 10.0), split(2, 2), 100.0);
    assert!((course.missed - before - 10.0 * 10.0 / 1.2).abs() < 1e-6);
}

#[test]
fn in_the_order_of_arrival_a_backlog_makes_all_late() {
    // Two workers' worth short by a half: 1.5 s of waiting are reached when 3 s of a worker's time wait.
    let table = [
        (0.0, 0.5, 12.0, 3.0, 0.5),
        (6.0, -0.5, 12.0, 3.0, 0.5),
        (0.0, -1.0, 5.0, 3.0, 0.0),
        (9.0, 0.0, 5.0, 3.0, 1.0),
    ];
    for (before, growth, seconds, level, share) in table {
        let found = share_above(before, growth, seconds, level);
        assert!((found - share).abs() < 1e-9, "{before} {growth}: {found}");
    }
    let late = Outlook {
        order: QueueOrder::Fifo,
        behind: Need {
            prefill: 100.0,
            decode: 0.0,
        },
        ..outlook(300.0, 5.0)
    };
    let fresh = Outlook {
        order: QueueOrder::FreshFirst,
        ..late
    };
    let stay = |outlook: &Outlook| outlook.missed(split(2, 2), split(2, 2), split(2, 2));
    assert!(stay(&late) > stay(&fresh));
}

#[test]
fn a_worker_moves_where_mixes_last_and_moves_are_cheap() {
    let saved = |lasting, away| {
        let found = outlook(lasting, away).best_move(split(2, 2)).unwrap();
        assert_eq!(found.donor, Role::Prefill);
        found.saved / found.at_stake
    };
    assert!(saved(300.0, 5.0) > 0.5);
    assert!(saved(600.0, 60.0) > 0.25);
    assert!(saved(120.0, 120.0) < 0.25);
    assert!(saved(300.0, 5.0) > saved(300.0, 60.0));
}

#[test]
fn a_move_into_the_unknown_pays_only_for_what_is_missed_much() {
    let unknown = |decode| Outlook {
        now: mix(0.1, decode, 10.0),
        other: None,
        ..outlook(300.0, 90.0)
    };
    let saved = |decode| unknown(decode).best_move(split(2, 2)).unwrap().saved;
    assert!(
        saved(1.43) < 0.0,
        "one in twenty of the requests, for a while"
    );
    assert!(saved(2.1) > 1_000.0, "all of them");
}

#[test]
fn a_split_that_suffices_is_not_left() {
    let enough = Outlook {
        now: mix(1.0, 1.0, 10.0),
        other: None,
        ..outlook(300.0, 5.0)
    };
    assert_eq!(enough.best_move(split(2, 2)), None, "as full as can be");
    assert_eq!(enough.best_move(split(1, 1)), None, "nothing to move");
}

/// Which are as many as they will be almost at once.
const fn of_short_answers(mix: Mix) -> Mix {
    Mix {
        answer_seconds: 1.0,
        ..mix
    }
}

const fn waiting(outlook: Outlook) -> Outlook {
    Outlook {
        wait_for_decode: true,
        ..outlook
    }
}

#[test]
fn what_waits_for_decode_makes_only_itself_late() {
    let outlook = waiting(outlook(300.0, 5.0));
    let table = [
        (mix(1.0, 1.9, 1.0), 0.0),
        (mix(1.0, 4.0, 1.0), 1.0 - FULL / 2.0),
        (mix(4.0, 1.0, 1.0), 1.0 - FULL / 2.0),
    ];
    for (mix, missed) in table {
        let mut course = course(&outlook);
        course.pass(&mix, split(2, 2), 10.0);
        assert!((course.missed - 10.0 * missed).abs() < 1e-9, "{mix:?}");
    }
}

#[test]
fn answers_of_the_mix_before_hold_places_until_they_end() {
    let outlook = waiting(outlook(300.0, 5.0));
    // A full fleet's answers end within 40 s, a twentieth of a worker in each second. Others need a worker, which they have
    // after 20 s, when one of two is free, and half as much of it ten seconds before.
    let late = |split: Split| {
        let mut course = course(&outlook);
        course.stretch(&mix(0.1, 4.0, 10.0), split, 100.0, 0.0);
        let before = course.missed;
        course.pass(&of_short_answers(mix(0.1, FULL, 1.0)), split, 80.0);
        course.missed - before
    };
    // All are late up to half a worker, 10 s, and from there on fewer and fewer.
    let two = late(split(2, 2));
    assert!((two - (10.0 + 5.0)).abs() < 1.0, "{two}");
    assert!(late(split(1, 3)) < two, "with more of them more end");
}

#[test]
fn a_mix_that_needs_all_of_decode_makes_those_late_that_come_after_it() {
    // Each fits by itself. What is missed is what waits for the places of the other's answers.
    let missed = |answer_seconds| {
        let stays = waiting(Outlook {
            now: Mix {
                answer_seconds,
                ..mix(0.1, 1.95, 10.0)
            },
            other: Some(of_short_answers(mix(1.6, 0.8, 40.0))),
            ..outlook(60.0, 2.0)
        });
        stays.missed(split(2, 2), split(2, 2), split(2, 2))
    };
    assert!(missed(40.0) > 500.0, "{}", missed(40.0));
    assert!(missed(0.1) < 50.0, "{}", missed(0.1));
}

#[test]
fn a_mistaken_move_costs_the_part_of_its_role_that_the_worker_was() {
    let alone = Outlook {
        other: None,
        ..outlook(300.0, 60.0)
    };
    for (from, to, missed) in [
        (split(2, 2), split(3, 1), 60.0 * 10.0 / 2.0),
        (split(4, 8), split(5, 7), 60.0 * 10.0 / 8.0),
        (split(2, 2), split(2, 2), 0.0),
    ] {
        let found = alone.mistaken(from, to);
        assert!((found - missed).abs() < 1e-9, "{from} {to}: {found}");
    }
}

#[test]
fn late_ones_have_their_turns_once_they_have_waited_for_long() {
    let outlook = waiting(outlook(300.0, 5.0));
    let mut course = course(&outlook);
    let overload = mix(2.2, 1.0, 1.0);
    course.pass(&overload, split(2, 2), 200.0);
    let soon = course.missed / 200.0;
    assert!((soon - (1.0 - FULL / 1.1)).abs() < 1e-9, "{soon}");
    let before = course.missed;
    course.pass(&overload, split(2, 2), 200.0);
    assert!((course.missed - before) / 200.0 > soon + 0.04);
    // Where there was room meanwhile nobody waits any more.
    course.pass(&mix(1.0, 1.0, 1.0), split(2, 2), 100.0);
    let before = course.missed;
    course.pass(&overload, split(2, 2), 200.0);
    assert!(((course.missed - before) / 200.0 - soon).abs() < 1e-9);
}

#[test]
fn places_fill_up_before_anybody_waits_for_one() {
    // Twice as much as two workers do, whose answers take 40 s: after 20 s their places are taken.
    let late = |lasted: f64| {
        let outlook = Outlook {
            lasted,
            other: None,
            ..waiting(outlook(300.0, 5.0))
        };
        let mut course = course(&outlook);
        course.pass(&mix(0.1, 4.0, 1.0), split(2, 2), 40.0);
        course.missed / (1.0 - FULL / 2.0)
    };
    assert!((late(40.0) - 40.0).abs() < 1e-9, "{}", late(40.0));
    assert!((late(0.0) - 20.0).abs() < 4.0, "{}", late(0.0));
    assert!((late(10.0) - 30.0).abs() < 4.0, "{}", late(10.0));
}

#[test]
fn a_decode_worker_is_kept_until_the_answers_of_the_mix_before_have_room_elsewhere() {
    // From 1P3D with all of its places held to 3P1D for prompts that need two prefill workers and a little more.
    let outlook = waiting(outlook(300.0, 5.0));
    let prompts = mix(2.1, 0.8, 40.0);
    let missed = |reaction: f64| {
        let mut course = Course::new(&outlook, split(1, 3));
        course.stretch(&mix(0.1, 3.0, 10.0), split(1, 3), 100.0, 0.0);
        let before = course.missed;
        course.stretch(&prompts, split(3, 1), 300.0, reaction);
        course.missed - before
    };
    let both_at_once = {
        let mut course = Course::new(&outlook, split(1, 3));
        course.stretch(&mix(0.1, 3.0, 10.0), split(1, 3), 100.0, 0.0);
        let before = course.missed;
        for (on, seconds) in [((1, 3), 8.0), ((1, 2), 5.0), ((2, 2), 3.0), ((2, 1), 5.0)] {
            course.pass(&prompts, split(on.0, on.1), seconds);
        }
        course.pass(&prompts, split(3, 1), 279.0);
        course.missed - before
    };
    assert!(
        missed(8.0) < 0.8 * both_at_once,
        "{} of {both_at_once}",
        missed(8.0)
    );
}
