"""Loads through a router or straight to the workers, and what came of them.

`pd-bench serve` sends to anything with one address; the rig's own client pairs workers itself, so it can do without a
router. Lengths are exact in tokens, answers run to their full length. Standard library only.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile

BINARY = os.environ.get("PD_BENCH", "target/release/pd-bench")
# Exact counts of tokens: a chunk may hold several, or none while the detokenizer waits for the rest of a character.
USAGE = json.dumps({"stream_options": {"include_usage": True, "continuous_usage_stats": True}})
# A prefill worker's name as decode workers are told it, when nobody spells it for the client.
NAME = "localhost"
OVERTIME_S = 20
KEPT = (
    "duration", "completed", "failed", "failures", "interrupted", "abandoned", "unsent", "request_throughput",
    "output_throughput", "max_concurrent_requests", "p99_late_start_ms",
)  # fmt: skip


def serve(url, rig, *flags, timeout, stop_after=None, folder=None):
    """One run of `pd-bench serve` with its detailed result. `stop_after` seconds it is interrupted: what hasn't ended by
    then is abandoned."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        command = [BINARY, "serve", "--backend", "openai", "--base-url", url, "--tokenizer", rig.model]
        command += ["--ignore-eos", "--extra-body", USAGE, "--disable-tqdm", "--percentile-metrics", "ttft,tpot,itl,e2el"]
        command += ["--metric-percentiles", "90,99", "--save-result", "--save-detailed", "--result-dir", made]
        command += ["--result-filename", "result.json", *flags]
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            text, _ = process.communicate(timeout=stop_after or timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=OVERTIME_S)
        result = pathlib.Path(made) / "result.json"
        if not result.exists():
            raise RuntimeError(f"pd-bench serve left no result: {text[-1500:]}")
        return json.loads(result.read_text())


def figures(result):
    """The part of a result that a table is made of."""
    row = {key: result[key] for key in KEPT if key in result}
    for metric in ("ttft", "tpot", "itl", "e2el"):
        for which in ("mean", "median", "p90", "p99"):
            value = result.get(f"{which}_{metric}_ms")
            row[f"{which}_{metric}_ms"] = None if value is None else round(value, 2)
    errors = [error for error in result.get("errors", []) if error]
    row["errors"] = errors[:3]
    return row


def closed(url, rig, mix, requests, concurrency, timeout, seed):
    prompt, output = mix
    result = serve(
        url, rig, "--dataset-name", "random", "--random-input-len", prompt, "--random-output-len", output, "--seed", seed,
        "--num-prompts", requests, "--max-concurrency", concurrency, timeout=timeout,
    )  # fmt: skip
    return figures(result)


def paired(rig, mix, requests, concurrency, timeout, seed, router=None):
    """The rig's own client: pairs workers round robin, or sends to a router."""
    prompt, output = mix
    command = [rig.python, rig.folder / "client/pair.py", "--api", "completions", "--isl", prompt, "--osl", output]
    command += ["-n", requests, "-c", concurrency, "--seed", seed, "--timeout", timeout]
    if router:
        command += ["--router", router]
    else:
        listed = {role: ",".join(map(str, rig.of_role(role))) for role in ("prefill", "decode")}
        command += ["--prefill", listed["prefill"], "--decode", listed["decode"], "--host-spelling", spelling()]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, check=False)
    lines = done.stdout.strip().splitlines()
    if not lines:
        raise RuntimeError(f"pair.py: {done.stderr[-1500:]}")
    seen = json.loads(lines[-1])
    row = {"completed": seen["ok"], "failed": requests - seen["ok"], "duration": seen["wall_s"]}
    row |= {"request_throughput": seen["req_s"], "output_throughput": seen["tok_s"], "errors": seen["errors"]}
    for metric in ("ttft", "itl"):
        spread = seen[f"{metric}_ms"] or {}
        row |= {f"mean_{metric}_ms": spread.get("mean"), f"median_{metric}_ms": spread.get("p50")}
    return row


def spelling():
    """A spelling of the prefill workers' name that no decode worker remembers, but by a chance of one in hundreds."""
    return "".join(random.choice((letter.lower(), letter.upper())) for letter in NAME)


def alternating(path, phases, seed):
    """Writes a trace of Poisson arrivals: phases of (seconds, requests a second, prompt, output), one after another. The
    number of requests in each, and the seconds of all."""
    dice, begin, lines, counts = random.Random(seed), 0.0, [], []
    for seconds, rate, prompt, output in phases:
        at, count = begin, 0
        while (at := at + dice.expovariate(rate)) < begin + seconds:
            lines.append({"at": round(at, 4), "prompt_tokens": prompt, "output_tokens": output})
            count += 1
        counts.append(count)
        begin += seconds
    # The clock of a trace begins with its first request.
    lines[0]["at"] = 0.0
    pathlib.Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return counts, begin


def by_phase(result, phases, counts, slo):
    """What each phase's requests got, by when they were due. Those that did not end count as missed."""
    rows, begin = [], 0.0
    times = list(zip(result["start_times"], result["ttfts"], result["latencies"], result["output_lens"]))
    for (seconds, rate, prompt, output), offered in zip(phases, counts):
        mine = [one for one in times if begin <= one[0] < begin + seconds]
        answered = [one for one in mine if one[3] > 0]
        ttfts = sorted(ttft for _, ttft, _, _ in answered)
        tpots = sorted((whole - ttft) / (length - 1) for _, ttft, whole, length in answered if length > 1)
        good = sum(
            ttft <= slo["ttft_ms"] / 1e3 and (length < 2 or (whole - ttft) / (length - 1) <= slo["tpot_ms"] / 1e3)
            for _, ttft, whole, length in answered
        )
        rows.append({
            "mix": f"{prompt}/{output}", "seconds": seconds, "rate": rate, "offered": offered, "answered": len(answered),
            "good": good, "attainment": round(good / max(1, offered), 4), "goodput": round(good / seconds, 3),
            "ttft_p50_ms": at_share(ttfts, 0.5), "ttft_p99_ms": at_share(ttfts, 0.99),
            "tpot_p50_ms": at_share(tpots, 0.5), "tpot_p99_ms": at_share(tpots, 0.99),
        })  # fmt: skip
        begin += seconds
    return rows


def at_share(values, share):
    return round(1e3 * values[min(len(values) - 1, int(share * len(values)))], 1) if values else None


def every_second(result, seconds, slo):
    """For a picture: in each second of arrival, how many were answered and how many of them kept the targets."""
    answered, good = [0] * int(seconds + 1), [0] * int(seconds + 1)
    rows = zip(result["start_times"], result["ttfts"], result["latencies"], result["output_lens"])
    for start, ttft, whole, length in rows:
        if length and start < len(answered):
            answered[int(start)] += 1
            good[int(start)] += ttft <= slo["ttft_ms"] / 1e3 and (whole - ttft) / max(1, length - 1) <= slo["tpot_ms"] / 1e3
    return {"answered": answered, "good": good}
