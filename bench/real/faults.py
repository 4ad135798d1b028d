"""kill -9 of workers under load, and what the clients saw of it."""

import re
import threading
import time

import load
from router import METRICS_PORT, Watch, call

TAIL_S = 15
SPLIT = "2P2D"
# When, as a share of the load's time, and which role loses a worker.
KILLS = ((0.25, "decode"), (0.6, "prefill"))
TELLING = re.compile(r"^(\w*(?:retr|outcome|failed|errors|abort|breaker)\w*(?:total|state)?\{[^}]*\}) ([1-9][\d.e+]*)$")


def faults(study):
    rig, plan = study.rig, study.plan
    study.say(rig.start(SPLIT, plan["start_s"]))
    with study.router("--planner", "fixed") as router:
        router.wait_ready()
        router.move_to(SPLIT)
        mix, seconds = plan["fault"]["mix"], plan["fault"]["seconds"]
        load.closed(router.url, rig, mix, 2 * plan["concurrency"], plan["concurrency"] // 2, 90, 99)
        phases = [(seconds, plan["fault"]["rate"], *mix)]
        path = study.scratch / "faults.jsonl"
        counts, _ = load.alternating(path, phases, study.args.seed)
        killer = threading.Thread(target=kill, args=(study, seconds))
        with Watch(router) as watch:
            killer.start()
            result = load.serve(
                router.url, rig, "--dataset-name", "trace", "--dataset-path", path, timeout=None, stop_after=seconds + TAIL_S,
            )  # fmt: skip
            killer.join()
        rows = load.by_phase(result, phases, counts, plan["slo"])
        row = load.figures(result) | {"phases": rows, "splits": watch.changes, "metrics": telling_metrics()}
        row["seconds"] = load.every_second(result, seconds, plan["slo"])
        study.write(what="faults", offered=counts[0], **row)
        study.say(
            f"two kills: {result['completed']} of {counts[0]} completed, failed {result['failed']} {result['failures']}, "
            f"abandoned {result['abandoned']}, attained {rows[0]['attainment']}, splits {watch.changes}, errors {row['errors']}"
        )


def kill(study, seconds):
    began = time.monotonic()
    for share, role in KILLS:
        time.sleep(max(0.0, share * seconds - (time.monotonic() - began)))
        port = study.rig.of_role(role)[-1]
        study.rig.kill(port)
        study.say(f"killed the {role} worker on {port}")
        study.write(what="kill", role=role, port=port, after_s=round(time.monotonic() - began, 1))


def telling_metrics():
    """What the router counted of failures and retries."""
    text = call(METRICS_PORT, "GET", "/metrics")[1]
    found = (TELLING.match(line) for line in str(text).splitlines())
    return {match[1]: float(match[2]) for match in found if match}
