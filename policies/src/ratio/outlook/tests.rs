use super::*;

const fn split(prefill: u32, decode: u32) -> Split {
    Split { prefill, decode }
}

const fn mix(prefill: f64, decode: f64, requests_per_second: f64) -> Mix {
    Mix {
        need: Need { prefill, decode },
        requests_per_second,
        answer_seconds: 40.0,
        slow_when_full: false,
    }
}

/// Decode-heavy now, which takes three decode workers; prefill-heavy at other times, which takes two of each.
fn outlook(lasting: f64, away: f64) -> Outlook {
    Outlook {
        now: mix(0.1, 2.3, 10.0),
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
        behind: Need::default(),
    }
}

fn course(outlook: &Outlook) -> Course<'_> {
    Course {
        outlook,
        split: split(2, 2),
        behind: Need::default(),
        held: Held::default(),
        missed: 0.0,
    }
}

#[test]
fn nobody_misses_below_the_knee_and_decode_slows_down_for_all() {
    let outlook = outlook(300.0, 5.0);
    let table = [
        (mix(1.8, 1.4, 1.0), 0.0),
        (mix(4.0, 1.0, 1.0), 1.0 - KNEE / 2.0),
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
    assert!(saved(1.51) < 0.0, "a sixth of the requests, for a while");
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
        (mix(1.0, 1.7, 1.0), 0.0),
        (mix(1.0, 4.0, 1.0), 1.0 - PLACES_KNEE / 2.0),
        (mix(4.0, 1.0, 1.0), 1.0 - KNEE / 2.0),
    ];
    for (mix, missed) in table {
        let mut course = course(&outlook);
        course.pass(&mix, split(2, 2), 10.0);
        assert!((course.missed - 10.0 * missed).abs() < 1e-9, "{mix:?}");
    }
    let slow = Mix {
        slow_when_full: true,
        ..mix(1.0, 2.2, 1.0)
    };
    let mut course = course(&outlook);
    course.pass(&slow, split(2, 2), 10.0);
    assert!((course.missed - 10.0).abs() < 1e-9, "all that run are slow");
}

#[test]
fn answers_of_the_mix_before_hold_places_until_they_end() {
    let outlook = waiting(outlook(300.0, 5.0));
    // A full fleet's answers end within 40 s, a twentieth of a worker in each. Others have room for 0.85 of a worker
    // after 20 s, when one of two is free, and half as much of it ten seconds before.
    let late = |split: Split| {
        let mut course = course(&outlook);
        course.stretch(&mix(0.1, 4.0, 10.0), split, 100.0, 0.0);
        let before = course.missed;
        course.pass(&mix(0.1, 0.85, 1.0), split, 80.0);
        course.missed - before
    };
    // All are late up to half a worker, 10 s, and from there on fewer and fewer.
    let two = late(split(2, 2));
    assert!((two - (10.0 + 5.0)).abs() < 0.6, "{two}");
    assert!(late(split(1, 3)) < two, "with more of them more end");
}

#[test]
fn a_mix_that_needs_all_of_decode_is_worth_a_move_for_the_one_after_it_too() {
    let stays = waiting(Outlook {
        now: mix(0.1, 2.0, 10.0),
        ..outlook(300.0, 2.0)
    });
    let moved = stays.best_move(split(2, 2)).unwrap();
    assert_eq!((moved.donor, moved.target), (Role::Prefill, split(1, 3)));
    // What the other mix misses while it waits for places is the larger part of what is saved.
    let alone = Outlook {
        other: None,
        ..stays
    };
    let alone = alone.best_move(split(2, 2)).unwrap();
    assert!(moved.saved > 2.0 * alone.saved, "{moved:?} {alone:?}");
}
