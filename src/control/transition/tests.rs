//! Role changes against workers whose every answer is set by the test.

use parking_lot::Mutex;
use policies::worker::WorkerId;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Config;
use crate::control::stand_in::{Bench, Reply, StandIn};
use crate::launch::RestartError;

/// Owns every worker's process, and notes what it is told.
#[derive(Debug, Default)]
struct Owner {
    told: Mutex<Vec<String>>,
    fails: bool,
}

impl Processes for Owner {
    fn owns(&self, _: WorkerId) -> bool {
        true
    }

    fn means(&self, _: WorkerId) -> Means {
        Means::Restart
    }

    fn restart(
        &self,
        _: WorkerId,
        role: Role,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), RestartError>> + Send + '_>> {
        self.told.lock().push(format!("restart as {role}"));
        let result = if self.fails {
            Err(RestartError("no such program".to_owned()))
        } else {
            Ok(())
        };
        Box::pin(async { result })
    }

    fn note_role(
        &self,
        _: WorkerId,
        role: Role,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.told.lock().push(format!("is {role}"));
        Box::pin(async {})
    }
}

/// A decode worker that is to become a prefill worker, and the prefill and decode workers beside it.
struct Rig {
    bench: Bench,
    moved: StandIn,
    worker: Arc<Worker>,
    owner: Arc<Owner>,
    mover: Mover,
}

impl Rig {
    fn new(owned: bool, change: impl Fn(&mut TransitionSettings)) -> Self {
        let (moved, others) = (good(), good());
        let bench = Bench::new([
            ("moved:1", &moved),
            ("moved:9000", &moved),
            ("p:1", &others),
            ("p:9000", &others),
            ("d:1", &others),
        ]);
        let add = |authority: &str, role| {
            let worker = bench.add(authority, role, |spec| spec.bootstrap_port = Some(9000));
            bench.fleet.registry.apply(worker.id, WorkerEvent::Passed);
            worker
        };
        add("p:1", Role::Prefill);
        add("d:1", Role::Decode);
        let worker = add("moved:1", Role::Decode);
        let owner = Arc::new(Owner::default());
        let Config {
            mut ratio, health, ..
        } = Config::default();
        change(&mut ratio.transition);
        let mover = Mover {
            fleet: bench.fleet.clone(),
            processes: owned.then(|| Arc::clone(&owner) as Arc<dyn Processes>),
            settings: ratio.transition,
            health,
        };
        Self {
            bench,
            moved,
            worker,
            owner,
            mover,
        }
    }

    fn start(&self, means: Means) -> JoinHandle<Result<Duration, MoveError>> {
        let order = Order {
            worker: Arc::clone(&self.worker),
            from: Role::Decode,
            to: Role::Prefill,
            means,
        };
        let mover = self.mover.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "the test owns the task and awaits it"
        )]
        tokio::spawn(async move { mover.carry_out(&order).await })
    }

    async fn carry_out(&self, means: Means) -> Result<Duration, MoveError> {
        self.start(means).await.unwrap()
    }

    /// State, role, and the spelling of the host.
    fn stands(&self) -> (WorkerState, Role, String) {
        let set = self.bench.fleet.registry.snapshot();
        let member = set.by_id(self.worker.id).unwrap();
        (member.state, member.role, member.bootstrap.host.to_string())
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.owner.told.lock())
    }
}

