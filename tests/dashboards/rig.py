"""The processes of the live test: simulated workers, the router in front of them, load on it, Prometheus beside it."""

import http.client
import json
import os
import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml
from expressions import DASHBOARDS, REPOSITORY

LOGS = REPOSITORY / "target" / "dashboards"
ROUTER = os.environ.get("ADAPTIVE_ROUTER", str(REPOSITORY / "target/debug/adaptive-router"))
PD_BENCH = os.environ.get("PD_BENCH", str(REPOSITORY / "target/debug/pd-bench"))

WORKERS = 4
# A condition here comes true within a second or two; the limit is for a machine that builds something else meanwhile.
LIMIT_S = 30.0
POLL_S = 0.1

# Requests that are turned away at the head are retried; a stream that breaks in its middle goes on elsewhere where its
# request was kept, for which there is room for a few only, and else fails. Few enough on each worker that no circuit
# breaker opens (10 in a row).
FAULTS = ("refuse:status=503,probability=0.1,limit=4", "error_event:after_tokens=3,probability=0.1,limit=4")
# Small enough that the load waits in the queue, and a burst finds it full.
PLACES = 24
QUEUE = 24
LOAD = 32
BURST = 2 * (PLACES + QUEUE)
JSON = {"content-type": "application/json"}
# Far more than the load sends before it is stopped.
REQUESTS = 1_000_000


class Rig:
    def __init__(self, stack: ExitStack) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self._stack = stack
        self.router_port, self.metrics_port, self.prometheus_port = free_ports(3)
        self.first_worker = free_row(2 * WORKERS)

    @property
    def router_instance(self) -> str:
        """The router as Prometheus labels it."""
        return f"127.0.0.1:{self.metrics_port}"

    @property
    def worker_count(self) -> int:
        return WORKERS

    def start_fleet(self) -> None:
        flags = [f"--fault={fault}" for fault in FAULTS]
        ports = ["--first-port", self.first_worker, "--first-bootstrap-port", self.first_worker + WORKERS]
        pace = ["--time-scale", "0.5", "--enable-pd-role-switch"]
        log = self._start("fleet", PD_BENCH, "simulated-fleet", *pace, *ports, *flags)
        until("the fleet says how to start a router", lambda: "adaptive-router" in log.read_text())
        self._router_flags = shlex.split(log.read_text().splitlines()[-1])[1:]

    def start_router(self) -> None:
        flags = {
            "--host": "127.0.0.1",
            "--port": self.router_port,
            "--prometheus-host": "127.0.0.1",
            "--prometheus-port": self.metrics_port,
            "--policy": "ratio-controller",
            "--max-concurrent-requests": PLACES,
            "--queue-size": QUEUE,
            "--stream-continuation-max-bytes": 500,
            "--worker-startup-check-interval": 1,
            "--health-check-interval-secs": 1,
        }
        ours = [str(part) for flag in flags.items() for part in flag]
        self._start("router", ROUTER, *without_policy(self._router_flags), *ours)
        until("the router is ready", lambda: answers(f"http://127.0.0.1:{self.router_port}/readiness"))

    def start_prometheus(self, data: Path) -> None:
        config = data / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._prometheus_config()))
        address = f"127.0.0.1:{self.prometheus_port}"
        flags = [f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}"]
        self._start("prometheus", "prometheus", *flags)
        until("Prometheus is ready", lambda: answers(f"http://{address}/-/ready"))

    def start_load(self) -> None:
        """Runs until the test ends."""
        self._start("load", *self._load(), "--concurrency", LOAD, "--requests", REQUESTS)

    def burst(self) -> None:
        """More at once than the places and the queue hold."""
        command = [*self._load(), "--concurrency", BURST, "--requests", 2 * BURST]
        subprocess.run([str(part) for part in command], capture_output=True, timeout=LIMIT_S, check=False)

    def change_a_role(self) -> None:
        """Pins another split, as an operator would, and leaves it to the controller again once it is there."""
        self._ratio("1P3D")
        until("a worker has changed its role", lambda: self._ratio()["split"] == "1P3D")
        self._ratio("automatic")

    def _ratio(self, split: str | None = None) -> dict:
        body = json.dumps({"split": split}).encode() if split else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.router_port}/ratio", data=body, headers=JSON)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.load(answer)

    def hang_up(self) -> None:
        """Asks for a long stream and is gone once it has begun."""
        body = b'{"text": "gone", "stream": true, "sampling_params": {"max_new_tokens": 2000}}'
        connection = http.client.HTTPConnection("127.0.0.1", self.router_port, timeout=LIMIT_S)
        connection.request("POST", "/generate", body, JSON)
        connection.getresponse()
        connection.close()

    def make_a_mistake(self) -> None:
        """Sends what no worker accepts: there is nothing to generate from."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.router_port}/generate", data=b"{}", headers=JSON)
        try:
            urllib.request.urlopen(request, timeout=LIMIT_S)
        except urllib.error.HTTPError as error:
            if error.code == 400:
                return
            raise
        raise AssertionError("a request without a prompt was answered")

    def _load(self) -> list[object]:
        return [PD_BENCH, "load", "--url", f"http://127.0.0.1:{self.router_port}", "--mixed", "--endpoint", "mixed"]

    def _prometheus_config(self) -> dict:
        """The shipped configuration, on this test's ports and at its pace."""
        config = yaml.safe_load((DASHBOARDS / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DASHBOARDS / "prometheus" / name) for name in config["rule_files"]]
        workers = [f"127.0.0.1:{self.first_worker + place}" for place in range(WORKERS)]
        targets = {"adaptive-router": [self.router_instance], "sglang": workers}
        config["scrape_configs"] = [
            {"job_name": job["job_name"], "static_configs": [{"targets": targets[job["job_name"]]}]}
            for job in config["scrape_configs"]
        ]
        return config

    def _start(self, name: str, *command: object) -> Path:
        log = LOGS / f"{name}.log"
        log.unlink(missing_ok=True)
        self._stack.enter_context(running([str(part) for part in command], log))
        return log


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(what: str, holds: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"after {limit_s:.0f} s still not: {what}; the logs are in {LOGS}")
        time.sleep(POLL_S)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def without_policy(flags: list[str]) -> list[str]:
    """The fleet's suggestion names a policy of its own."""
    if "--policy" not in flags:
        return flags
    place = flags.index("--policy")
    return flags[:place] + flags[place + 2 :]


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def free_row(count: int) -> int:
    """The first of `count` free ports in a row, below those that outgoing connections get."""
    return next(first for first in range(12000, 30000, count) if all_free(range(first, first + count)))


def all_free(ports: range) -> bool:
    with ExitStack() as held:
        try:
            for port in ports:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
