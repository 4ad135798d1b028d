"""Workers: all of them in one table, then one row for each: its role and state, its queues, its latencies."""

from grafana_foundation_sdk.models import dashboard

from . import promql
from .frame import FAILED_TRANSITIONS, ROLE_CHANGES, Section, frame, worker_variable
from .panels import (
    Column,
    Query,
    coded_column,
    figure,
    heat,
    lines,
    per_worker_table,
    stacked,
    thresholds,
    timeline,
    word,
    words,
)
from .promql import PD_QUEUES, WORKER, queued, rate


def board() -> dashboard.Dashboard:
    return frame(
        uid="adaptive-router-workers",
        title="adaptive-router: workers",
        description="Every worker: its role and state, its queues, its latencies. Choose some with the variable.",
        variables=[worker_variable()],
        annotations=[ROLE_CHANGES, FAILED_TRANSITIONS],
        sections=[fleet(), worker()],
    )


def fleet() -> Section:
    return Section(
        "Fleet",
        [
            _table(),
            timeline(
                "Roles",
                "Which role each worker has had: blue is prefill, orange decode.",
                Query(promql.role_code(WORKER), "{{worker}}"),
                span=12,
            ),
            timeline(
                "States",
                "Which state each worker has been in: green serves, yellow is on its way, red needs a look.",
                Query(promql.state_code(WORKER), "{{worker}}"),
                span=12,
            ),
        ],
    )


def worker() -> Section:
    """Of the panels, those of the other role are empty: a prefill worker has no time between tokens."""
    return Section("$worker", [*_state(), *_load(), *_latency()], repeat="worker")


def _table():
    def newest(metric: str, selector: str = "") -> str:
        return f"sum by (worker) ({metric}{{{WORKER}{selector}}})"

    panel = per_worker_table(
        "Workers now",
        "The newest value of each. In flight is what this router sent; running and waiting are the worker's counts.",
        Column("Role", promql.role_code(WORKER)),
        Column("State", promql.state_code(WORKER)),
        Column("In flight", _count("router")),
        Column("Running", _count("running")),
        Column("Waiting", _count("waiting")),
        Column("KV use", promql.kv_use(WORKER), "percentunit"),
        Column("Tokens/s", f"sum by (worker) ({rate('adaptive_router_output_tokens_total', WORKER)})"),
        Column("TTFT p50", newest("adaptive_router_worker_ttft_window_seconds", ', quantile="0.5"'), "s"),
        Column("TTFT p99", newest("adaptive_router_worker_ttft_window_seconds", ', quantile="0.99"'), "s"),
        Column("ITL p50", newest("adaptive_router_worker_itl_window_seconds", ', quantile="0.5"'), "s"),
        Column("ITL p99", newest("adaptive_router_worker_itl_window_seconds", ', quantile="0.99"'), "s"),
        Column("Reading age", newest("adaptive_router_worker_reading_age_seconds"), "s"),
    )
    return coded_column(coded_column(panel, "Role"), "State")


def _count(queue: str) -> str:
    return f"sum by (worker) ({queued(WORKER, queue)})"


def _state() -> list:
    breaker = words((0, "closed", "green"), (1, "open", "red"), (2, "half open", "yellow"))
    return [
        timeline(
            "Role and state",
            "The worker's role and its lifecycle state over time.",
            Query(promql.role_code(WORKER), "role"),
            Query(promql.state_code(WORKER), "state"),
            span=12,
            height=4,
        ),
        word(
            "Breaker",
            "The circuit breaker. Open: the worker failed several times in a row and gets no requests for a while.",
            Query(f"smg_worker_cb_state{{{WORKER}}}", "breaker"),
            breaker,
            span=3,
        ),
        figure(
            "In flight",
            "Requests that this router has on the worker.",
            "short",
            Query(queued(WORKER, "router"), "in flight"),
            span=3,
        ),
        figure(
            "Streams",
            "Requests that are past their first token.",
            "short",
            Query(f"adaptive_router_worker_streams{{{WORKER}}}", "streams"),
            span=3,
        ),
        figure(
            "Reading age",
            "How old the last good answer of the worker about its load is. The router decides with it.",
            "s",
            Query(f"adaptive_router_worker_reading_age_seconds{{{WORKER}}}", "age"),
            span=3,
        ).thresholds(thresholds((None, "green"), (5, "yellow"), (10, "red"))),
    ]


def _load() -> list:
    return [
        stacked(
            "Queues",
            "Requests in the worker, by where they are: running, on its waiting list, or in a queue of the "
            "disaggregation (bootstrap and inflight in prefill; prealloc, transfer and retracted in decode).",
            "short",
            Query(queued(WORKER, "running", *PD_QUEUES), "{{queue}}"),
            Query(
                f"clamp_min({_count('waiting')} - sum by (worker) ({queued(WORKER, *PD_QUEUES)}), 0)", "waiting list"
            ),
        ),
        lines(
            "Output tokens",
            "Tokens a second that this router relayed, and what the worker says it generates.",
            "short",
            Query(rate("adaptive_router_output_tokens_total", WORKER), "relayed tokens/s"),
            Query(f"smg_engine_gen_throughput{{{WORKER}}}", "worker's own figure", dashed=True),
        ),
        lines(
            "KV cache in use",
            "The part of the worker's KV cache that is in use.",
            "percentunit",
            Query(promql.kv_use(WORKER), "in use"),
        ).max(1),
    ]


def _latency() -> list:
    return [
        lines(
            "TTFT, last minute",
            "Time to first token of the requests that had this worker in their pair.",
            "s",
            *_window("adaptive_router_worker_ttft_window_seconds"),
            span=6,
        ),
        heat(
            "TTFT, distribution",
            "Requests of this worker by time to first token.",
            "adaptive_router_ttft_seconds",
            WORKER,
            span=6,
        ),
        lines(
            "ITL, last minute",
            "Time between tokens. Empty for prefill workers, which send none to clients.",
            "s",
            *_window("adaptive_router_worker_itl_window_seconds"),
            span=6,
        ),
        heat(
            "ITL, distribution",
            "Tokens of this worker by time since the one before. Empty for prefill workers.",
            "adaptive_router_itl_seconds",
            WORKER,
            span=6,
        ),
    ]


def _window(metric: str) -> list[Query]:
    quantiles = (("0.5", "p50"), ("0.9", "p90"), ("0.99", "p99"))
    return [Query(f'{metric}{{{WORKER}, quantile="{quantile}"}}', name) for quantile, name in quantiles]
