"""The router under test with its simulated workers, and a load for it, as processes on free ports."""

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request

from browser import until


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Router:
    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        self.spawn(os.environ["ADAPTIVE_ROUTER"], "--policy", "ratio-controller", "--simulate", "--host", "127.0.0.1",
                   "--port", str(self.port), "--prometheus-port", "0")
        until(lambda: answers(f"{self.url}/readiness"), "the router is ready", limit=20)

    def load(self):
        """More requests than are answered before the test is over."""
        self.spawn(os.environ["PD_BENCH"], "load", "--url", self.url, "--requests", "100000", "--concurrency", "32",
                   "--stream")

    def steer(self, split):
        wish = json.dumps({"split": split}).encode()
        with urllib.request.urlopen(f"{self.url}/ratio", data=wish, timeout=5) as answer:
            return json.load(answer)

    def page(self):
        """The page as the binary has it, and the headers that tell a browser what it may do."""
        with urllib.request.urlopen(f"{self.url}/ui", timeout=5) as answer:
            kept = ("content-type", "content-security-policy")
            return answer.read(), {name: answer.headers[name] for name in kept}

    def kill(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.processes.clear()

    def spawn(self, *command):
        self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
