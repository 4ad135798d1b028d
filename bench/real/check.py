#!/usr/bin/env python3
"""What a client sees through the router in front of real SGLang workers: one line for each thing that is checked.

    SGLANG_RIG=DIR bench/real/check.py [--peer-python PYTHON] [--out DIR]

Shapes of requests, clients that leave, aborts, role changes in place under load, the stale name of a prefill worker that
came back, and kill -9 of workers. Runs on the CPU rig with three workers. Exit code 1: something was not as it should be.
Standard library only, but for the rig's own client.
"""

import argparse
import http.client
import json
import pathlib
import subprocess
import sys
import threading
import time

import load
import plans
from rig import Rig, get_json
from router import PORT, Router, Watch, call

SPLIT, OTHER = "1P2D", "2P1D"
FREE_S = 10  # until workers have let go of a request that nobody wants any more
STALE_S = 15  # a decode worker that takes a prefill worker for what it was waits for 20 s here, 300 s by default
GENERATE = {"text": "The capital of France is", "sampling_params": {"max_new_tokens": 8, "temperature": 0, "ignore_eos": True}}
OPENAI = {"max_tokens": 8, "temperature": 0, "ignore_eos": True}
CHAT = OPENAI | {"messages": [{"role": "user", "content": "hi"}]}
COMPLETION = OPENAI | {"prompt": "Hello world"}
LONG = {"text": "On and on", "sampling_params": {"max_new_tokens": 2000, "temperature": 0, "ignore_eos": True}, "stream": True}


class Checks:
    def __init__(self, out):
        self.out, self.failed = pathlib.Path(out), 0
        self.out.mkdir(parents=True, exist_ok=True)

    def check(self, what, good, *found):
        self.failed += not good
        print("ok  " if good else "FAIL", what, *found, flush=True)
        with (self.out / "check.jsonl").open("a") as out:
            out.write(json.dumps({"what": what, "good": bool(good), "found": [str(one) for one in found]}) + "\n")


