#!/usr/bin/env python3
"""Parts of the study on several GPUs at once, a lane a GPU, within one deadline.

    bench/real/lanes.py [--seconds 580] [--no-boot] LANE...

A LANE is what runs on one GPU: parts of `study.py` with their options, one after another and separated by semicolons, such
as 'phases --seed 2 --arms ours,2P2D; table --splits 2P2D'. The workers of all lanes are started first, side by side, and
left running, so that a second command goes on with them.

Results are in OUT as they come: rows of all lanes in results.jsonl, and in lane-N.tar.gz, written anew after each part,
what is bulky: decisions, counters, traces, logs. Where the workers of all lanes don't start, all parts run on one GPU in
the order in which they would have begun, as many as there is time for. Standard library only.
"""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
import time

STUDY = pathlib.Path(__file__).with_name("study.py")
# Kept for packing what is bulky: seconds from the last part's deadline to the end.
PACK_S = 6
# A part that outlives its deadline by so much hangs.
HANGS_S = 4
POLL_S = 0.5


class Lanes:
    def __init__(self, args):
        self.began, self.seconds = time.monotonic(), args.seconds
        self.out, self.scratch = pathlib.Path(args.out), pathlib.Path(args.scratch)
        self.out.mkdir(parents=True, exist_ok=True)
        self.writing, self.failures = threading.Lock(), 0

    def left(self):
        return self.seconds - PACK_S - (time.monotonic() - self.began)

    def say(self, *words):
        print(f"[{time.monotonic() - self.began:5.0f} s]", *words, flush=True)

    def study(self, words, lane, lanes, folder, deadline):
        """A part in a process of its own. Its exit status; None where it had to be ended."""
        environment = os.environ | {"SGLANG_RIG_LANES": str(lanes), "SGLANG_RIG_LANE": str(lane)}
        command = [sys.executable, STUDY, *words, "--out", folder, "--scratch", self.scratch, "--deadline", int(deadline)]
        process = subprocess.Popen(
            [str(word) for word in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        reader = threading.Thread(target=self.relay, args=(process, lane), daemon=True)
        reader.start()
        rows = Rows(self, folder)
        until = time.monotonic() + deadline + HANGS_S
        while process.poll() is None and time.monotonic() < until:
            rows.copy()
            time.sleep(POLL_S)
        if process.poll() is None:
            # As by Ctrl-C, so that it ends its router.
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        try:
            process.wait(HANGS_S)
        except subprocess.TimeoutExpired:
            process.kill()
        reader.join(1)
        rows.copy()
        return process.returncode

    def relay(self, process, lane):
        for line in process.stdout:
            self.say(f"lane {lane}:", line.rstrip())

    def run(self, parts, lane, lanes):
        """The parts of a lane."""
        folder = self.scratch / f"lane-{lane}"
        folder.mkdir(parents=True, exist_ok=True)
        for number, words in enumerate(parts):
            if self.left() < HANGS_S:
                self.say(f"lane {lane}: left out, no time: {' '.join(words)}")
                continue
            mine = folder / f"{number}-{words[0]}-{int(time.time())}"
            self.say(f"lane {lane}: {' '.join(words)}")
            status = self.study(words, lane, lanes, mine, self.left() - HANGS_S)
            self.failures += status != 0
            self.say(f"lane {lane}: {words[0]} ended with {status}")
            self.pack(folder, lane)

    def pack(self, folder, lane):
        target, made = self.out / f"lane-{lane}.tar.gz", self.scratch / f"lane-{lane}.tar.gz"
        with tarfile.open(made, "w:gz", compresslevel=3) as archive:
            archive.add(folder, arcname=folder.name)
        # OUT may be on another disk, where a rename is none.
        target.write_bytes(made.read_bytes())

    def boot(self, lanes, seconds):
        """Starts the workers of so many lanes, a GPU each."""
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.count("GPU ")
        if found < lanes:
            self.say(f"{found} GPUs for {lanes} lanes")
            return False
        return self.study(["boot"], 0, lanes, self.scratch / "boot", seconds) == 0


class Rows:
    """Copies the rows of a part into results.jsonl while it runs."""

    def __init__(self, lanes, folder):
        self.lanes, self.folder, self.done = lanes, folder, {}

    def copy(self):
        for path in self.folder.glob("*.jsonl"):
            if path.stem not in ("loads", "decisions", "trace"):
                text = path.read_bytes()
                whole = text.rfind(b"\n") + 1
                if whole > self.done.get(path, 0):
                    with self.lanes.writing, (self.lanes.out / "results.jsonl").open("ab") as out:
                        out.write(text[self.done.get(path, 0) : whole])
                    self.done[path] = whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lane", nargs="+")
    parser.add_argument("--seconds", type=float, default=580, help="until all is done, from the start of this program")
    parser.add_argument("--boot-s", type=float, default=230, help="for the start of the workers")
    parser.add_argument("--no-boot", action="store_true", help="for parts that start their workers themselves")
    parser.add_argument("--out", default=os.environ.get("OUT", "target/real"))
    parser.add_argument("--scratch", default="/tmp/real-study")
    args = parser.parse_args()
    parts = [[shlex.split(part) for part in lane.split(";") if part.strip()] for lane in args.lane]
    lanes = Lanes(args)

    if not args.no_boot and not lanes.boot(len(parts), args.boot_s):
        lanes.say("the workers did not start side by side: one lane")
        parts = [[part for turn in itertools.zip_longest(*parts) for part in turn if part]]
        if not lanes.boot(1, min(args.boot_s, lanes.left())):
            sys.exit("no workers")
    threads = [threading.Thread(target=lanes.run, args=(mine, lane, len(parts))) for lane, mine in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lanes.say(f"done, {lanes.failures} parts with failures")
    with (lanes.out / "results.jsonl").open("a") as out:
        out.write(json.dumps({"what": "end", "seconds": round(time.monotonic() - lanes.began, 1), "lanes": args.lane}) + "\n")
    sys.exit(lanes.failures > 0)


if __name__ == "__main__":
    main()
