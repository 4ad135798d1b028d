"""Real SGLang workers on this machine, as a rig starts them.

A rig is a folder outside the repository with SGLang 0.5.23 and the scripts that start it: `cpu/rig.sh` (a tiny model on
the CPU, to see whether a router is right) and `gpu/workers.sh` (four workers that share one GPU, to see what a split
does). It is found by SGLANG_RIG; SGLANG_RIG_KIND says which of the two, by default gpu where there is nvidia-smi.
Weights are random in both, so answers are noise of a fixed length. Standard library only.
"""

import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

FIRST_PORT, FIRST_BOOTSTRAP = 30000, 9000
# Several sets of workers side by side, each in a lane of its own with a GPU, a router and clients of its own: worker i of
# lane l is the rig's worker i * LANES + l, which the rig puts on GPU l, where there are as many GPUs as lanes.
LANES, LANE = int(os.environ.get("SGLANG_RIG_LANES", "1")), int(os.environ.get("SGLANG_RIG_LANE", "0"))
QUESTION_S = 5

# What the GPU's workers are started with. A limit of 16 requests gives each decode worker a capacity of its own: workers
# on one GPU share its memory bandwidth, so that without it one decode worker would do as well as three.
MODEL, SHARE = "model-wide", 25
MAX_RUNNING = int(os.environ.get("SGLANG_RIG_MAX_RUNNING", "16"))
MPS_PIPES = "/tmp/mps"
STOP_S = 15  # from SIGTERM to SIGKILL: an idle worker takes 2 to 5 s to end


