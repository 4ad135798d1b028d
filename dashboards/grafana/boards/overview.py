"""Overview: is the service good, what is the split, and where does the time go."""

from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.common import BigValueTextMode

from .frame import FAILED_TRANSITIONS, ROLE_CHANGES, Section, frame
from .panels import Query, bars, figure, heat, lines, shares, stacked, steps, thresholds
from .promql import (
    ONCE_PER_REQUEST,
    PD_QUEUES,
    ROUTER,
    attainment,
    quantile,
    queued,
    rate,
    share,
    where,
    with_role,
)

TTFT_ONCE = f"{ROUTER}, {ONCE_PER_REQUEST}"
TTFT_OBJECTIVE = Query(f'adaptive_router_slo_target_seconds{{{ROUTER}, latency="ttft"}}', "objective", dashed=True)
ITL_OBJECTIVE = Query(f'adaptive_router_slo_target_seconds{{{ROUTER}, latency="itl"}}', "objective", dashed=True)


def board() -> dashboard.Dashboard:
    return frame(
        uid="adaptive-router-overview",
        title="adaptive-router: overview",
        description="Is the service good, what is the split between prefill and decode, and where does the time go.",
        variables=[],
        annotations=[ROLE_CHANGES, FAILED_TRANSITIONS],
        sections=[now(), ratio(), objectives(), latency(), traffic(), queues(), router()],
    )


def now() -> Section:
    serving = f'adaptive_router_workers{{{ROUTER}, state="serving"}}'
    good = thresholds((None, "red"), (0.95, "yellow"), (0.99, "green"))
    return Section(
        "Now",
        [
            figure(
                "Serving workers",
                "Workers that take requests, by role: the ratio. Roles without a worker are left out.",
                "short",
                Query(f"sum by (role) ({serving}) > 0", "{{role}}"),
            ),
            figure(
                "SLO attainment",
                "The part of the streamed requests of the last 5 minutes that met both objectives (TTFT and ITL). "
                "Failures count as missed. Green from 99 %, the target of the alerts; red under 95 %.",
                "percentunit",
                Query(attainment("5m"), "attainment"),
            )
            .thresholds(good)
            .decimals(1),
            figure(
                "Goodput",
                "Streamed requests a second that met both objectives. What fails or comes late doesn't count.",
                "reqps",
                *_by_value("adaptive_router_slo_requests_total", "result", good="good"),
            ),
            figure(
                "TTFT p99",
                "99 of 100 requests of the last minute had their first token within this time.",
                "s",
                Query(f'adaptive_router_ttft_window_seconds{{{ROUTER}, quantile="0.99"}}', "p99"),
            ),
            figure(
                "ITL p99",
                "99 of 100 tokens of the last minute came within this time after the one before.",
                "s",
                Query(f'adaptive_router_itl_window_seconds{{{ROUTER}, quantile="0.99"}}', "p99"),
            ),
            figure(
                "In flight",
                "Requests that the router has accepted and not yet ended.",
                "short",
                Query(f"sum(adaptive_router_requests_in_flight{{{ROUTER}}})", "in flight"),
            ),
        ],
    )


def ratio() -> Section:
    return Section(
        "Ratio",
        [
            steps(
                "Serving workers by role",
                "The split over time. Purple marks are role changes, red ones transitions that failed.",
                "short",
                Query(f'sum by (role) (adaptive_router_workers{{{ROUTER}, state="serving"}})', "{{role}}"),
            ),
            steps(
                "Workers by state",
                "Every worker the router knows. A moved worker passes through draining, switching and verifying; "
                "one that stays there, or is unhealthy or failed, is capacity that is missing.",
                "short",
                Query(f"sum by (state) (adaptive_router_workers{{{ROUTER}}})", "{{state}}"),
            ),
        ],
    )


def objectives() -> Section:
    tokens = rate("adaptive_router_output_tokens_total")
    return Section(
        "Service level objectives",
        [
            shares(
                "SLO attainment",
                "The part of the requests that met both objectives: at the moment, and over an hour. The alerts fire "
                "when it falls so far under 99 % that the error budget of a month would be spent early. A gap means "
                "no requests.",
                Query(attainment("$__rate_interval"), "now"),
                Query(attainment("1h"), "last hour", dashed=True),
            ),
            stacked(
                "Requests by SLO result",
                "Ended requests by what they met: TTFT missed, ITL missed, both missed, or failed. "
                "TTFT misses point at prefill or queues, ITL misses at decode.",
                "reqps",
                *_by_value(
                    "adaptive_router_slo_requests_total",
                    "result",
                    good="good",
                    ttft_missed="ttft missed",
                    itl_missed="itl missed",
                    both_missed="both missed",
                    failed="failed",
                ),
            ),
            lines(
                "Output tokens",
                "Tokens a second that were streamed to clients, and those of requests that met both objectives. The "
                "second is counted when a request ends, so with long answers it trails.",
                "short",
                Query(f"sum({tokens})", "all tokens/s"),
                Query(f"sum({rate('adaptive_router_slo_good_output_tokens_total')})", "good tokens/s"),
            ),
        ],
    )


