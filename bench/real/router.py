"""The router in front of the rig's workers, and the peer that it is compared with.

A router is a process; it is asked over HTTP, and its split is set by POST /ratio. Standard library only.
"""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

from rig import LANE

FIRST_PORT, PORTS_A_LANE = 8100, 20
PORT, METRICS_PORT, PEER_PORT, PEER_METRICS_PORT = (
    FIRST_PORT + PORTS_A_LANE * LANE + offset for offset in (0, 1, 10, 11)
)  # fmt: skip
READY_S, LOOK_S, STOP_S = 60, 0.25, 20
BINARY = os.environ.get("ADAPTIVE_ROUTER", "target/release/adaptive-router")


def call(port, method, path, body=None, timeout=10):
    """(status, JSON or text); status 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        text = json.dumps(body) if body is not None else None
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text
    except (OSError, http.client.HTTPException) as problem:
        return 0, repr(problem)
    finally:
        connection.close()


class Process:
    """A server of its own process group, with its output in a file."""

    def __init__(self, command, port, log, environment=None):
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.log = pathlib.Path(log)
        with self.log.open("a") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True, env=os.environ | (environment or {}),
            )  # fmt: skip

    def wait_ready(self, seconds=READY_S, path="/readiness"):
        """Until it has a worker of each role; with another path, until that answers."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if call(self.port, "GET", path, timeout=2)[0] == 200:
                return self
            if self.process.poll() is not None:
                break
            time.sleep(LOOK_S)
        self.stop()
        tail = self.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the router on port {self.port} did not become ready:\n{tail}")

    def stop(self):
        """Ends it: requests in flight have ended or are not to."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Router(Process):
    """adaptive-router under the ratio controller, whose planner may be `fixed`."""

    def __init__(self, workers, log, *flags):
        command = [BINARY, *workers, "--policy", "ratio-controller", "--host", "127.0.0.1", "--port", PORT]
        command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", METRICS_PORT]
        command += ["--worker-startup-check-interval", 1, "--health-check-interval-secs", 2]
        command += ["--shutdown-grace-period-secs", 5, *flags]
        super().__init__(command, PORT, log)

    def ratio(self):
        answer = call(self.port, "GET", "/ratio")[1]
        return answer if isinstance(answer, dict) else {}

    def ask(self, split):
        status, answer = call(self.port, "POST", "/ratio", {"split": split})
        if status != 200:
            raise RuntimeError(f"POST /ratio {split}: {status} {answer}")

    def move_to(self, split, seconds=120):
        """Pins a split and waits until the workers have it. How long that took, in seconds."""
        began = time.monotonic()
        self.ask(split)
        while time.monotonic() - began < seconds:
            seen = self.ratio()
            if seen.get("split") == split and not seen.get("moving"):
                return time.monotonic() - began
            time.sleep(LOOK_S)
        raise RuntimeError(f"not at {split} after {seconds} s: {seen}")


class Peer(Process):
    """sglang-router 0.3.2 in front of the same workers. `name` is the loopback name under which decode workers are told of
    prefill workers: one that they know nothing of, since they remember a prefill worker's ranks by it."""

    def __init__(self, rig, name, log, python):
        command = [python, "-m", "sglang_router.launch_router", "--pd-disaggregation", "--host", "127.0.0.1"]
        command += ["--port", PEER_PORT, "--prometheus-port", PEER_METRICS_PORT, "--policy", "round_robin"]
        command += ["--worker-startup-check-interval", 1]
        for port in rig.of_role("prefill"):
            command += ["--prefill", f"http://{name}:{port}", rig.bootstrap(port)]
        for port in rig.of_role("decode"):
            command += ["--decode", f"http://127.0.0.1:{port}"]
        super().__init__(command, PEER_PORT, log)


class Watch:
    """Writes down each change of the split and of what moves, with its time, while a block runs."""

    def __init__(self, router):
        self.router, self.changes, self.moves = router, [], 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        began, last = time.monotonic(), None
        while not self.stopped.wait(LOOK_S):
            seen = self.router.ratio()
            now = (seen.get("split"), tuple(f"{m['worker'][-5:]} {m['from']}>{m['to']}" for m in seen.get("moving", [])))
            if now != last and seen:
                self.changes.append([round(time.monotonic() - began, 1), now[0], *now[1]])
                last = now
            self.moves = seen.get("moves_last_hour", self.moves)

    def __enter__(self):
        self.before = self.router.ratio().get("moves_last_hour", 0)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        self.moves -= self.before


def peer_python():
    """A Python with sglang_router, or None."""
    for python in (os.environ.get("PEER_PYTHON"), sys.executable, "python3"):
        if python and subprocess.run([python, "-c", "import sglang_router"], capture_output=True, check=False).returncode == 0:
            return python
    return None
