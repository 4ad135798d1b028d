#!/usr/bin/env python3
"""The tables of docs/real-sglang.md from what the study wrote: rows of table, phases, restart, faults, peers, continuation.

    bench/real/tables.py FILE.jsonl...      such as bench/results/h200/*.jsonl and a new results.jsonl

Markdown, one table for each kind of row that is there. A line that is no row is passed over. Standard library only.
"""

import collections
import json
import pathlib
import statistics
import sys

DONE_BEFORE = ("router", "paired", "sglang-router")


def rows(paths):
    for path in paths:
        for line in pathlib.Path(path).read_text().splitlines():
            row = json.loads(line)
            if isinstance(row, dict) and "what" in row:
                yield row | {"file": pathlib.Path(path).name}


def table(header, lines):
    print("\n| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for line in lines:
        print("| " + " | ".join(str(cell) for cell in line) + " |")


def number(value, places):
    return "–" if value is None else f"{value:.{places}f}"


def splits(found):
    """Throughput of each split under each mix, a value a repetition."""
    cells = collections.defaultdict(lambda: collections.defaultdict(dict))
    failed = requests = 0
    for row in found:
        if row["what"] == "cell":
            cells[row["mix"], row["split"]][row["arm"]][row["repetition"]] = row
            failed, requests = failed + row["failed"], requests + row["requests"]
    if not cells:
        return

    def rates(by_arm, arm):
        return ", ".join(number(row["request_throughput"], 2) for _, row in sorted(by_arm[arm].items()))

    def mean(by_arm, field):
        values = [row[field] for row in by_arm["router"].values() if row.get(field) is not None]
        return statistics.mean(values) if values else None

    print(f"\nreq/s by repetition; {requests} requests, {failed} failed")
    table(
        ("tokens in/out", "split", *DONE_BEFORE, "requests", "router: TTFT p50, s", "ITL mean, ms"),
        [
            (mix, split, *(rates(by_arm, arm) for arm in DONE_BEFORE),
             ", ".join(str(row["requests"]) for _, row in sorted(by_arm["router"].items())),
             number((mean(by_arm, "median_ttft_ms") or 0) / 1e3, 2), number(mean(by_arm, "mean_itl_ms"), 1))
            for (mix, split), by_arm in cells.items()
        ],
    )  # fmt: skip


def arms(found):
    """Traffic that changes its mix: a table for each kind of it and each seed."""
    traffic = collections.defaultdict(list)
    for row in found:
        if row["what"] == "arm":
            kind = tuple((one["mix"], one["seconds"], one["rate"]) for one in row["phases"])
            traffic[kind, row.get("seed"), row["offered"], "restart" in row["arm"], row["file"]].append(row)
    for (kind, seed, offered, _, file), mine in traffic.items():
        print(f"\n{', '.join(f'{mix} for {seconds:.0f} s at {rate}/s' for mix, seconds, rate in kind)}; {offered} requests; "
              f"seed {seed}; {file}")  # fmt: skip
        table(
            ("arm", "good", "by phase", "goodput", "TTFT p50, p99", "ITL p50, p99", "moves", "failed", "not answered at the end"),
            [
                (row["arm"], number(row["attainment"], 3), ", ".join(number(one["attainment"], 3) for one in row["phases"]),
                 number(row["goodput"], 2) + "/s",
                 f"{row['median_ttft_ms'] / 1e3:.2f}, {row['p99_ttft_ms'] / 1e3:.1f} s",
                 f"{row['median_itl_ms']:.1f}, {row['p99_itl_ms']:.1f} ms", row["moves"] or "", row["failed"],
                 row["abandoned"] + row["unsent"])
                for row in sorted(mine, key=lambda row: -row["attainment"])
            ],
        )  # fmt: skip
        for row in mine:
            if row["moves"]:
                changes = [f"{change[1]} at {change[0]:.0f} s" for change in row["splits"] if len(change) == 2]
                print(f"\n{row['arm']}: " + ", ".join(changes))


def crashes(found):
    for row in found:
        if row["what"] == "faults":
            print(f"\nkill -9 ({row['file']}): {row['completed']} of {row['offered']} in full, {row['failed']} failed "
                  f"{row['failures']}, attained {row['phases'][0]['attainment']}; splits {row['splits']}")  # fmt: skip


def answers(found):
    """Beside sglang-router."""
    for row in found:
        if row["what"] == "peers":
            print(f"\nbeside sglang-router ({row['file']}): {row['same']} of {row['of']} alike; unexpected {row['surprising']}; "
                  f"differ from themselves {row['differ_from_themselves']}")  # fmt: skip
    differing = [row for row in found if row["what"] == "peer" and row["differs"]]
    if differing:
        table(("request", "differs in", "here, there", "why"),
              [(row["name"], ", ".join(row["differs"]), f"{row['ours']}, {row['theirs']}", row["expected"]) for row in differing])  # fmt: skip


def streams(found):
    """What became of streams, undisturbed and disturbed."""
    kinds = [row for row in found if row["what"] == "streams"]
    if kinds:
        table(
            ("streams", "whole", "as undisturbed", "from a near tie on", "longest gap, ms"),
            [(row["how"], f"{row['whole']} of {row['of']}", row["equal"], row["near_ties"], row["longest_gap_ms"]) for row in kinds],
        )
    differing = [row for row in found if row["what"] == "stream" and not row["equal"]]
    if differing:
        table(("stream", "kind", "disturbed at token", "difference", "near tie", "error"),
              [(row["how"], row["kind"], row["disturbed_at"], row["difference"], row["tie"], row["error"] or "") for row in differing])  # fmt: skip
    for row in found:
        if row["what"] in ("kill", "role change") and row["part"] == "continuation":
            about = {key: value for key, value in row.items() if key not in ("part", "lane", "at_s", "what", "file", "run")}
            print(f"\n{row['what']}: {about}")


def main():
    found = list(rows(sys.argv[1:]))
    if not found:
        sys.exit(__doc__)
    for part in (splits, arms, crashes, answers, streams):
        part(found)
    wrong = [row for row in found if row.get("error") and row["what"] not in ("stream", "peer")]
    for row in wrong:
        print(f"\nwent wrong ({row['file']}): {row['what']}: {row['error'][:300]}")


if __name__ == "__main__":
    main()