def post(path, body, port=PORT, timeout=60):
    """(status, whole body)"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def events(text):
    return [json.loads(one[6:]) for one in text.split("\n\n") if one.startswith("data: {")]


def text_of(answer):
    """Of one answer or of one event; of several samples all."""
    if isinstance(answer, list):
        return [text for one in answer for text in text_of(one)]
    if "choices" in answer:
        pieces = [choice.get("text") or (choice.get("message") or choice.get("delta") or {}).get("content") for choice in answer["choices"]]
        return [piece or "" for piece in pieces]
    return [answer.get("text", "")]


def shapes(checks, model):
    """The same text streamed and not, from every endpoint; batches; logprobs."""
    for path, body in (("/generate", GENERATE), ("/v1/completions", COMPLETION), ("/v1/chat/completions", CHAT)):
        body = body if path == "/generate" else body | {"model": model}
        status, whole = post(path, body)
        status_streamed, stream = post(path, body | {"stream": True})
        pieces = [text_of(one)[:1] for one in events(stream)]
        streamed = pieces[-1][0] if path == "/generate" else "".join(piece[0] for piece in pieces if piece)
        wanted = text_of(json.loads(whole))[0] if status == 200 else None
        checks.check(f"{path}: the same answer streamed and not", status == status_streamed == 200 and streamed == wanted and wanted,
                     repr(wanted)[:40])  # fmt: skip
        checks.check(f"{path}: the stream ends with [DONE]", stream.rstrip().endswith("data: [DONE]"))
    one = [text_of(json.loads(post("/generate", GENERATE | {"text": text})[1]))[0] for text in ("One", "Two")]
    status, both = post("/generate", GENERATE | {"text": ["One", "Two"]})
    checks.check("/generate: a batch answers as its members alone", status == 200 and text_of(json.loads(both)) == one)
    status, both = post("/v1/completions", COMPLETION | {"model": model, "prompt": ["One", "Two"]})
    checks.check("/v1/completions: two prompts, two answers", status == 200 and len(json.loads(both)["choices"]) == 2, status)
    status, several = post("/v1/completions", COMPLETION | {"model": model, "n": 3})
    checks.check("/v1/completions: n=3", status == 200 and len(json.loads(several)["choices"]) == 3, status)
    asked = {"return_logprob": True, "logprob_start_len": 0}
    for stream in (False, True):
        status, answer = post("/generate", GENERATE | asked | {"stream": stream})
        last = (events(answer)[-1] if stream else json.loads(answer)) if status == 200 else {}
        meta = last.get("meta_info", {})
        prompt, output = meta.get("input_token_logprobs") or [], meta.get("output_token_logprobs") or []
        checks.check(f"/generate: logprobs of prompt and answer, {'streamed' if stream else 'whole'}",
                     len(prompt) == meta.get("prompt_tokens") and len(output) == 8, len(prompt), len(output))  # fmt: skip
    status, answer = post("/generate", {"sampling_params": {}})
    checks.check("a request that the worker refuses stays a 4xx", 400 <= status < 500, status, answer[:80])


def held(rig):
    """Requests anywhere in the workers."""
    total = 0
    for port in rig.ports:
        answer = get_json(port, "/v1/loads?include=all")
        for one in answer["loads"] if answer else []:
            queues = one.get("disaggregation") or {}
            total += one["num_running_reqs"] + one["num_waiting_reqs"]
            total += sum(value for key, value in queues.items() if key.endswith("_queue_reqs"))
    return total


def seconds_until_free(rig):
    began = time.monotonic()
    while time.monotonic() - began < FREE_S:
        if held(rig) == 0:
            return round(time.monotonic() - began, 1)
        time.sleep(0.2)
    return None


def open_stream(body):
    """A stream whose first event has come."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    connection.request("POST", "/generate", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.readline()
    return connection, answer


def leaving(checks, rig):
    connection, answer = open_stream(LONG)
    running = held(rig)
    answer.close()
    connection.close()
    free = seconds_until_free(rig)
    checks.check("a client that leaves: the workers are free", running and free is not None, f"{free} s")

    connection, answer = open_stream(LONG | {"rid": "abort-me"})
    status, _ = post("/abort_request", {"rid": "abort-me"})
    last = events(answer.read().decode())[-1:]
    reason = last and last[0].get("meta_info", {}).get("finish_reason")
    connection.close()
    free = seconds_until_free(rig)
    checks.check("/abort_request: the stream ends as aborted", status == 200 and reason and reason["type"] == "abort", reason, f"{free} s")


def in_background(rig, router, seconds, rate, mix, out, **at):
    """A load, and what happens to the workers while it runs: {after seconds: action}. Its result and the changes seen."""
    path = pathlib.Path(out) / "trace.jsonl"
    counts, _ = load.alternating(path, [(seconds, rate, *mix)], 1)

    def act():
        began = time.monotonic()
        for after, action in at["acts"]:
            time.sleep(max(0.0, after - (time.monotonic() - began)))
            action()

    thread = threading.Thread(target=act)
    with Watch(router) as watch:
        thread.start()
        result = load.serve(router.url, rig, "--dataset-name", "trace", "--dataset-path", path, timeout=seconds + 120)
        thread.join()
    return counts[0], result, watch.changes


def role_changes(checks, rig, router, out):
    """Prefill, decode and prefill again, twice, under load."""
    acts = [(5 + 15 * number, lambda split=split: router.ask(split)) for number, split in enumerate((OTHER, SPLIT, OTHER, SPLIT))]
    offered, result, changes = in_background(rig, router, 65, 1.0, (64, 16), out, acts=acts)
    splits = [change[1] for change in changes]
    worst = max(result["ttfts"])
    checks.check("four role changes in place under load: no request failed", result["failed"] == 0 and result["completed"] == offered,
                 f"{result['completed']} of {offered}", result["failures"], changes)  # fmt: skip
    checks.check("each change was made", splits.count(OTHER) >= 2 and splits[-1] == SPLIT, f"{len(changes)} changes seen")
    checks.check("nobody met a stale prefill worker", worst < STALE_S, f"longest TTFT {worst:.1f} s")