def get_json(port, path):
    """The answer's JSON, or None where nobody gives one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=QUESTION_S)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def status(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=QUESTION_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


class Rig:
    """The workers of this lane, by port."""

    def __init__(self):
        folder = os.environ.get("SGLANG_RIG")
        if not folder:
            print("skipped: SGLANG_RIG names no rig of SGLang workers")
            sys.exit(0)
        self.folder = pathlib.Path(folder)
        kind = os.environ.get("SGLANG_RIG_KIND") or ("gpu" if shutil.which("nvidia-smi") else "cpu")
        self.gpu = kind == "gpu"
        self.run = pathlib.Path("/tmp/sglang-rig") if self.gpu else self.home() / "run"
        self.ports = []

    @staticmethod
    def home():
        return pathlib.Path(os.environ.get("RIG_HOME", pathlib.Path.home() / ".cache/sglang-rig"))

    @property
    def model(self):
        """The folder with the tokenizer."""
        return self.folder / ("gpu/" + MODEL if self.gpu else "cpu/model-tiny")

    @property
    def python(self):
        """A Python that has what SGLang's own clients need."""
        return "python3" if self.gpu else str(self.home() / "venv/bin/python")

    def lane_ports(self, split, lane=LANE):
        return [FIRST_PORT + lane + LANES * number for number in range(sum(parts(split)))]

    def start(self, split, seconds):
        """Starts the workers of all lanes, or takes those that run where they are as many and ready."""
        prefill, decode = (LANES * count for count in parts(split))
        self.ports = self.lane_ports(split)
        every = sorted(port for lane in range(LANES) for port in self.lane_ports(split, lane))
        roles = [self.role(port) for port in every]
        if all(roles) and all(status(port, "/ready") == 200 for port in every):
            return "running already as " + ",".join(roles)
        self.stop()
        began = time.monotonic()
        if self.gpu:
            wanted = ",".join(["prefill"] * prefill + ["decode"] * decode)
            command = ["bash", self.folder / "gpu/workers.sh", "start", "--roles", wanted, "--model", MODEL]
            command += ["--share", SHARE, "--max-running", MAX_RUNNING, "--graph", 1, "--timeout", int(seconds)]
        else:
            command = ["bash", self.folder / "cpu/rig.sh", "start", "--prefill", prefill, "--decode", decode]
        subprocess.run([str(word) for word in command], check=True, env=self.environment(), timeout=seconds + 30)
        return f"started in {time.monotonic() - began:.0f} s"

    def environment(self):
        # The GPU's scripts would log into OUT, which only so many files come back from.
        # Timeouts are SGLang's own here (300 s): the rig's are for tests of the timeouts themselves.
        # A lane a GPU, also where the machine has more of them.
        return os.environ | {"LOG_DIR": str(self.run), "BTO": "300", "WTO": "300", "GPUS": str(LANES)}

    def stop(self):
        script = "gpu/workers.sh" if self.gpu else "cpu/rig.sh"
        subprocess.run(["bash", self.folder / script, "stop"], env=self.environment(), check=False)

    def take(self, split):
        """The workers of this lane, which were started with those of all others."""
        self.ports = self.lane_ports(split)
        absent = [port for port in self.ports if status(port, "/ready") != 200]
        if absent:
            raise RuntimeError(f"the workers on {absent} are not ready; `study.py boot` starts all lanes'")
        return "running as " + ",".join(str(self.role(port)) for port in self.ports)

    def end(self, ports):
        """SIGTERM to the main processes of these workers, and SIGKILL to what is left of them in time."""
        pids = {port: self.pid(port) for port in ports}
        for pid in filter(None, pids.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + STOP_S
        while time.monotonic() < until and any(self.pid(port) for port in ports):
            time.sleep(0.2)
        for pid in filter(None, pids.values()):
            kill_group(pid)

    def role(self, port):
        """The live one: /server_info keeps the role of the launch."""
        info = get_json(port, "/model_info")
        return info and info.get("disaggregation_mode")

    def flags(self):
        """The workers as the router's flags, in the roles that they have now."""
        words = ["--pd-disaggregation"]
        for port in self.ports:
            url = f"http://127.0.0.1:{port}"
            if self.role(port) == "prefill":
                words += ["--prefill", url, str(self.bootstrap(port))]
            else:
                words += ["--decode", url]
        return words

    def of_role(self, role):
        return [port for port in self.ports if self.role(port) == role]

    @staticmethod
    def bootstrap(port):
        return port - FIRST_PORT + FIRST_BOOTSTRAP

    @staticmethod
    def pid(port):
        """The main process of the worker on a port, whoever started it: it leads the group of the others."""
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                if "sglang.launch_server" in words and words[words.index("--port") + 1] == str(port):
                    if os.getpgid(int(folder.name)) == int(folder.name):
                        return int(folder.name)
        return None

    def kill(self, port):
        """kill -9 of a worker: its main process and its scheduler."""
        kill_group(self.pid(port))

    def cluster_file(self, path, split):
        """Writes a cluster file with which the router starts the same workers itself, each by the rig's script."""
        prefill, _ = parts(split)
        self.ports = self.lane_ports(split)
        if self.gpu:
            words = ["bash", str(self.folder / "gpu/worker.sh"), "{role}", str(LANE), "{port}", "{bootstrap_port}"]
            settings = {"MODEL": MODEL, "MAXRUN": str(MAX_RUNNING), "GRAPH": "1", "BTO": "300", "WTO": "300"}
            settings |= {"CUDA_MPS_PIPE_DIRECTORY": MPS_PIPES, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(SHARE)}
        else:
            words = ["bash", str(self.folder / "cpu/rig.sh"), "worker", "{role}", "{port}", "{bootstrap_port}"]
            settings = {"RIG_HOME": str(self.home())}
        lines = ["[defaults]", f'model = "{self.model}"', 'transfer_backend = "mooncake"', 'launcher = "process"']
        lines += [f"command = {json.dumps(words)}", "[defaults.env]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        for number, port in enumerate(self.ports):
            role = "prefill" if number < prefill else "decode"
            lines += ["[[worker]]", f'name = "worker-{number}"', f'role = "{role}"', "gpus = []"]
            lines += [f"port = {port}", f"bootstrap_port = {self.bootstrap(port)}"]
        pathlib.Path(path).write_text("\n".join(lines) + "\n")

    def start_mps(self):
        """Where no daemon runs: the rig's scripts leave a mark of theirs. Lanes share it."""
        if not self.gpu:
            return
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / "mps.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.run / "mps").exists():
                subprocess.run(["bash", self.folder / "gpu/workers.sh", "mps"], check=True, env=self.environment())


def parts(split):
    """3P1D is (3, 1)."""
    prefill, decode = split.rstrip("D").split("P")
    return int(prefill), int(decode)


def kill_group(pid):
    """kill -9 of a process and of all in its group, which is a worker with its scheduler and its detokenizer."""
    if pid is None:
        return
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            group = int(stat.read_text().rsplit(")", 1)[1].split()[2])
        except (OSError, IndexError, ValueError):
            continue
        if group == pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(stat.parent.name), signal.SIGKILL)
