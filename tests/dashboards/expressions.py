"""Every PromQL expression that the dashboards and alerts contain, and what a person's Grafana would make of it.

Grafana puts values for its variables into an expression before Prometheus sees it; `Substitution` does the same here.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DASHBOARDS = REPOSITORY / "dashboards"
BOARDS = sorted((DASHBOARDS / "grafana").glob("*.json"))
ALERTS = DASHBOARDS / "prometheus" / "alerts.yml"

METRIC = re.compile(r"\b(?:adaptive_router|smg|process|sglang)[:_][a-z0-9_:]+|\bup\b(?=[{\[])")
SELECTOR = re.compile(rf"({METRIC.pattern})(\{{[^}}]*\}})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')
LABEL_IN_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
LABEL_VALUES = re.compile(r"label_values\((?P<series>.+),\s*(?P<label>\w+)\)")


@dataclass(frozen=True)
class Expression:
    """`where` is for people; `labels` are those that the legend or title wants in every series."""

    where: str
    text: str
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Variable:
    where: str
    series: str
    label: str


def load_board(path: Path) -> dict:
    return json.loads(path.read_text())


def panels(board: dict) -> list[dict]:
    """Without the rows, which are headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def panel_expressions(path: Path) -> list[Expression]:
    return [
        Expression(
            f"{path.stem} / {panel['title']} / {target['refId']}",
            target["expr"],
            frozenset(LABEL_IN_LEGEND.findall(target.get("legendFormat", ""))),
        )
        for panel in panels(load_board(path))
        for target in panel["targets"]
    ]


def annotation_expressions(path: Path) -> list[Expression]:
    """These have a comparison: between the happenings that they mark they return nothing."""
    return [
        Expression(f"{path.stem} / annotation {annotation['name']}", annotation["expr"])
        for annotation in load_board(path)["annotations"]["list"]
    ]


def variables(path: Path) -> list[Variable]:
    found = []
    for variable in load_board(path)["templating"]["list"]:
        if variable["type"] == "query":
            query = LABEL_VALUES.fullmatch(variable["query"]["query"])
            found.append(Variable(f"{path.stem} / variable {variable['name']}", query["series"], query["label"]))
    return found


def alert_rules() -> list[dict]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def alert_expressions() -> list[Expression]:
    return [Expression(f"alerts / {rule.get('alert') or rule['record']}", rule["expr"]) for rule in alert_rules()]


def every_expression() -> list[Expression]:
    boards = [found for path in BOARDS for found in panel_expressions(path) + annotation_expressions(path)]
    queries = [Expression(variable.where, variable.series) for path in BOARDS for variable in variables(path)]
    return boards + queries + alert_expressions()


def variables_in(expression: str) -> set[str]:
    return set(re.findall(r"\$(\w+)", expression))


def metrics(expression: str) -> set[str]:
    return set(METRIC.findall(expression))


def selectors(expression: str) -> list[str]:
    """The series that an expression reads, each as written."""
    return sorted({match[0] for match in SELECTOR.finditer(expression)})


def any_value(selector: str) -> str:
    """The selector with every label it names, of whatever value: there is no failed worker while all is well, but the
    metric and its label must be there."""
    return MATCHER.sub(r'\1!=""', selector)


@dataclass(frozen=True)
class Substitution:
    """What Grafana would put in place of its variables."""

    router: str
    workers: tuple[str, ...]
    rate_interval: str

    def __call__(self, expression: str) -> str:
        # All values of a variable become alternatives, with what is special in a regular expression escaped twice:
        # once for the expression, once for the string around it.
        workers = "|".join(re.sub(r"([.+*?^$()\[\]{}|\\])", r"\\\\\1", worker) for worker in self.workers)
        known = {"router": self.router, "worker": f"({workers})", "__rate_interval": self.rate_interval}
        return re.sub(r"\$(\w+)", lambda variable: known[variable[1]], expression)
