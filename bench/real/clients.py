#!/usr/bin/env python3
"""The same load by three clients, and their figures beside each other: pd-bench serve, SGLang's own, and aiperf.

    bench/real/clients.py --url http://127.0.0.1:8100 --tokenizer DIR [--sglang-python PYTHON] [--aiperf PROGRAM]

Closed loop, /v1/completions, streamed, fixed lengths. A client that isn't given is left out. They take turns, and begin
with another in each repetition, since a machine isn't the same twice.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import urllib.request

PD_BENCH = os.environ.get("PD_BENCH", "target/release/pd-bench")
FIGURES = ("req/s", "ttft mean", "ttft p50", "ttft p99", "tpot mean", "itl mean", "itl p99")


def run(command, timeout):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")


def vllm_names(result):
    names = ("request_throughput", "mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "mean_itl_ms", "p99_itl_ms")
    return dict(zip(FIGURES, (result[name] for name in names))) | {"completed": result["completed"]}


def pd_bench(args, model, folder, seed):
    run([PD_BENCH, "serve", "--backend", "openai", "--base-url", args.url, "--tokenizer", args.tokenizer, "--model", model,
         "--num-prompts", args.requests, "--random-input-len", args.prompt, "--random-output-len", args.output,
         "--max-concurrency", args.concurrency, "--ignore-eos", "--seed", seed, "--disable-tqdm", "--save-result",
         "--result-dir", folder, "--result-filename", "pd-bench.json"], args.timeout)  # fmt: skip
    return vllm_names(json.loads((folder / "pd-bench.json").read_text()))


def sglang(args, model, folder, seed):
    out = folder / "sglang.jsonl"
    run([args.sglang_python, "-m", "sglang.bench_serving", "--backend", "sglang-oai", "--base-url", args.url, "--model", model,
         "--tokenizer", args.tokenizer, "--dataset-name", "random-ids", "--num-prompts", args.requests, "--random-input-len",
         args.prompt, "--random-output-len", args.output, "--random-range-ratio", 1, "--max-concurrency", args.concurrency,
         "--seed", seed, "--warmup-requests", 0, "--output-file", out], args.timeout)  # fmt: skip
    return vllm_names(json.loads(out.read_text().splitlines()[-1]))


def aiperf(args, model, folder, seed):
    run([args.aiperf, "profile", "-m", model, "--url", args.url, "--endpoint-type", "completions", "--streaming", "--tokenizer",
         args.tokenizer, "--concurrency", args.concurrency, "--request-count", args.requests, "--prompt-input-tokens-mean",
         args.prompt, "--prompt-input-tokens-stddev", 0, "--prompt-output-tokens-mean", args.output,
         "--prompt-output-tokens-stddev", 0, "--extra-inputs", "ignore_eos:true", "--use-server-token-count", "--random-seed", seed, "--ui-type", "none",
         "--output-artifact-dir", folder], args.timeout)  # fmt: skip
    found = json.loads(next(folder.rglob("profile_export_aiperf.json")).read_text())
    ttft, gaps = found["time_to_first_token"], found["inter_token_latency"]
    # Its inter-token latency is one mean for each request: what the others call TPOT.
    values = (found["request_throughput"]["avg"], ttft["avg"], ttft["p50"], ttft["p99"], gaps["avg"], None, None)
    return dict(zip(FIGURES, values)) | {"completed": found["request_count"]["avg"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8100")
    parser.add_argument("--tokenizer", required=True, help="folder of a Hugging Face tokenizer")
    parser.add_argument("--sglang-python", help="a Python with sglang")
    parser.add_argument("--aiperf", help="the program")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--output", type=int, default=128)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--out", type=pathlib.Path, help="a JSON line for each run is added to this file")
    args = parser.parse_args()
    with urllib.request.urlopen(args.url + "/v1/models", timeout=10) as answer:
        model = json.load(answer)["data"][0]["id"]

    clients = {"pd-bench serve": pd_bench}
    clients |= {"sglang.bench_serving": sglang} if args.sglang_python else {}
    clients |= {"aiperf": aiperf} if args.aiperf else {}
    rows = {name: [] for name in clients}
    for repetition in range(args.repetitions):
        order = list(clients)
        for name in order[repetition % len(order) :] + order[: repetition % len(order)]:
            with tempfile.TemporaryDirectory() as folder:
                row = clients[name](args, model, pathlib.Path(folder), repetition + 1)
            rows[name].append(row)
            print(repetition, name, row, flush=True)
            if args.out:
                with args.out.open("a") as out:
                    out.write(json.dumps({"client": name, "repetition": repetition, **row}) + "\n")

    print(f"\n{args.requests} requests of {args.prompt}/{args.output} tokens, {args.concurrency} at a time; medians of {args.repetitions}\n")
    print("| client | " + " | ".join(FIGURES) + " |\n|---" + "|---" * len(FIGURES) + "|")
    for name, mine in rows.items():
        cells = []
        for figure in FIGURES:
            values = [row[figure] for row in mine if row[figure] is not None]
            cells.append(f"{statistics.median(values):.2f}" if values else "–")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
