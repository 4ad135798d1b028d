"""Streams that outlive their decode worker: killed under them, or changing its role, held against undisturbed ones.

Answers are greedy and of a fixed length. First, how far an answer is the same when nothing happens: again on the same pair, on
another decode worker, through the router, beside others. Then the decode worker that writes is killed (kill -9) in the middle,
or asked to change its role while its streams have long to run (`--drain-overdue migrate`). What is compared is what clients
saw: text, token ids where the endpoint tells them, usage, the reason why it ended, and how long the gap was.
"""

import time

import load
import streams
from rig import get_json
from router import METRICS_PORT, call

# Of a stream's tokens: a group is disturbed when each has begun and half of them are so far.
BEGUN, DISTURB_AT = 0.05, 0.25
POLL_S = 0.02
BEGIN_S, MOVE_S = 30, 40
MIGRATE = ("--drain-overdue", "migrate")
KINDS = 5
DIRECTLY = 2  # of the kinds, whose answers tell their token ids


def continuation(study):
    rig, plan = study.rig, study.plan["continuation"]
    study.say(study.workers())
    split = study.plan["splits"][0]
    with study.router("--planner", "fixed", "--role-change-cooldown-secs", 0) as router:
        router.wait_ready()
        router.move_to(split)
        model = call(router.port, "GET", "/v1/models")[1]["data"][0]["id"]
        requests = streams.requests(model, plan["tokens"], plan["copies"])
        reference = study.attempt("undisturbed", 60, lambda: undisturbed(study, router, requests))
    if reference is None:
        return
    study.attempt("role change", 60, lambda: role_change(study, requests, reference))
    with study.router("--planner", "fixed", "--role-change-cooldown-secs", 0) as router:
        router.wait_ready()
        router.move_to(split)
        study.attempt("kill", 45, lambda: kill(study, router, requests, reference))


def undisturbed(study, router, requests):
    """What later answers are compared with: those of a group through the router, which is what is disturbed later."""
    rig = study.rig
    few, some = requests[:KINDS], requests[:DIRECTLY]
    prefill, decodes, name = rig.of_role("prefill")[0], rig.of_role("decode"), load.spelling()
    pairs = {decode: [streams.direct(rig, prefill, decode, name, one) for one in some] for decode in decodes}
    first = pairs[decodes[0]]
    again = [streams.direct(rig, prefill, decodes[0], name, one) for one in some]
    compare(study, router, "again on the same pair, without the router", first, again)
    if len(decodes) > 1:
        compare(study, router, "on another decode worker, without the router", first, pairs[decodes[1]])
    alone = streams.alone(router.port, few)
    compare(study, router, "alone, through the router", first, alone[:DIRECTLY])
    group = streams.wait(streams.together(router.port, requests))
    compare(study, router, "beside others, through the router", alone, group[:KINDS])
    compare(study, router, "beside others again", group, streams.wait(streams.together(router.port, requests)))
    read_anew(study, group)
    return group


def read_anew(study, group):
    """Text of random tokens is seldom read as the same tokens: what a stream that goes on from its text has to do with."""
    worker = study.rig.of_role("decode")[0]
    with_ids = [one for one in group if one.ids]
    rows = [streams.read_anew(worker, one, max(1, int(DISTURB_AT * len(one.ids)))) for one in with_ids]
    same = sum(row["same"] for row in rows)
    study.write(what="text read anew", same=same, of=len(rows), rows=rows)
    study.say(f"text so far read as the same tokens again: {same} of {len(rows)}")


def begin(router, requests):
    """A group that runs, far enough to be disturbed."""
    group = streams.together(router.port, requests)
    tokens, until = streams.length(requests[0]), time.monotonic() + BEGIN_S
    while time.monotonic() < until:
        done = sorted(one.tokens for one in group)
        if done[0] >= BEGUN * tokens and done[len(done) // 2] >= DISTURB_AT * tokens:
            break
        time.sleep(POLL_S)
    return group


def running(port):
    answer = get_json(port, "/v1/loads?include=all")
    return sum(one["num_running_reqs"] for one in (answer or {}).get("loads", []))


def role_change(study, requests, reference):
    """A decode worker becomes a prefill worker as soon as its streams have gone on elsewhere."""
    split, other = study.plan["splits"][0], study.plan["continuation"]["other_split"]
    with study.router("--planner", "fixed", "--role-change-cooldown-secs", 0, *MIGRATE) as router:
        router.wait_ready()
        router.move_to(split)
        group, began = begin(router, requests), time.monotonic()
        before = [one.tokens for one in group]
        seconds = router.move_to(other, MOVE_S)
        ran_on = sum(one.is_alive() for one in group)
        streams.wait(group)
        study.write(what="role change", to=other, seconds=round(seconds, 2), still_running=ran_on, of=len(group),
                    all_ended_after_s=round(time.monotonic() - began, 2), metrics=telling())  # fmt: skip
        study.say(f"{other} after {seconds:.1f} s, {ran_on} of {len(group)} streams still running then")
        compare(study, router, "their decode worker became a prefill worker", reference, group, before)
        router.move_to(split)


def kill(study, router, requests, reference):
    group = begin(router, requests)
    before = [one.tokens for one in group]
    victim = max(study.rig.of_role("decode"), key=running)
    held = running(victim)
    study.rig.kill(victim)
    study.say(f"killed the decode worker on {victim}, which ran {held} of {len(group)} streams")
    streams.wait(group)
    study.write(what="kill", port=victim, ran=held, of=len(group), metrics=telling())
    compare(study, router, "their decode worker was killed", reference, group, before)


def telling():
    """What the router counted of it."""
    text = str(call(METRICS_PORT, "GET", "/metrics")[1])
    return [line for line in text.splitlines() if "continu" in line and not line.startswith("#")]


def compare(study, router, how, reference, found, before=None):
    """A row a stream and one for all."""
    worker = next(iter(study.rig.of_role("decode")), None)
    equal, whole, near = 0, 0, 0
    for number, (one, other) in enumerate(zip(reference, found)):
        differs = streams.difference(one, other)
        tie = None
        if differs and "first_token" in differs and worker:
            tie = streams.near_tie(router.port, worker, one, other, differs["first_token"])
        equal, whole, near = equal + (differs is None), whole + other.whole(), near + bool(tie and tie.get("near"))
        study.write(
            what="stream", how=how, kind=other.kind, status=other.status, whole=other.whole(), error=other.error,
            usage=other.usage, finish=other.finish, equal=differs is None, difference=differs, tie=tie, events=other.events,
            gap_ms=round(other.gap_ms, 1), gap_at=other.gap_at, disturbed_at=before[number] if before else None,
        )  # fmt: skip
    longest = max((other.gap_ms for other in found), default=0)
    study.write(what="streams", how=how, of=len(found), whole=whole, equal=equal, near_ties=near, longest_gap_ms=round(longest, 1))
    study.say(f"{how}: {whole} of {len(found)} whole, {equal} equal, {near} differ from a near tie on, longest gap {longest:.0f} ms"
              + "".join(f"; {one.kind}: {one.error}" for one in found if one.error)[:600])  # fmt: skip
