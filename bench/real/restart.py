"""Workers that the router starts, and starts anew in the other role: the same traffic, longer phases, then crashes."""

import time

import faults
import load
import phases
from rig import parts
from router import Watch

LAST_S = 25  # kept for ending the workers
HOW = " by restart"


def by_restart(study):
    """The controller; or with --arms a fixed split, whose workers are started in the same way."""
    rig, plan = study.rig, study.plan
    planner = study.args.arms or phases.CONTROLLER
    split = phases.first_split(study) if planner == phases.CONTROLLER else planner
    arm = planner + HOW
    rig.end(rig.lane_ports(split))
    rig.start_mps()
    state, cluster = study.scratch / f"state-{study.lane}", study.scratch / f"cluster-{study.lane}.toml"
    rig.cluster_file(cluster, split)
    workers = ["--cluster", cluster, "--state-dir", state, "--stop-workers-on-exit", "--worker-stop-timeout-secs", 20]
    with phases.open_router(study, arm, workers=workers) as router:
        router.wait_ready(path="/liveness")
        seconds = router.move_to(split, plan["start_s"])
        study.say(f"the router started its workers in {seconds:.0f} s")
        study.write(what="start", seconds=round(seconds, 1))
        phases.warm_up(study, router)
        if planner == phases.CONTROLLER:
            router.ask("automatic")
        trace = phases.Trace(study, study.args.phase_s or plan["restart_phase_s"])
        need = trace.seconds + phases.TAIL_S
        study.attempt(arm, need, lambda: phases.run_arm(study, trace, arm, split, router))
        if planner == phases.CONTROLLER and not router.ratio().get("moves_last_hour"):
            study.attempt("a move under load", plan["restart_s"] + LAST_S, lambda: asked_move(study, router))
        need = faults.seconds(study) + LAST_S
        wait_whole(study, router, need)
        study.attempt("faults", need, lambda: faults.under_load(study, router))
        wait_whole(study, router, LAST_S)


def asked_move(study, router):
    """Where the controller found no move worth its price: one that is asked for, under load."""
    prompt, output, rate = study.plan["phases"][0]
    seconds, split = study.plan["restart_s"], study.plan["splits"][1]
    stretch = [(seconds, rate / 2, prompt, output)]
    path = study.scratch / "move.jsonl"
    counts, _ = load.alternating(path, stretch, study.args.seed)
    router.ask(split)
    with Watch(router) as watch:
        result = load.serve(
            router.url, study.rig, "--dataset-name", "trace", "--dataset-path", path, timeout=None,
            stop_after=seconds + phases.TAIL_S,
        )  # fmt: skip
    rows = load.by_phase(result, stretch, counts, study.plan["slo"])
    study.write(what="asked move", splits=watch.changes, phases=rows, offered=counts[0], **load.figures(result))
    study.say(f"asked for {split}: {watch.changes}, failed {result['failed']} of {counts[0]}")


def wait_whole(study, router, spare_s):
    """Until all workers serve, as long as so much time is left."""
    began, before = time.monotonic(), None
    while study.left() > spare_s:
        split = router.ratio().get("split")
        if split != before:
            study.say(f"{split} {time.monotonic() - began:.0f} s after the load")
            study.write(what="recovery", split=split, after_s=round(time.monotonic() - began, 1))
            before = split
        if split and sum(parts(split)) == len(study.rig.ports):
            return
        time.sleep(1)
