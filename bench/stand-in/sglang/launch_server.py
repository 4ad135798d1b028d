"""`sglang.launch_server` without a GPU, for whatever starts workers by their command line.

    PYTHONPATH=bench/stand-in PD_BENCH=target/release/pd-bench \
        python -m sglang.launch_server --model-path m --disaggregation-mode prefill --port 30000

It takes SGLang's flags and refuses what SGLang refuses, and has SGLang's processes: a main one, a scheduler, and a server
(`pd-bench simulated-worker`). Their ends are SGLang's too:

* SIGTERM to the main process: requests in flight end, then all of it does.
* SIGTERM to the group also reaches the scheduler, which dies of it; and when the scheduler dies, by whatever, the server
  is killed with everything in flight.
* SIGKILL to the main process leaves the other two, which hold the ports.

What a test can ask for, by the environment:

    PD_BENCH                    the binary; without it the one on PATH
    STAND_IN_WORKER_ARGS        more arguments for `pd-bench simulated-worker`, separated by spaces
    STAND_IN_LOAD_SECONDS       how long the model takes to load before the port opens
    STAND_IN_EXIT               exit status with which it fails at once
    STAND_IN_IGNORE_SIGTERM     set: SIGTERM does nothing
"""

import argparse
import os
import signal
import subprocess
import sys
import time

# The flag of SGLang and the one of `pd-bench simulated-worker` that takes the same value.
PASSED_ON = {
    "max_running_requests": "--max-running-requests",
    "stream_interval": "--stream-interval",
    "context_length": "--context-length",
}


def parse():
    # As SGLang's own: no abbreviations surprise anybody, and what isn't known is an error.
    parser = argparse.ArgumentParser(prog="launch_server.py", allow_abbrev=False)
    add = parser.add_argument
    add("--model-path", "--model", required=True)
    add("--served-model-name")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=30000)
    add("--disaggregation-mode", choices=["null", "prefill", "decode"], default="null")
    add("--disaggregation-transfer-backend", choices=["mooncake", "nixl", "ascend", "fake", "mori"], default="mooncake")
    add("--disaggregation-bootstrap-port", type=int, default=8998)
    add("--enable-pd-role-switch", action="store_true")
    add("--disable-radix-cache", action="store_true")
    add("--max-running-requests", type=int)
    add("--stream-interval", type=int)
    add("--context-length", type=int)
    # Taken and without effect: a simulated worker has no GPU to spread over and no weights to load.
    for flag in ["--enable-metrics", "--trust-remote-code", "--disable-cuda-graph"]:
        add(flag, action="store_true")
    for flag in ["--base-gpu-id", "--tp-size", "--tp", "--chunked-prefill-size", "--page-size", "--max-total-tokens",
                 "--cuda-graph-max-bs-decode"]:
        add(flag, type=int)
    add("--mem-fraction-static", type=float)
    for flag in ["--load-format", "--load-balance-method", "--log-level", "--dtype", "--device", "--attention-backend",
                 "--sampling-backend", "--grammar-backend", "--disaggregation-decode-retraction-backup"]:
        add(flag)
    return parser.parse_args()


def server_command(args):
    command = [
        os.environ.get("PD_BENCH", "pd-bench"), "simulated-worker",
        "--role", args.disaggregation_mode,
        "--host", args.host,
        "--port", str(args.port),
        "--bootstrap-port", str(args.disaggregation_bootstrap_port),
        "--model", args.served_model_name or args.model_path,
    ]
    for name, flag in PASSED_ON.items():
        if getattr(args, name) is not None:
            command += [flag, str(getattr(args, name))]
    if args.enable_pd_role_switch:
        command.append("--enable-pd-role-switch")
    # A decode worker keeps no prefixes by default.
    if args.disaggregation_mode != "decode" and not args.disable_radix_cache:
        command.append("--enable-prefix-cache")
    return command + os.environ.get("STAND_IN_WORKER_ARGS", "").split()


def start_scheduler():
    """A process that waits for its end, whatever brings it."""
    scheduler = os.fork()
    if scheduler == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            signal.pause()
    return scheduler


def main():
    args = parse()
    if "STAND_IN_EXIT" in os.environ:
        sys.exit(int(os.environ["STAND_IN_EXIT"]))
    scheduler = start_scheduler()
    time.sleep(float(os.environ.get("STAND_IN_LOAD_SECONDS", "0")))
    server = subprocess.Popen(server_command(args))
    ignored = "STAND_IN_IGNORE_SIGTERM" in os.environ
    signal.signal(signal.SIGTERM, signal.SIG_IGN if ignored else lambda *_: server.terminate())
    # Whichever ends first takes the other with it.
    ended, status = os.wait()
    if ended == scheduler:
        server.kill()
        sys.exit("the scheduler died")
    os.kill(scheduler, signal.SIGKILL)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