def latency() -> Section:
    return Section(
        "Latency",
        [
            lines(
                "Prefill: time to first token",
                "From the request read to its first token sent, each request once, with queue and transfer in it. "
                "More prefill workers bring it down.",
                "s",
                *_percentiles("adaptive_router_ttft_seconds", TTFT_ONCE),
                TTFT_OBJECTIVE,
            ),
            lines(
                "Decode: time between tokens",
                "ITL, one observation a token after the first. The objective is for the mean of each request. More "
                "decode workers, and so smaller batches, bring it down.",
                "s",
                *_percentiles("adaptive_router_itl_seconds", ROUTER),
                ITL_OBJECTIVE,
            ),
            stacked(
                "Where the time to first token goes (means)",
                "Waiting in the router, the prefill leg, and from its end to the first token (KV transfer and the "
                "decode worker's queue). Means, because those add up and percentiles don't.",
                "s",
                Query(_mean("adaptive_router_queue_wait_seconds", ROUTER), "queue in the router"),
                Query(_mean("adaptive_router_prefill_seconds", ROUTER), "prefill leg"),
                Query(_mean("adaptive_router_kv_transfer_gap_seconds", ROUTER), "KV transfer gap"),
            ),
            heat(
                "TTFT, distribution",
                "Requests by time to first token. Two bands mean two kinds of request, or of worker.",
                "adaptive_router_ttft_seconds",
                TTFT_ONCE,
            ),
            heat(
                "ITL, distribution",
                "Tokens by time since the one before.",
                "adaptive_router_itl_seconds",
                ROUTER,
            ),
            lines(
                "Whole request",
                "From the request read to its last byte sent. It follows the length of the answers.",
                "s",
                *_percentiles("adaptive_router_request_seconds", ROUTER),
            ),
        ],
    )


def traffic() -> Section:
    failures = rate("smg_worker_errors_total")
    return Section(
        "Traffic",
        [
            stacked(
                "Accepted requests",
                "Inference requests a second, by endpoint.",
                "reqps",
                Query(f"sum by (endpoint) ({rate('smg_router_requests_total')})", "{{endpoint}}"),
            ),
            stacked(
                "Outcomes",
                "How accepted requests ended: completed, failed (whatever was retried), refused (the client's own "
                "mistake), or the client hung up.",
                "reqps",
                *_by_value(
                    "adaptive_router_requests_finished_total",
                    "outcome",
                    completed="completed",
                    failed="failed",
                    refused="refused",
                    client_gone="client gone",
                ),
            ),
            stacked(
                "Responses by status",
                "HTTP responses a second by status code, those of the admin API and of refused requests too.",
                "reqps",
                Query(f"sum by (status_code) ({rate('smg_http_responses_total')})", "{{status_code}}"),
            ),
            bars(
                "Retries",
                "Attempts after the first, and requests that failed with every attempt. A few retries are the router "
                "doing its work; exhausted ones are errors that clients saw. And streams that left their worker, because "
                "it failed or is drained: those not continued after a failure ended in an error, for a reason that "
                "docs/continuation.md lists.",
                "reqps",
                Query(f"sum by (worker_type) ({rate('smg_worker_retries_total')})", "retried for {{worker_type}}"),
                Query(f"sum({rate('smg_worker_retries_exhausted_total')}) or vector(0)", "exhausted"),
                Query(
                    f"sum by (cause, result) ({rate('adaptive_router_stream_continuations_total')})",
                    "streams, {{cause}}: {{result}}",
                ),
            ),
            bars(
                "Failed legs",
                "Failures of workers a second, by role and kind, before any retry.",
                "reqps",
                Query(f"sum by (worker_type, error_type) ({failures})", "{{worker_type}} {{error_type}}"),
            ),
            lines(
                "Prompt and answer lengths (means)",
                "Tokens a request, from the workers' usage where they give it, else estimated. Long prompts need "
                "prefill, long answers decode: when this moves, the best split moves with it.",
                "short",
                Query(_mean("adaptive_router_request_prompt_tokens", ROUTER), "prompt tokens"),
                Query(_mean("adaptive_router_request_output_tokens", ROUTER), "output tokens"),
            ),
        ],
    )


