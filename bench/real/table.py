"""Each split under each mix: through the router, paired by a client without one, and through sglang-router."""

import socket

import load
from counters import Counters
from router import Peer, peer_python

SPARE_S = 8  # a cell begins only with so much more than it takes
WARM_UP = 24


def table(study):
    rig, plan = study.rig, study.plan
    study.say(study.workers())
    study.write(what="start", roles=[rig.role(port) for port in rig.ports])
    # Nobody waits in the router: what is compared is pairing.
    with study.router("--planner", "fixed", "--prefill-queue-tokens", 0, "--role-change-cooldown-secs", 0) as router, Counters(study):
        router.wait_ready()
        peers, python = fresh_names(study), peer_python()
        first = study.args.first_repetition
        for repetition in range(first, first + study.args.repetitions):
            turn = repetition % len(plan["splits"])
            for split in plan["splits"][turn:] + plan["splits"][:turn]:
                if study.args.splits and split not in study.args.splits.split(","):
                    continue
                if study.attempt(f"move to {split}", 30, lambda: move(study, router, split)) is None:
                    return
                if repetition == first:
                    warm_up(study, router, split)
                # In turns of mixes, so that what is cut off at the end is cut off evenly.
                for number, mix in enumerate(plan["mixes"]):
                    cell(study, "router", split, mix, repetition, router)
                    if number < 2 and repetition != 1:
                        cell(study, "paired", split, mix, repetition, router)
                if repetition != 1 and python and (name := next(peers, None)):
                    study.attempt(f"sglang-router on {split}", 40, lambda: through_peer(study, split, name, python, router, repetition))
        study.write(what="end", ratio=router.ratio())


def move(study, router, split):
    seconds = router.move_to(split)
    study.say(f"{split} after {seconds:.1f} s")
    study.write(what="move", split=split, seconds=round(seconds, 2))
    return split


def warm_up(study, router, split):
    """Workers compile kernels at their first requests of a kind."""
    study.cell = "warm-up"
    concurrency = study.plan["concurrency"] // 2
    for mix in study.plan["mixes"]:
        short = (mix[0], min(mix[1], 64))
        study.attempt(f"warm-up {split} {mix}", 40, lambda: load.closed(
            router.url, study.rig, short, min(WARM_UP, 3 * concurrency), concurrency, 60, seed=99))  # fmt: skip
    study.say("warm")


def cell(study, arm, split, mix, repetition, router, url=None):
    """One measurement."""
    plan = study.plan
    known = plan["known"][split][plan["mixes"].index(mix)]
    requests = plan["requests"].get(mix) or max(2 * plan["concurrency"], round(known * plan["cell_s"]))
    expected = requests / known
    name = f"{arm} {split} {mix[0]}/{mix[1]} #{repetition}"
    study.cell = name
    seed = 10 * repetition + plan["mixes"].index(mix)

    def run():
        limit = max(plan["cell_limit_s"], 4 * expected)
        if arm == "paired":
            row = load.paired(study.rig, mix, requests, plan["concurrency"], limit, seed)
        elif arm == "paired client, router":
            row = load.paired(study.rig, mix, requests, plan["concurrency"], limit, seed, router.url)
        else:
            row = load.closed(url or router.url, study.rig, mix, requests, plan["concurrency"], limit, seed)
        study.write(what="cell", arm=arm, split=split, mix=f"{mix[0]}/{mix[1]}", repetition=repetition, requests=requests,
                    concurrency=plan["concurrency"], **row)  # fmt: skip
        study.say(
            f"{name}: {row['request_throughput']:.2f} req/s, ttft {row['median_ttft_ms']} ms, itl {row['mean_itl_ms']} ms, "
            f"failed {row['failed']} {row['errors'][:1] or ''}"
        )

    study.attempt(name, expected + SPARE_S, run)
    study.cell = None


def through_peer(study, split, name, python, router, repetition):
    """The same cells through the peer; and the rig's client through this router, for the difference that a client makes."""
    with Peer(study.rig, name, study.out / "peer.log", python) as peer:
        peer.wait_ready(30)
        for mix in study.plan["mixes"][:2]:
            cell(study, "sglang-router", split, mix, repetition, router, peer.url)
    if repetition == 0 and split == study.plan["splits"][0]:
        for mix in study.plan["mixes"][:2]:
            cell(study, "paired client, router", split, mix, 0, router)


def fresh_names(study):
    """Loopback names that no decode worker knows a prefill worker by. The peer writes letters small, so spelling one name
    in several ways is no way out for it. Each part of the study that needs them begins with another name, since workers
    live through several parts."""
    names = ("127.0.0.1", "localhost", *(f"loop{number}" for number in range(1, 13)))
    for name in names[study.args.first_name :]:
        try:
            if socket.gethostbyname(name) == "127.0.0.1":
                yield name
        except OSError:
            continue
