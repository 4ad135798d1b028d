"""The workers' own counters, recorded beside a run."""

import json
import threading

from rig import get_json

LOOK_S = 1.0


class Counters:
    """Writes the workers' /v1/loads once a second, as `pd-bench fit --loads` reads them."""

    def __init__(self, study):
        self.study, self.stopped = study, threading.Event()
        self.thread = threading.Thread(target=self.record, daemon=True)

    def record(self):
        with (self.study.out / "loads.jsonl").open("a") as out:
            while not self.stopped.wait(LOOK_S):
                for port in self.study.rig.ports:
                    answer = get_json(port, "/v1/loads?include=all")
                    if answer and answer.get("loads"):
                        answer |= {"worker": str(port), "cell": self.study.cell}
                        out.write(json.dumps(answer) + "\n")
                out.flush()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
