use super::*;

const fn split(prefill: u32, decode: u32) -> Split {
    Split { prefill, decode }
}

const fn mix(prefill: f64, decode: f64, requests_per_second: f64) -> Mix {
    Mix {
        need: Need { prefill, decode },
        requests_per_second,
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
        behind: Need::default(),
    }
}

fn course(outlook: &Outlook) -> Course<'_> {
    Course {
        outlook,
        split: split(2, 2),
        behind: Need::default(),
        missed: 0.0,
    }
}

#[test]
fn nobody_misses_below_the_knee_and_decode_slows_down_for_all() {
    let outlook = outlook(300.0, 5.0);
    let table = [
        (mix(1.8, 1.8, 1.0), 0.0),
        (mix(4.0, 1.0, 1.0), 1.0 - KNEE / 2.0),
        (mix(1.0, 1.96, 1.0), 0.5),
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
    assert!(saved(1.88) < 0.0, "a sixth of the requests, for a while");
    assert!(saved(2.3) > 1_000.0, "all of them");
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
