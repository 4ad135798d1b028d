#!/usr/bin/env python3
"""Evaluates every expression of every dashboard and alert on a real Prometheus that watches a real router under load.

A dashboard's expression has to return numbers, with the labels that its legend names. An annotation's or alert's
returns nothing while all is well, so it only has to be evaluated without an error; but every series that it reads has
to be there. One line an expression, and a count.

    ADAPTIVE_ROUTER=... PD_BENCH=... tests/dashboards/live.py
"""

import json
import math
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import expressions
from expressions import BOARDS, Expression, Substitution, Variable
from rig import Rig, until

# Four scrapes and more, as Grafana would take.
RATE_INTERVAL = "10s"
# What the load has to bring about takes a few seconds; windows and ages take up to ten more.
PATIENCE_S = 60.0
BETWEEN_ROUNDS_S = 1.0
# The router of this test starts no workers; alerts_test.yml has these.
OF_STARTED_WORKERS = ("adaptive_router_worker_given_up", "adaptive_router_worker_launches_total")


@dataclass(frozen=True)
class Answer:
    """What Prometheus said to one expression: how many series have numbers, or what is wrong."""

    series: int
    trouble: str | None = None


class Prometheus:
    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def query(self, expression: str) -> list[dict]:
        return self._get("query", query=expression)["result"]

    def label_values(self, label: str, series: str) -> list[str]:
        return self._get(f"label/{label}/values", **{"match[]": series})

    def rules(self) -> list[dict]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **parameters: str):
        url = f"{self._base}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(json.load(error)["error"]) from error


class QueryError(Exception):
    """Prometheus refused an expression."""


class Evaluation:
    def __init__(self, prometheus: Prometheus, substitute: Substitution) -> None:
        self._prometheus = prometheus
        self._substitute = substitute

    def data(self, expression: Expression) -> Answer:
        """Numbers, in series that can be told apart as the legend wants."""
        series = self._prometheus.query(self._substitute(expression.text))
        numbers = [one for one in series if math.isfinite(float(one["value"][1]))]
        if not numbers:
            return Answer(0, "no data")
        for one in numbers:
            missing = expression.labels - one["metric"].keys()
            if missing:
                return Answer(len(numbers), f"the legend names {sorted(missing)}, a series lacks it")
        return Answer(len(numbers))

    def quiet(self, expression: Expression) -> Answer:
        """No error, and everything is there that would make it speak."""
        self._prometheus.query(self._substitute(expression.text))
        selectors = expressions.selectors(self._substitute(expression.text))
        found = {selector: self._series(selector) for selector in selectors}
        absent = [one for one, series in found.items() if series == 0 and not one.startswith(OF_STARTED_WORKERS)]
        return Answer(sum(found.values()), f"no series for {absent}" if absent else None)

    def _series(self, selector: str) -> int:
        asked = self._prometheus.query(selector) or self._prometheus.query(expressions.any_value(selector))
        return len(asked)

    def variable(self, variable: Variable) -> Answer:
        values = self._prometheus.label_values(variable.label, self._substitute(variable.series))
        return Answer(len(values), None if values else "no values")


@dataclass(frozen=True)
class Check:
    where: str
    text: str
    kind: str
    evaluate: Callable[[], Answer]

    def answer(self) -> Answer:
        try:
            return self.evaluate()
        except QueryError as error:
            return Answer(0, str(error))


def main() -> int:
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="adaptive-router-prometheus-")))
        rig = Rig(stack)
        rig.start_fleet()
        rig.start_router()
        rig.start_prometheus(data)
        rig.start_load()
        rig.burst()
        rig.hang_up()
        rig.make_a_mistake()
        prometheus = Prometheus(rig.prometheus_port)
        substitute = substitution(rig, prometheus)
        # After Prometheus has seen the router: a rate is made of what changes between two looks.
        rig.change_a_role()
        checks = every_check(Evaluation(prometheus, substitute))
        answers = ask_until_all_is_well(checks)
        return report(checks, answers, rule_troubles(prometheus))


def substitution(rig: Rig, prometheus: Prometheus) -> Substitution:
    workers: list[str] = []

    def all_are_known() -> bool:
        workers[:] = prometheus.label_values("worker", "adaptive_router_worker_info")
        return len(workers) == rig.worker_count

    until("Prometheus knows every worker", all_are_known)
    return Substitution(rig.router_instance, tuple(workers), RATE_INTERVAL)


def every_check(evaluation: Evaluation) -> list[Check]:
    checks = []
    for path in BOARDS:
        checks += [values_check(evaluation, variable) for variable in expressions.variables(path)]
        checks += [data_check(evaluation, panel) for panel in expressions.panel_expressions(path)]
        checks += [quiet_check(evaluation, annotation) for annotation in expressions.annotation_expressions(path)]
    checks += [quiet_check(evaluation, alert) for alert in expressions.alert_expressions()]
    return checks


def values_check(evaluation: Evaluation, variable: Variable) -> Check:
    return Check(variable.where, variable.series, "values", lambda: evaluation.variable(variable))


def data_check(evaluation: Evaluation, panel: Expression) -> Check:
    return Check(panel.where, panel.text, "series", lambda: evaluation.data(panel))


def quiet_check(evaluation: Evaluation, expression: Expression) -> Check:
    on_one_line = " ".join(expression.text.split())
    return Check(expression.where, on_one_line, "series read", lambda: evaluation.quiet(expression))


def ask_until_all_is_well(checks: list[Check]) -> dict[Check, Answer]:
    """Asks again what has no data yet, until none is left or patience ends."""
    end = time.monotonic() + PATIENCE_S
    answers: dict[Check, Answer] = {}
    while True:
        left = [one for one in checks if one not in answers or answers[one].trouble]
        answers |= {one: one.answer() for one in left}
        if not any(answer.trouble for answer in answers.values()) or time.monotonic() > end:
            return answers
        time.sleep(BETWEEN_ROUNDS_S)


def rule_troubles(prometheus: Prometheus) -> list[str]:
    """Rules that Prometheus itself could not evaluate, templates of annotations included."""
    until("every rule was evaluated", lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()))
    return [f"{rule['name']}: {rule['lastError']}" for rule in prometheus.rules() if rule["health"] != "ok"]


def report(checks: list[Check], answers: dict[Check, Answer], rules: list[str]) -> int:
    for one in checks:
        answer = answers[one]
        outcome = f"FAILED {answer.trouble}" if answer.trouble else f"ok {answer.series:4} {one.kind:11}"
        print(f"{outcome}  {one.where}: {one.text}")
    for trouble in rules:
        print(f"FAILED rule {trouble}")
    failed = sum(answers[one].trouble is not None for one in checks)
    print(f"\n{len(checks)} expressions evaluated on Prometheus")
    print(f"{len(checks) - failed} passed, {failed + len(rules)} failed")
    return 1 if failed or rules else 0


if __name__ == "__main__":
    sys.exit(main())