/// Answers as a worker that is well and changes its role when asked.
fn good() -> StandIn {
    let state = r#"{"decode_cuda_graph_bs":[1,2],"decode_cuda_graph_memory_gb":1.5}"#;
    let info = format!(r#"{{"internal_states":[{state}]}}"#);
    StandIn::default()
        .with("/ready", Reply::Status(200))
        .with("/route", Reply::Status(200))
        .with("/generate", Reply::json("{}"))
        .with("/server_info", Reply::json(&info))
        .with(
            "/pd_role_switch",
            Reply::json(r#"{"success":true,"message":"ok"}"#),
        )
}

fn answer(success: bool, safe_to_restore: bool, message: &str) -> Reply {
    Reply::json(&format!(
        r#"{{"success":{success},"message":"{message}","safe_to_restore":{safe_to_restore}}}"#
    ))
}

fn serving(role: Role, host: &str) -> (WorkerState, Role, String) {
    (WorkerState::Serving, role, host.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_changed_its_role_serves_in_it_under_a_new_spelling() {
    for (means, told) in [
        (Means::InPlace, "is prefill"),
        (Means::Restart, "restart as prefill"),
    ] {
        let rig = Rig::new(true, |_| {});
        assert!(rig.carry_out(means).await.is_ok());
        assert_eq!(rig.stands(), serving(Role::Prefill, "Moved"));
        assert_eq!(rig.told(), [told]);
        assert!(rig.worker.enter().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_before_the_last_request_has_left() {
    let rig = Rig::new(false, |_| {});
    let ticket = rig.worker.enter().unwrap();
    let change = rig.start(Means::InPlace);
    rig.bench.elapse(60.0).await;
    assert_eq!(rig.stands().0, WorkerState::Draining);
    assert!(rig.worker.enter().is_none());
    assert_eq!(rig.moved.asked("/pd_role_switch"), 0);
    drop(ticket);
    assert!(change.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_idle_yet_is_asked_again() {
    let rig = Rig::new(false, |_| {});
    rig.moved.set(
        "/pd_role_switch",
        answer(false, true, "instance is not idle"),
    );
    let change = rig.start(Means::InPlace);
    rig.bench.elapse(3.0).await;
    assert_eq!(rig.stands().0, WorkerState::Switching);
    rig.moved.set("/pd_role_switch", answer(true, false, "ok"));
    assert!(change.await.unwrap().is_ok());
    assert_eq!(rig.stands().1, Role::Prefill);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_kept_its_role_serves_on_in_it() {
    let rig = Rig::new(true, |_| {});
    for reply in [
        answer(false, true, "too little memory"),
        answer(false, true, "instance is not idle"),
        Reply::Status(404),
        Reply::Hang,
    ] {
        rig.moved.set("/pd_role_switch", reply.clone());
        let error = rig.carry_out(Means::InPlace).await.unwrap_err();
        assert!(matches!(error, MoveError::Kept(_)), "{reply:?}: {error}");
        assert_eq!(rig.stands(), serving(Role::Decode, "moved"));
        assert!(rig.told().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_broke_the_worker_is_followed_by_a_restart_where_somebody_can() {
    let broken = answer(false, false, "instance is unhealthy; restart required");
    let owned = Rig::new(true, |_| {});
    let switch = in_place_then(&owned, broken.clone()).await;
    assert!(switch.is_ok());
    assert_eq!(owned.told(), ["restart as prefill"]);
    assert_eq!(owned.stands(), serving(Role::Prefill, "Moved"));

    let alone = Rig::new(false, |_| {});
    let error = in_place_then(&alone, broken).await.unwrap_err();
    assert!(matches!(error, MoveError::Broken(_)), "{error}");
    assert_eq!(alone.stands().0, WorkerState::Failed);
    assert!(alone.worker.enter().is_none());
}

/// A switch in place whose preparation is answered well, and whose order is answered by `reply`.
async fn in_place_then(rig: &Rig, reply: Reply) -> Result<Duration, MoveError> {
    rig.moved
        .then("/pd_role_switch", answer(true, true, "ready"), reply);
    rig.carry_out(Means::InPlace).await
}

#[tokio::test(start_paused = true)]
async fn an_order_without_an_answer_is_judged_by_the_live_role() {
    let mode = |role: &str| Reply::json(&format!(r#"{{"disaggregation_mode":"{role}"}}"#));
    let rig = Rig::new(false, |_| {});
    rig.moved.set("/model_info", mode("prefill"));
    assert!(in_place_then(&rig, Reply::Hang).await.is_ok());
    assert_eq!(rig.stands(), serving(Role::Prefill, "Moved"));

    let rig = Rig::new(false, |_| {});
    rig.moved.set("/model_info", mode("decode"));
    let error = in_place_then(&rig, Reply::Refuse).await.unwrap_err();
    assert!(matches!(error, MoveError::Kept(_)), "{error}");
    assert_eq!(rig.stands(), serving(Role::Decode, "moved"));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_prove_good_gets_no_request() {
    let aborted = r#"{"meta_info":{"finish_reason":{"type":"abort","message":"no such room"}}}"#;
    for reply in [
        Reply::Status(500),
        Reply::Refuse,
        Reply::Hang,
        Reply::json(aborted),
    ] {
        for owned in [true, false] {
            let rig = Rig::new(owned, |_| {});
            rig.moved.set("/generate", reply.clone());
            let error = rig.carry_out(Means::InPlace).await.unwrap_err();
            assert!(
                matches!(error, MoveError::NotVerified(_)),
                "{reply:?}: {error}"
            );
            let (expected, told): (_, &[&str]) = if owned {
                (WorkerState::Starting, &["is prefill", "restart as prefill"])
            } else {
                (WorkerState::Failed, &[])
            };
            assert_eq!(
                (rig.stands().0, rig.told()),
                (expected, told.iter().map(ToString::to_string).collect())
            );
            assert!(rig.worker.enter().is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_cant_be_started_leaves_the_worker_failed() {
    let mut rig = Rig::new(true, |_| {});
    let owner = Arc::new(Owner {
        fails: true,
        ..Owner::default()
    });
    rig.mover.processes = Some(owner);
    let error = rig.carry_out(Means::Restart).await.unwrap_err();
    assert_eq!(error, MoveError::Broken("no such program".to_owned()));
    assert_eq!(rig.stands().0, WorkerState::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_overdue_is_called_off_or_waited_for_or_ended() {
    let called_off = Rig::new(false, |settings| settings.overdue = Overdue::CallOff);
    let held = called_off.worker.enter();
    let error = called_off.carry_out(Means::InPlace).await.unwrap_err();
    assert!(matches!(error, MoveError::CalledOff(_)), "{error}");
    assert_eq!(called_off.stands(), serving(Role::Decode, "moved"));
    drop(held);

    let waits = Rig::new(false, |settings| settings.overdue = Overdue::Wait);
    let held = waits.worker.enter();
    let change = waits.start(Means::InPlace);
    waits.bench.elapse(1_700.0).await;
    assert_eq!(waits.stands().0, WorkerState::Draining);
    drop(held);
    assert!(change.await.unwrap().is_ok());
    let held = waits.worker.enter();
    assert!(held.is_some(), "it serves");

    let leaves = Rig::new(false, |settings| settings.overdue = Overdue::Migrate);
    let held = leaves.worker.enter();
    let change = leaves.start(Means::InPlace);
    leaves.bench.elapse(1.0).await;
    assert!(leaves.worker.is_left_by_streams());
    drop(held);
    assert!(change.await.unwrap().is_ok());
    assert!(
        !leaves.worker.is_left_by_streams(),
        "streams may come again"
    );

    let ends = Rig::new(false, |settings| settings.overdue = Overdue::Abort);
    ends.moved.set("/abort_request", Reply::Status(200));
    let held = ends.worker.enter();
    let change = ends.start(Means::InPlace);
    ends.bench.elapse(121.0).await;
    assert_eq!(ends.moved.asked("/abort_request"), 1);
    drop(held);
    assert!(change.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_removed_meanwhile_is_let_go() {
    let rig = Rig::new(false, |_| {});
    let held = rig.worker.enter();
    let change = rig.start(Means::InPlace);
    rig.bench.elapse(1.0).await;
    rig.bench
        .fleet
        .registry
        .apply(rig.worker.id, WorkerEvent::Removed);
    drop(held);
    assert_eq!(change.await.unwrap(), Err(MoveError::NotServing));
    assert_eq!(rig.moved.asked("/pd_role_switch"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_while_it_is_verified_is_left_to_its_owner() {
    let rig = Rig::new(true, |_| {});
    rig.moved.set("/ready", Reply::Status(503));
    let change = rig.start(Means::Restart);
    rig.bench.elapse(5.0).await;
    assert_eq!(rig.stands().0, WorkerState::Verifying);
    // What the owner does when the process exits.
    for event in [WorkerEvent::GaveUp, WorkerEvent::Relaunched] {
        rig.bench.fleet.registry.apply(rig.worker.id, event);
    }
    assert_eq!(change.await.unwrap(), Err(MoveError::NotServing));
    assert_eq!(rig.stands().0, WorkerState::Starting);
    assert_eq!(
        rig.told(),
        ["restart as prefill"],
        "once, by the role change"
    );
}
