"""Controller: what it does, why, and whether what it predicted came true."""

from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.common import LineInterpolation

from . import promql
from .frame import FAILED_TRANSITIONS, ROLE_CHANGES, STATE_CHANGES, Section, frame
from .panels import COLOURS, Query, bars, figure, lines, thresholds, timeline, word, words
from .promql import CONTROLLER_STATES, ROUTER, rate


def board() -> dashboard.Dashboard:
    return frame(
        uid="adaptive-router-controller",
        title="adaptive-router: controller",
        description="What the ratio controller does, why, and whether what it predicted came true.",
        variables=[],
        annotations=[ROLE_CHANGES, FAILED_TRANSITIONS, STATE_CHANGES],
        sections=[now(), moves(), decisions(), predictions()],
    )


def now() -> Section:
    return Section(
        "Now",
        [
            word(
                "Controller",
                "Off: another policy runs. Holding: the split is right. Moving: a worker changes its role. Frozen: "
                "it doesn't act, because it can't see, or there is nobody to move.",
                Query(promql.controller_state_code(), "state"),
                _states(),
                span=6,
            ),
            figure(
                "Target",
                "The split that the controller wants.",
                "short",
                Query(f"adaptive_router_controller_target_workers{{{ROUTER}}}", "{{role}}"),
                span=6,
            ),
            figure(
                "Role changes, last hour",
                "Workers that changed their role.",
                "short",
                Query(f"sum(increase(adaptive_router_role_changes_total{{{ROUTER}}}[1h]))", "changes"),
                span=6,
            ).decimals(0),
            figure(
                "Failed transitions, last hour",
                "Moves that were given up. Each leaves a worker to look at: the log says which and why.",
                "short",
                Query(f"increase(adaptive_router_controller_failed_transitions_total{{{ROUTER}}}[1h])", "failures"),
                span=6,
            )
            .decimals(0)
            .thresholds(thresholds((None, "green"), (0.5, "red"))),
        ],
    )


def moves() -> Section:
    targets = [
        Query(f'adaptive_router_controller_target_workers{{{ROUTER}, role="{role}"}}', f"{role} target", dashed=True)
        for role in ("prefill", "decode")
    ]
    serving = [
        Query(f'sum(adaptive_router_workers{{{ROUTER}, role="{role}", state="serving"}})', role)
        for role in ("prefill", "decode")
    ]
    return Section(
        "Moves",
        [
            lines(
                "Target against serving workers",
                "The split the controller wants (dashed) and the workers that serve (solid). They part while a worker "
                "is on its way.",
                "short",
                *serving,
                *targets,
                span=12,
            )
            .line_interpolation(LineInterpolation.STEP_AFTER)
            .decimals(0),
            timeline(
                "Roles",
                "Which role each worker has had.",
                Query(promql.role_code(ROUTER), "{{worker}}"),
                span=12,
                height=8,
            ),
            lines(
                "Steps of a role change",
                "How long the steps of the last hour's role changes took: drain (what ran on the worker ends), change (it "
                "takes the other role), verify (until it is found good). The worker serves nobody meanwhile. A slow drain "
                "is long answers: see --drain-timeout-secs.",
                "s",
                *(Query(promql.step_quantile(q), f"{{{{step}}}} p{int(q * 100)}") for q in (0.5, 0.99)),
                span=12,
            ),
            bars(
                "Role changes",
                "Changes of role, by direction. Both directions in turn, again and again, are flapping.",
                "short",
                Query(_happened("adaptive_router_role_changes_total", "from, to"), "{{from}} to {{to}}"),
                span=12,
            ),
            bars(
                "State changes",
                "Workers' changes of state. A move is draining, switching, verifying, serving.",
                "short",
                Query(_happened("adaptive_router_worker_state_changes_total", "from, to"), "{{from}} to {{to}}"),
                span=12,
            ),
            bars(
                "Failed transitions",
                "Moves that were given up.",
                "short",
                Query(_happened("adaptive_router_controller_failed_transitions_total", "instance"), "failed"),
                span=12,
            ),
        ],
    )


def decisions() -> Section:
    return Section(
        "Decisions",
        [
            timeline(
                "State",
                "Off, holding, moving or frozen, over time.",
                Query(promql.controller_state_code(), "controller"),
                height=4,
            ).mappings(_states()),
            bars(
                "Decisions by reason",
                "One decision a second: hold, move, or advise (what it would do, where it may not act), with the "
                "reason. The reasons are explained in docs/monitoring.md.",
                "short",
                Query(
                    f"sum by (action, reason) ({rate('adaptive_router_controller_decisions_total')}) > 0",
                    "{{action}}: {{reason}}",
                ),
                span=24,
            ),
        ],
    )


def predictions() -> Section:
    return Section(
        "Predicted against measured",
        [
            _utilisation("prefill", "1 is all that the prefill workers can do: from there on, prompts queue."),
            _utilisation("decode", "1 is all that the decode workers can do within the ITL objective."),
            lines(
                "Time between tokens",
                "The ITL that the model predicts for the present split (dashed), the measured median of the last "
                "minute, and the objective. If prediction and measurement part, the model doesn't know this hardware.",
                "s",
                Query(f"adaptive_router_controller_predicted_itl_seconds{{{ROUTER}}}", "predicted", dashed=True),
                Query(f'adaptive_router_itl_window_seconds{{{ROUTER}, quantile="0.5"}}', "measured"),
                Query(f'adaptive_router_slo_target_seconds{{{ROUTER}, latency="itl"}}', "objective", dashed=True),
            ),
        ],
    )


def _utilisation(role: str, meaning: str):
    return lines(
        f"Utilisation of {role}",
        f"What the model predicts (dashed) and what was measured. {meaning}",
        "percentunit",
        Query(f'adaptive_router_controller_measured_utilisation{{{ROUTER}, role="{role}"}}', "measured"),
        Query(f'adaptive_router_controller_predicted_utilisation{{{ROUTER}, role="{role}"}}', "predicted", dashed=True),
    )


def _happened(counter: str, by: str) -> str:
    return f"sum by ({by}) (increase({counter}{{{ROUTER}}}[$__rate_interval]))"


def _states() -> list[dashboard.ValueMapping]:
    return words(*((code, state, COLOURS[state]) for code, state in enumerate(CONTROLLER_STATES, 1)))