def stale_name(checks, rig, router):
    """The trap itself, without the router: a worker comes back as prefill and is called by the name it had."""
    def once(name):
        command = [rig.python, rig.folder / "client/pair.py", "--isl", 32, "--osl", 4, "-n", 1, "-c", 1, "--timeout", 60]
        command += ["--prefill", rig.of_role("prefill")[-1], "--decode", rig.of_role("decode")[-1], "--host-spelling", name]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)
        seen = json.loads(done.stdout.strip().splitlines()[-1])
        return seen["ok"] == 1, seen["wall_s"]

    first, name = rig.of_role("prefill")[-1], load.spelling()
    before, _ = once(name)
    # The only prefill worker becomes a decode worker once another has taken its place, and comes back.
    router.move_to(OTHER)
    flip(rig, first, "decode")
    flip(rig, first, "prefill")
    stale, seconds = once(name)
    again, _ = once(load.spelling())
    checks.check("without the router: the old name hangs, a new spelling doesn't", before and not stale and again,
                 f"old name: ok {stale} after {seconds} s")  # fmt: skip
    router.move_to(SPLIT)


def flip(rig, port, role):
    subprocess.run([rig.python, rig.folder / "client/flip.py", str(port), role], check=True, capture_output=True, timeout=120)


def kills(checks, rig, router, out):
    """A decode worker of two, and then the prefill worker of one."""
    victim = rig.of_role("decode")[-1]
    offered, result, _ = in_background(rig, router, 40, 1.0, (64, 32), out, acts=[(10, lambda: rig.kill(victim))])
    kinds = result["failures"]
    checks.check("kill -9 of one decode worker of two: the rest is served", result["completed"] + result["failed"] == offered
                 and result["failed"] <= plans.CPU["concurrency"] and max(result["ttfts"]) < STALE_S,
                 f"{result['completed']} of {offered}", kinds, [error for error in result["errors"] if error][:2])  # fmt: skip
    victim = rig.of_role("prefill")[-1]
    offered, result, _ = in_background(rig, router, 20, 1.0, (64, 32), out, acts=[(8, lambda: rig.kill(victim))])
    checks.check("kill -9 of the only prefill worker: every client gets an answer or an error, soon", result["completed"]
                 + result["failed"] == offered, f"{result['completed']} of {offered}", result["failures"])  # fmt: skip
    free = seconds_until_free(rig)
    checks.check("and the decode worker holds nothing", free is not None, f"{free} s")
    status, answer = post("/generate", GENERATE)
    checks.check("without a prefill worker: an error that says so", status == 503, status, answer[:120])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="target/real")
    parser.add_argument("--stop", action="store_true", help="end the workers afterwards")
    args = parser.parse_args()
    rig, checks = Rig(), Checks(args.out)
    print(rig.start(SPLIT, plans.CPU["start_s"]), flush=True)
    flags = ["--planner", "fixed", "--worker-model", plans.CPU["model"], "--role-change-cooldown-secs", 0]
    try:
        with Router(rig.flags(), checks.out / "router.log", *flags) as router:
            router.wait_ready()
            router.move_to(SPLIT)
            shapes(checks, call(PORT, "GET", "/v1/models")[1]["data"][0]["id"])
            leaving(checks, rig)
            role_changes(checks, rig, router, args.out)
            stale_name(checks, rig, router)
            kills(checks, rig, router, args.out)
    finally:
        if args.stop:
            rig.stop()
    sys.exit(checks.failed > 0)


if __name__ == "__main__":
    main()
