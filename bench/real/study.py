#!/usr/bin/env python3
"""The study of splits in small, on real SGLang workers: one command a table, each within a deadline.

  study.py table    throughput, TTFT and ITL of each split under each mix: through the router, by direct pairing, and
                    through sglang-router where there is one; the workers' counters beside it
  study.py phases   traffic that changes its mix: fixed splits and the controller, in place, on the same requests
  study.py restart  the same with workers that the router starts anew to change their role
  study.py faults   kill -9 of a decode and of a prefill worker under load
  study.py peers    the same requests through the router and through sglang-router, and how the answers differ
  study.py continuation   streams whose decode worker is killed or changes its role, held against undisturbed ones
  study.py boot     the workers of all lanes, which the parts then take (SGLANG_RIG_LANES; see lanes.py)

Results are written as they come, one JSON object a line, into OUT (or --out): a run that is cut off keeps what it had.
Nothing is begun that would not end before --deadline. Workers that run already are used as they are; --stop ends them.
"""

import argparse
import json
import os
import pathlib
import sys
import time

import continuation
import faults
import peers
import phases
import plans
import restart
import table
from rig import LANE, LANES, Rig
from router import Router, peer_python

LOG_LINES = 120


def boot(study):
    """Starts the workers of all lanes."""
    study.say(study.rig.start(study.plan["splits"][0], study.plan["start_s"]))


PARTS = {
    "boot": boot, "table": table.table, "phases": phases.in_place, "restart": restart.by_restart,
    "faults": faults.faults, "peers": peers.peers, "continuation": continuation.continuation,
}  # fmt: skip


class Study:
    """What the parts share: the rig, its plan, the clock, and where results go."""

    def __init__(self, args):
        self.args, self.rig = args, Rig()
        self.plan = dict(plans.GPU if self.rig.gpu else plans.CPU)
        if args.tpot_ms:
            self.plan["slo"] = self.plan["slo"] | {"tpot_ms": args.tpot_ms}
        self.began = time.monotonic()
        self.out = pathlib.Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.scratch = pathlib.Path(args.scratch)
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.lane, self.cell, self.failures = LANE, None, 0

    def elapsed(self):
        return time.monotonic() - self.began

    def left(self):
        return self.args.deadline - self.elapsed()

    def say(self, *words):
        minutes, seconds = divmod(int(self.elapsed()), 60)
        print(f"[{minutes}:{seconds:02}]", *words, flush=True)

    def write(self, **row):
        row = {"part": self.args.part, "lane": LANE, "at_s": round(self.elapsed(), 1), **row}
        text = json.dumps(row) + "\n"
        with (self.out / f"{self.args.part}.jsonl").open("a") as out:
            out.write(text)

    def workers(self):
        """Starts them; where there are several lanes they were all started before."""
        split, seconds = self.plan["splits"][0], self.plan["start_s"]
        return self.rig.start(split, seconds) if LANES == 1 else self.rig.take(split)

    def router(self, *flags, workers=None):
        slo = self.plan["slo"]
        flags = ["--worker-model", self.args.model or self.plan["model"], "--ttft-slo-ms", slo["ttft_ms"],
                 "--itl-slo-ms", slo["tpot_ms"], *flags]  # fmt: skip
        return Router(workers or self.rig.flags(), self.out / "router.log", *flags)

    def keep_logs(self):
        """The ends of the workers' logs: what they said when something went wrong."""
        with (self.out / "workers.log").open("a") as out:
            started = [log for port in self.rig.ports for log in sorted(self.rig.run.glob(f"*{port}.log"))]
            for log in [*started, *sorted((self.scratch / f"state-{LANE}").glob("*.log"))]:
                lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                out.write("\n".join([f"== {log}", *lines, ""]))

    def attempt(self, what, seconds, run):
        """Runs what fits before the deadline, and survives what goes wrong in it."""
        if self.left() < seconds:
            self.say(f"left out, no time: {what}")
            return None
        try:
            return run()
        except Exception as problem:  # noqa: BLE001: what was measured so far is worth more than one cell
            self.failures += 1
            self.say(f"FAILED {what}: {problem}")
            self.write(what=what, error=str(problem)[-500:])
            return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--deadline", type=float, default=540, help="seconds from the start of this program")
    parser.add_argument("--out", default=os.environ.get("OUT", "target/real"))
    parser.add_argument("--scratch", default="/tmp/real-study")
    parser.add_argument("--model", help="model file of the workers [default: the plan's]")
    parser.add_argument("--rates", help="requests a second of the two phases, such as 9.6,11.1 [default: the plan's]")
    parser.add_argument("--tpot-ms", type=int, help="target between tokens [default: the plan's]")
    parser.add_argument("--phases", type=int, default=2)
    parser.add_argument("--phase-s", type=float, help="seconds of each [default: the plan's]")
    parser.add_argument("--arms", help="such as ours,2P2D [default: ours and all splits of the plan]; 2P2D-unbounded has a router "
                        "without a target between tokens, which then bounds no decode worker by it")
    parser.add_argument("--repetitions", type=int, default=3, help="of the table")
    parser.add_argument("--first-repetition", type=int, default=0, help="of them: it says in which order splits come")
    parser.add_argument("--splits", help="of the table, such as 2P2D,1P3D [default: all]")
    parser.add_argument("--first-name", type=int, default=0, help="of sglang-router's names for its prefill workers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop", action="store_true", help="end the workers afterwards")
    args = parser.parse_args()

    study = Study(args)
    study.say(f"{args.part} on the {'GPU' if study.rig.gpu else 'CPU'} rig; peer: {peer_python() or 'none'}")
    try:
        PARTS[args.part](study)
    finally:
        study.keep_logs()
        if args.stop:
            study.rig.stop()
        study.say(f"done, {study.failures} failures")
    sys.exit(study.failures > 0)


if __name__ == "__main__":
    main()
