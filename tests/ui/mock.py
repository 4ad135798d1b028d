"""A router's feed without a router, for what a real one does not show on demand: 64 workers, a role change in slow
motion, a hostile worker, a connection that goes silent. It serves the page that it is given, so what is tested is the
page of the binary."""

import json
import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PERIOD_S = 1.0
HISTORY = 600


def latency(p50, count=600):
    return {"p50_ms": p50, "p90_ms": p50 * 1.4, "p99_ms": p50 * 2.1, "count": count}


def worker(place, role, *, state="serving", url=None, trouble=None, breaker="closed", busy=0.5, reading=True):
    prefill = role == "prefill"
    running = round(busy * (6 if prefill else 90))
    return {
        "id": f"00000000-0000-4000-8000-{place:012}",
        "url": url or f"http://10.0.0.1:{30000 + place}",
        "role": role,
        "state": state,
        "state_age_s": 12.3,
        "breaker": breaker,
        "trouble": trouble,
        "in_flight": running,
        "streams": 0 if prefill else running,
        "pending_prompt_tokens": round(busy * 9000) if prefill else 0,
        "output_tokens_per_s": 0.0 if prefill else busy * 4200,
        "reading": {
            "age_s": 0.4,
            "running": running,
            "waiting": round(busy * 3),
            "bootstrap": round(busy * 4) if prefill else 0,
            "inflight": 1 if prefill else 0,
            "prealloc": 0 if prefill else round(busy * 5),
            "transfer": 0 if prefill else 1,
            "retracted": 0,
            "kv_usage": busy * 0.8,
            "kv_capacity_tokens": 412000,
            "throughput": busy * 4200,
        } if reading else None,
        "ttft": latency(60 + 400 * busy * busy) if prefill and state == "serving" else None,
        "itl": None if prefill or state != "serving" else latency(6 + 12 * busy),
    }


def fleet(prefill, decode):
    busy = lambda place: 0.15 + 0.8 * abs(math.sin(place * 1.7))
    roles = ["prefill"] * prefill + ["decode"] * decode
    return [worker(place, role, busy=busy(place)) for place, role in enumerate(roles)]


class Mock:
    """What the feed says is in `workers`, `controller` and `entries`; tests change them while it runs."""

    def __init__(self, page, headers, workers):
        self.page, self.page_headers = page, headers
        self.workers = workers
        self.controller = {"state": "holding", "mode": "automatic", "pinned": None,
                           "target": {"prefill": 2, "decode": 2}, "reason": "fixed_ratio",
                           "prefill_utilisation": 0.41, "decode_utilisation": 0.63, "predicted_itl_ms": 12.4}
        self.key = None
        self.busy = True
        self.silent = threading.Event()
        self.closing = threading.Event()
        self.entries = []
        self.past_splits = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/ui"

    def log(self, kind, *, worker=None, change=(None, None), reason=None, at=None):
        entry = {"seq": len(self.entries), "at": at or time.time(), "kind": kind, "worker": worker,
                 "from": change[0], "to": change[1], "reason": reason}
        self.entries.append(entry)

    def remember_a_change(self):
        """A past: a decode worker became a prefill worker seven minutes ago and went back after four and a half."""
        worker, now = self.workers[-1]["url"], time.time()
        self.past_splits = [(420, (2, 2)), (150, (3, 1))]
        self.log("decision", change=("2:2", "3:1"), reason="prefill at 91 %, decode at 38 %", at=now - 424)
        self.log("role", worker=worker, change=("decode", "prefill"), at=now - 420)
        self.log("decision", change=("3:1", "2:2"), reason="no_demand", at=now - 156)
        self.log("role", worker=worker, change=("prefill", "decode"), at=now - 150)

    def serving(self, role):
        return sum(one["role"] == role and one["state"] == "serving" for one in self.workers)

    def point(self, at, split=None):
        """One second of load that swells and ebbs, with a burst in it."""
        wave = 0.5 + 0.35 * math.sin(at / 55) + 0.1 * math.sin(at / 7)
        burst = math.exp(-(((at % 400) - 200) / 25) ** 2)
        prefill, decode = split or (self.serving("prefill"), self.serving("decode"))
        ttft, itl = 70 + 110 * wave + 1300 * burst, 8 + 5 * wave + 4 * burst
        some = (lambda value: value) if self.busy else (lambda _: None)
        return {"at": at, "prefill": prefill, "decode": decode, "regular": self.serving("regular"),
                "ttft_p50_ms": some(ttft), "ttft_p99_ms": some(ttft * (2.0 + 0.4 * math.sin(at))),
                "itl_p50_ms": some(itl), "itl_p99_ms": some(itl * (1.5 + 0.1 * math.sin(at * 1.3))),
                "in_flight": round(self.busy * (160 * wave + 60 * burst)), "queued": round(self.busy * 45 * burst),
                "attainment": some(0.994 - 0.1 * burst), "output_tokens_per_s": self.busy * 9000 * wave}

    def history(self):
        now = time.time()
        back = [now - second for second in range(HISTORY, 0, -1)]
        split = lambda age: next((split for limit, split in self.past_splits if age > limit), None)
        return {"points": [self.point(at, split(now - at)) for at in back]}

    def frame(self, sent):
        now = time.time()
        point = self.point(now)
        requests = point["output_tokens_per_s"] / 240
        return {
            "at": now, "version": "0.1.0", "uptime_s": 4321.0, "mode": "pd", "controller": self.controller,
            "slo": {"ttft_ms": 2000, "itl_ms": 25},
            "fleet": {
                "prefill": point["prefill"], "decode": point["decode"], "regular": point["regular"],
                "requests_per_s": requests, "output_tokens_per_s": point["output_tokens_per_s"],
                "goodput_per_s": requests * (point["attainment"] or 0), "attainment": point["attainment"],
                "in_flight": point["in_flight"], "queued": point["queued"],
                "ttft": latency_of(point, "ttft"), "itl": latency_of(point, "itl"),
            },
            "workers": self.workers,
            "entries": self.entries[sent:][-200:],
        }

    def handler(mock):  # noqa: N805 (the handler's own methods have the other self)
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/ui":
                    return self.answer(200, mock.page, mock.page_headers)
                if self.path != "/ui/events":
                    return self.answer(404, b"", {})
                if mock.key and self.headers["Authorization"] != f"Bearer {mock.key}":
                    return self.answer(401, b"", {})
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                try:
                    self.stream()
                except OSError:
                    pass  # the page has left

            def answer(self, status, body, headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def stream(self):
                self.send("history", mock.history())
                sent = 0
                while not mock.closing.is_set():
                    if not mock.silent.is_set():
                        self.send("frame", mock.frame(sent))
                        sent = len(mock.entries)
                    mock.closing.wait(PERIOD_S)

            def send(self, name, data):
                self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
                self.wfile.flush()

            def log_message(self, *_):
                pass

        return Handler


def latency_of(point, name):
    p50, p99 = point[f"{name}_p50_ms"], point[f"{name}_p99_ms"]
    return None if p50 is None else {"p50_ms": p50, "p90_ms": (p50 + p99) / 2, "p99_ms": p99, "count": 900}
