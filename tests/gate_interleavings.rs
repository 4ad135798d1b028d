//! Every interleaving of the gate's operations, by loom. The gate's own source is compiled here against loom's
//! atomics, so that the whole program need not be built a second time.

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
}

#[allow(dead_code)]
#[path = "../src/workers/gate.rs"]
mod gate;

use gate::Gate;
use loom::sync::Arc;
use loom::thread;

#[test]
fn once_closed_and_empty_nobody_gets_in_any_more() {
    loom::model(|| {
        let gate = Arc::new(Gate::new_closed());
        gate.open();
        let visitor = thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.enter() && gate.leave()
        });
        let closed_empty = gate.close();
        if closed_empty {
            assert!(gate.is_drained());
            assert!(!gate.enter());
        }
        visitor.join().expect("the visitor does not panic");
        assert!(gate.is_drained());
    });
}

#[test]
fn the_drain_is_reported_exactly_once() {
    loom::model(|| {
        let gate = Arc::new(Gate::new_closed());
        gate.open();
        assert!(gate.enter());
        assert!(gate.enter());
        let leavers: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || u32::from(gate.leave()))
            })
            .collect();
        let mut reports = u32::from(gate.close());
        for leaver in leavers {
            reports += leaver.join().expect("a leaver does not panic");
        }
        assert_eq!(reports, 1);
        assert!(gate.is_drained());
    });
}

#[test]
fn nobody_is_lost_from_the_count() {
    loom::model(|| {
        let gate = Arc::new(Gate::new_closed());
        gate.open();
        let visitors: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || assert!(gate.enter()))
            })
            .collect();
        for visitor in visitors {
            visitor.join().expect("an open gate admits everybody");
        }
        assert_eq!(gate.in_flight(), 2);
        gate.leave();
        assert_eq!(gate.in_flight(), 1);
    });
}

#[test]
fn a_doubt_that_comes_and_goes_changes_nothing_about_who_is_inside() {
    loom::model(|| {
        let gate = Arc::new(Gate::new_closed());
        gate.open();
        assert!(gate.enter());
        let doubter = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                gate.doubt(true);
                assert_eq!(gate.undoubted(), None);
                gate.doubt(false);
            }
        });
        // Whichever of the two comes last reports the drain, whatever is doubted.
        let reports = [gate.close(), gate.leave()];
        assert_eq!(reports, [false, true]);
        assert!(gate.is_drained());
        assert_eq!(gate.in_flight(), 0);
        doubter.join().expect("the doubter does not panic");
        gate.open();
        assert_eq!(gate.undoubted(), Some(0));
    });
}
