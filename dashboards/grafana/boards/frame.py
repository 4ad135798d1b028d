"""What every board has: its variables, the moves of workers as annotations, links to the other boards, panel ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard, table

from .panels import SOURCE
from .promql import ROUTER

TAG = "adaptive-router"


@dataclass(frozen=True)
class Section:
    """A row's title and its panels. `repeat` names a variable: the row is shown once for each of its values."""

    title: str
    panels: Sequence[Builder[dashboard.Panel]]
    repeat: str | None = None


class Happening(dashboard.AnnotationQuery):
    """An annotation from Prometheus.

    The SDK's model ends at the fields that all data sources share; Grafana reads these two as well.
    """

    # Two scrapes of 15 s fit into the expressions' window of 30 s, and every change is seen by one step or two.
    STEP = "15s"

    def __init__(self, name: str, title: str, colour: str, expr: str) -> None:
        super().__init__(name=name, datasource=SOURCE, icon_color=colour, expr=expr)
        self.title = title

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"titleFormat": self.title, "step": self.STEP}


@dataclass(frozen=True)
class Annotation(Builder[dashboard.AnnotationQuery]):
    name: str
    title: str
    colour: str
    expr: str

    def build(self) -> dashboard.AnnotationQuery:
        return Happening(self.name, self.title, self.colour, self.expr)


ROLE_CHANGES = Annotation(
    "Role changes",
    "{{from}} to {{to}}",
    "purple",
    f"sum by (from, to) (changes(adaptive_router_role_changes_total{{{ROUTER}}}[30s])) > 0",
)
FAILED_TRANSITIONS = Annotation(
    "Failed transitions",
    "Transition failed",
    "red",
    f"changes(adaptive_router_controller_failed_transitions_total{{{ROUTER}}}[30s]) > 0",
)
STATE_CHANGES = Annotation(
    "State changes",
    "{{from}} to {{to}}",
    "yellow",
    f"sum by (from, to) (changes(adaptive_router_worker_state_changes_total{{{ROUTER}}}[30s])) > 0",
)

DATASOURCE = dash.DatasourceVariable("datasource").label("Data source").type("prometheus")


def router_variable() -> dash.QueryVariable:
    return _label_values("router", "Router", "adaptive_router_build_info", "instance")


def worker_variable() -> dash.QueryVariable:
    chosen = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
    variable = _label_values("worker", "Worker", f"adaptive_router_worker_info{{{ROUTER}}}", "worker")
    return variable.multi(True).include_all(True).current(chosen)


def frame(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[dash.QueryVariable],
    annotations: Sequence[Annotation],
    sections: Sequence[Section],
) -> dashboard.Dashboard:
    board = (
        dash.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG, "sglang"])
        .editable()
        .refresh("5s")
        .time("now-15m", "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables([DATASOURCE, router_variable(), *variables])
        .annotations(list(annotations))
        .link(_links())
    )
    for section in sections:
        board = _with_section(board, section)
    return _tidied(board.build())


def _with_section(board: dash.Dashboard, section: Section) -> dash.Dashboard:
    # Panels follow their open row as its siblings; Grafana keeps only those of a closed row inside it.
    row = dash.Row(section.title)
    board = board.with_row(row.repeat(section.repeat) if section.repeat else row)
    for panel in section.panels:
        board = board.with_panel(panel)
    return board


def _tidied(board: dashboard.Dashboard) -> dashboard.Dashboard:
    """Numbers the panels, and takes out what the SDK always writes and later versions of the schema don't have."""
    for number, panel in enumerate(board.panels or [], 1):
        panel.id_val = number
        if isinstance(panel, dashboard.Panel) and isinstance(panel.options, table.Options):
            panel.options.footer = None
    templating = board.templating or dashboard.DashboardDashboardTemplating()
    for variable in templating.list_val or []:
        variable.auto = variable.auto_min = variable.auto_count = None
    return board


def _links() -> dash.DashboardLink:
    link = dash.DashboardLink("Boards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(False).include_vars(True).keep_time(True)


def _label_values(name: str, label: str, metric: str, wanted: str) -> dash.QueryVariable:
    return (
        dash.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"qryType": 1, "query": f"label_values({metric},{wanted})", "refId": "A"})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )
