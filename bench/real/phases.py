"""Traffic that changes its mix, on the same requests for each arm: a fixed split, or the controller."""

import load
from counters import Counters
from router import Watch

TAIL_S = 12  # after the last arrival: what has not ended by then is abandoned, and missed
BETWEEN_S = 15  # a router's start, a move to the first split of an arm, the client's start
CONTROLLER = "ours"
# A fixed split with a router that has no target between tokens to speak of.
UNBOUNDED, NO_TARGET_MS = "-unbounded", 100_000


def first_split(study):
    """The controller's, which doesn't know what comes."""
    return study.plan["splits"][0]


def in_place(study):
    study.say(study.workers())
    trace = Trace(study, study.args.phase_s or study.plan["phase_s"])
    with study.router("--planner", "fixed") as router:
        router.wait_ready()
        warm_up(study, router)
    arms = study.args.arms.split(",") if study.args.arms else [CONTROLLER, *study.plan["splits"]]
    for arm in arms:
        study.attempt(arm, trace.seconds + TAIL_S + BETWEEN_S, lambda: run_in_place(study, trace, arm))


def run_in_place(study, trace, arm):
    split = first_split(study) if arm == CONTROLLER else arm.removesuffix(UNBOUNDED)
    flags = ["--itl-slo-ms", NO_TARGET_MS] if arm.endswith(UNBOUNDED) else []
    with open_router(study, arm, *flags) as router:
        router.wait_ready()
        router.move_to(split)
        if arm == CONTROLLER:
            router.ask("automatic")
        run_arm(study, trace, arm, split, router)


def open_router(study, arm, *flags, workers=None):
    """The same router for all arms but for who decides: its measures for waiting requests are on by default."""
    planner = "controller" if arm.startswith(CONTROLLER) else "fixed"
    log = study.out / "decisions.jsonl"
    return study.router("--planner", planner, "--decision-log", log, *flags, workers=workers)


def warm_up(study, router):
    """Workers compile kernels at their first requests of a kind."""
    concurrency = study.plan["concurrency"] // 2
    for _, _, prompt, output in Trace.parts(study, 1):
        study.attempt("warm-up", 45, lambda: load.closed(
            router.url, study.rig, (prompt, min(output, 64)), 2 * concurrency, concurrency, 60, seed=99))  # fmt: skip
    study.say("warm")


class Trace:
    """The requests, as a file."""

    def __init__(self, study, phase_s):
        self.phases = self.parts(study, phase_s)
        self.path = study.out / "trace.jsonl"
        self.counts, self.seconds = load.alternating(self.path, self.phases, study.args.seed)
        study.write(what="traffic", phases=self.phases, offered=self.counts, slo=study.plan["slo"], seed=study.args.seed)
        study.say(f"phases {self.phases}, {self.counts} requests, targets {study.plan['slo']}")

    @staticmethod
    def parts(study, phase_s):
        """(seconds, requests a second, prompt, output) of each phase."""
        known = study.plan["phases"]
        rates = [float(rate) for rate in study.args.rates.split(",")] if study.args.rates else [one[2] for one in known]
        turns = [(phase_s, rate, prompt, output) for (prompt, output, _), rate in zip(known, rates)]
        return [turns[number % len(turns)] for number in range(study.args.phases)]


def run_arm(study, trace, arm, split, router):
    study.cell = arm
    with Counters(study), Watch(router) as watch:
        result = load.serve(
            router.url, study.rig, "--dataset-name", "trace", "--dataset-path", trace.path, "--seed", study.args.seed,
            timeout=None, stop_after=trace.seconds + TAIL_S,
        )  # fmt: skip
    study.cell = None
    slo = study.plan["slo"]
    phases = load.by_phase(result, trace.phases, trace.counts, slo)
    good, offered = sum(one["good"] for one in phases), sum(trace.counts)
    study.write(
        what="arm", arm=arm, seed=study.args.seed, first_split=split, moves=watch.moves, splits=watch.changes, offered=offered, good=good,
        attainment=round(good / offered, 4), goodput=round(good / trace.seconds, 3), phases=phases,
        seconds=load.every_second(result, trace.seconds, slo), last_failure=router.ratio().get("last_failure"),
        **load.figures(result),
    )  # fmt: skip
    study.say(
        f"{arm}: attained {good / offered:.3f}, goodput {good / trace.seconds:.2f}/s, by phase "
        f"{[one['attainment'] for one in phases]}, moves {watch.moves} {watch.changes[1:]}, failed {result['failed']}, "
        f"abandoned {result['abandoned'] + result['unsent']} {result['failures']}"
    )
