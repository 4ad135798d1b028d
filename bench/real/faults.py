"""kill -9 of workers under load, and what the clients saw of it."""

import re
import threading
import time

import load
from rig import parts
from router import METRICS_PORT, Watch, call

TAIL_S = 15
# When, as a share of the load's time, and which role loses a worker.
KILLS = ((0.25, "decode"), (0.6, "prefill"))
TELLING = re.compile(r"^(\w*(?:retr|outcome|failed|error|abort|breaker|restart|given_up)\w*(?:\{[^}]*\})?) ([1-9][\d.e+]*)$")


def seconds(study):
    return study.plan["fault"]["seconds"] + TAIL_S


def faults(study):
    """Workers that nobody starts again."""
    rig, plan = study.rig, study.plan
    study.say(study.workers())
    with study.router("--planner", "fixed") as router:
        router.wait_ready()
        router.move_to(plan["splits"][0])
        load.closed(router.url, rig, plan["fault"]["mix"], plan["concurrency"], plan["concurrency"] // 2, 90, 99)
        under_load(study, router)


def under_load(study, router):
    plan = study.plan["fault"]
    # So that nobody changes roles meanwhile; a split that lacks a worker can't be asked for.
    if sum(parts(split := router.ratio()["split"])) == len(study.rig.ports):
        router.ask(split)
    stretch = [(plan["seconds"], plan["rate"], *plan["mix"])]
    path = study.scratch / "faults.jsonl"
    counts, _ = load.alternating(path, stretch, study.args.seed)
    killer = threading.Thread(target=kill, args=(study, router, plan["seconds"]))
    with Watch(router) as watch:
        killer.start()
        result = load.serve(
            router.url, study.rig, "--dataset-name", "trace", "--dataset-path", path, timeout=None, stop_after=seconds(study),
        )  # fmt: skip
        killer.join()
    rows = load.by_phase(result, stretch, counts, study.plan["slo"])
    row = load.figures(result) | {"phases": rows, "splits": watch.changes, "metrics": telling_metrics()}
    row["seconds"] = load.every_second(result, plan["seconds"], study.plan["slo"])
    study.write(what="faults", offered=counts[0], **row)
    study.say(
        f"two kills: {result['completed']} of {counts[0]} completed, failed {result['failed']} {result['failures']}, "
        f"abandoned {result['abandoned']}, attained {rows[0]['attainment']}, splits {watch.changes}, errors {row['errors']}"
    )


def kill(study, router, load_s):
    """Of a role that has more than one worker: without one there is nothing to route around."""
    began = time.monotonic()
    for share, role in KILLS:
        time.sleep(max(0.0, share * load_s - (time.monotonic() - began)))
        prefill, decode = parts(router.ratio()["split"])
        if role == "prefill" and prefill < 2:
            role = "decode"
        elif role == "decode" and decode < 2:
            role = "prefill"
        port = study.rig.of_role(role)[-1]
        study.rig.kill(port)
        study.say(f"killed the {role} worker on {port}")
        study.write(what="kill", role=role, port=port, after_s=round(time.monotonic() - began, 1))


def telling_metrics():
    """What the router counted of failures and retries."""
    text = call(METRICS_PORT, "GET", "/metrics")[1]
    found = (TELLING.match(line) for line in str(text).splitlines())
    return {match[1]: float(match[2]) for match in found if match}