def queues() -> Section:
    pd_queues = queued(ROUTER, *PD_QUEUES)
    waiting = with_role(queued(ROUTER, "waiting"))
    pending = with_role(f"adaptive_router_worker_pending_prompt_tokens{{{ROUTER}}}")
    return Section(
        "Queues",
        [
            stacked(
                "Waiting in the workers",
                "Requests that wait in the workers, by queue. Prefill's waiting list and its bootstrap and inflight "
                "queues grow when prefill is short; decode's waiting list and its prealloc, transfer and retracted "
                "queues when decode is.",
                "short",
                Query(f"sum by (queue) ({pd_queues})", "{{queue}}"),
                Query(
                    f"clamp_min(sum by (role) ({waiting}) - sum by (role) ({with_role(pd_queues)}), 0)",
                    "{{role}} waiting list",
                ),
            ),
            stacked(
                "Requests in the router",
                "Accepted requests: those on workers, and those that wait: for a place (--max-concurrent-requests) or for "
                "a prefill worker with room (--prefill-queue-tokens).",
                "short",
                Query(
                    f"sum(adaptive_router_requests_in_flight{{{ROUTER}}}) "
                    f"- sum(adaptive_router_requests_queued{{{ROUTER}}})",
                    "on workers",
                ),
                Query(f"sum(adaptive_router_requests_queued{{{ROUTER}}})", "waiting"),
            ),
            lines(
                "Wait in the router",
                "How long requests waited for a place (--max-concurrent-requests) or for a prefill worker with room "
                "(--prefill-queue-tokens). Without either limit it stays at the lowest bucket.",
                "s",
                *_percentiles("adaptive_router_queue_wait_seconds", ROUTER),
            ),
            bars(
                "At the limits",
                "What the concurrency and rate limits decided. A rejected request got a 429, or a 408 after waiting "
                "too long.",
                "reqps",
                Query(f"sum by (result) ({rate('smg_http_rate_limit_total')})", "{{result}}"),
            ),
            lines(
                "Pending prompt tokens",
                "Prompt tokens of the requests in flight, by the role of the workers they are on. For prefill: the "
                "work before it.",
                "short",
                Query(f"sum by (role) ({pending})", "{{role}}"),
            ),
            lines(
                "KV cache in use",
                "The part of the KV cache in use, over all workers of a role. Decode near 100 % makes requests wait "
                "for memory.",
                "percentunit",
                Query(share(_kv_tokens("used"), _kv_tokens("capacity")), "{{role}}"),
            ).max(1),
        ],
    )


def router() -> Section:
    return Section(
        "Router",
        [
            lines(
                "CPU",
                "Cores that the router's process uses.",
                "short",
                Query(rate("process_cpu_seconds_total"), "cores"),
                span=6,
            ),
            lines(
                "Memory",
                "Resident memory of the router's process.",
                "bytes",
                Query(f"process_resident_memory_bytes{{{ROUTER}}}", "resident"),
                span=6,
            ),
            lines(
                "Connections and files",
                "Client connections, and open file descriptors with those to workers in them.",
                "short",
                Query(f"smg_http_connections_active{{{ROUTER}}}", "client connections"),
                Query(f"process_open_fds{{{ROUTER}}}", "open files"),
                span=6,
            ),
            figure(
                "Running for",
                "Time since the router was started, and its version.",
                "s",
                Query(
                    f"(time() - process_start_time_seconds{{{ROUTER}}}) * on (instance) group_left (version) "
                    f"adaptive_router_build_info{{{ROUTER}}}",
                    "{{version}}",
                ),
                span=6,
            )
            .height(8)
            .text_mode(BigValueTextMode.VALUE_AND_NAME),
        ],
    )


def _by_value(counter: str, label: str, **names: str) -> list[Query]:
    """One line for each value of `label`, in this order and under its name, whether it has happened or not."""
    rates = ((rate(counter, where(f'{label}="{value}"')), name) for value, name in names.items())
    return [Query(f"sum({expr})", name) for expr, name in rates]


def _percentiles(histogram: str, selector: str) -> list[Query]:
    return [Query(quantile(q, histogram, selector), f"p{int(q * 100)}") for q in (0.5, 0.9, 0.99)]


def _mean(histogram: str, selector: str) -> str:
    return share(f"sum({rate(histogram + '_sum', selector)})", f"sum({rate(histogram + '_count', selector)})")


def _kv_tokens(kind: str) -> str:
    tokens = f'adaptive_router_worker_kv_tokens{{{ROUTER}, kind="{kind}"}}'
    return f"sum by (role) ({with_role(tokens)})"
