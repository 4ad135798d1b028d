"""Expressions that several panels share.

Every selector names the router (`instance="$router"`), so that two routers in one Prometheus are never added up.
Rates run over `$__rate_interval`, which Grafana keeps at four scrapes or more. A ratio divides by something that is
`> 0`: without traffic there is a gap in the line, not a wrong 0 % and not NaN.
"""

ROUTER = 'instance="$router"'
WORKER = 'instance="$router", worker=~"$worker"'

# A request is observed once for each worker of its pair. Those of the decode side (and of regular workers, which have
# no pair) are each request once.
ONCE_PER_REQUEST = 'role=~"decode|regular"'

STATES = ("starting", "serving", "draining", "switching", "verifying", "unhealthy", "failed")
ROLES = ("prefill", "decode", "regular")
CONTROLLER_STATES = ("off", "holding", "moving", "frozen")

# A worker's `waiting` counts all of these, and besides them the waiting list of its scheduler.
PD_QUEUES = ("bootstrap", "inflight", "prealloc", "transfer", "retracted")

# Roles and states share one panel, so their codes must differ.
FIRST_ROLE_CODE = 11


def where(*matchers: str) -> str:
    """A selector of this router's series."""
    return ", ".join((ROUTER, *matchers))


def rate(counter: str, selector: str = ROUTER) -> str:
    return f"rate({counter}{{{selector}}}[$__rate_interval])"


def quantile(q: float, histogram: str, selector: str = ROUTER) -> str:
    return f"histogram_quantile({q}, sum by (le) ({rate(histogram + '_bucket', selector)}))"


def step_quantile(q: float) -> str:
    """How long each step of a role change took. Role changes are minutes apart, so it is of the last hour."""
    steps = f"adaptive_router_controller_transition_step_seconds_bucket{{{ROUTER}}}"
    return f"histogram_quantile({q}, sum by (le, step) (rate({steps}[1h])))"


def share(part: str, whole: str) -> str:
    return f"{part} / ({whole} > 0)"


def attainment(window: str) -> str:
    """The part of the requests that met both objectives, over `window`."""
    good = f'adaptive_router_slo_requests_total{{{ROUTER}, result="good"}}'
    every = f"adaptive_router_slo_requests_total{{{ROUTER}}}"
    return share(f"sum(rate({good}[{window}]))", f"sum(rate({every}[{window}]))")


def kv_use(selector: str) -> str:
    """The part of each worker's KV cache that is in use."""
    used = f'sum by (worker) (adaptive_router_worker_kv_tokens{{{selector}, kind="used"}})'
    capacity = f'sum by (worker) (adaptive_router_worker_kv_tokens{{{selector}, kind="capacity"}})'
    return share(used, capacity)


def with_role(series: str) -> str:
    """Gives series of workers the label `role`."""
    return f"{series} * on (worker) group_left (role) sum by (worker, role) (adaptive_router_worker_info{{{ROUTER}}})"


def queued(selector: str, *queues: str) -> str:
    names = "|".join(queues)
    return f'adaptive_router_worker_queue_requests{{{selector}, queue=~"{names}"}}'


def state_code(selector: str) -> str:
    """A worker's state as a number, to be drawn as coloured text: 1 for the first of `STATES`."""
    return _coded("worker", "adaptive_router_worker_info", selector, "state", STATES, 1)


def role_code(selector: str) -> str:
    return _coded("worker", "adaptive_router_worker_info", selector, "role", ROLES, FIRST_ROLE_CODE)


def controller_state_code() -> str:
    """Exactly one of the four gauges is 1, so the largest product is the code of that state."""
    return _coded("instance", "adaptive_router_controller_state", ROUTER, "state", CONTROLLER_STATES, 1)


def _coded(by: str, metric: str, selector: str, label: str, values: tuple[str, ...], first: int) -> str:
    terms = (f'{metric}{{{selector}, {label}="{value}"}} * {code}' for code, value in enumerate(values, first))
    return f"max by ({by}) ({' or '.join(terms)})"
