"""The kinds of panel that the boards are made of, each with the look it has everywhere.

Colours mean the same on every board: blue is prefill, orange decode, purple regular; green is good, yellow on its way,
red needs a person. A dashed line is a wish (target, objective, prediction), a solid one what was measured.
"""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models import prometheus as prom

from . import promql

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")

COLOURS = {
    "prefill": "blue",
    "decode": "orange",
    "regular": "purple",
    "starting": "light-blue",
    "serving": "green",
    "draining": "light-yellow",
    "switching": "yellow",
    "verifying": "dark-yellow",
    "unhealthy": "light-red",
    "failed": "dark-red",
    "p50": "light-green",
    "p90": "yellow",
    "p99": "orange",
    "objective": "red",
    "good": "green",
    "ttft missed": "light-orange",
    "itl missed": "orange",
    "both missed": "light-red",
    "completed": "green",
    "refused": "light-yellow",
    "client gone": "light-blue",
    "measured": "green",
    "predicted": "light-purple",
    "off": "text",
    "holding": "green",
    "moving": "yellow",
    "frozen": "red",
}

# The names that series get from a legend which is nothing but a label.
LABEL_VALUES = {"{{role}}": promql.ROLES, "{{state}}": promql.STATES}


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str
    dashed: bool = False


def lines(title: str, description: str, unit: str, *queries: Query, span: int = 8) -> timeseries.Panel:
    """Measurements over time, from zero up."""
    return _lines(title, description, unit, queries, span).min(0)


def shares(title: str, description: str, *queries: Query, span: int = 8) -> timeseries.Panel:
    """Shares that are nearly 1 when all is well: the axis shows the last tenth, and more when they fall below it."""
    return _lines(title, description, "percentunit", queries, span).max(1).axis_soft_min(0.9)


def stacked(title: str, description: str, unit: str, *queries: Query, span: int = 8) -> timeseries.Panel:
    """Parts of a whole over time."""
    panel = _series(title, description, unit, queries, span).min(0)
    return panel.fill_opacity(45).stacking(build.StackingConfig().mode(common.StackingMode.NORMAL))


def steps(title: str, description: str, unit: str, *queries: Query, span: int = 12) -> timeseries.Panel:
    """Counts of workers over time: stacked, and never sloped, because there is no half worker."""
    panel = stacked(title, description, unit, *queries, span=span)
    return panel.line_interpolation(common.LineInterpolation.STEP_AFTER).decimals(0)


def bars(title: str, description: str, unit: str, *queries: Query, span: int = 8) -> timeseries.Panel:
    """Single happenings over time."""
    panel = stacked(title, description, unit, *queries, span=span)
    return panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(80)


def figure(title: str, description: str, unit: str, *queries: Query, span: int = 4) -> stat.Panel:
    """What it is now, large, with its course behind it."""
    panel = (
        _dressed(stat.Panel(), title, description, queries)
        .unit(unit)
        .span(span)
        .height(4)
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("–")
        .thresholds(thresholds((None, "text")))
    )
    # Only roles and states: a number in the colour of p99 would look like a warning.
    return _coloured(panel, tuple(query for query in queries if query.legend in LABEL_VALUES))


def word(title: str, description: str, query: Query, mappings: list[dashboard.ValueMapping], span: int) -> stat.Panel:
    """A state that the expression gives as a code. Its course would be a line through codes, so there is none."""
    panel = figure(title, description, "short", query, span=span)
    return panel.mappings(mappings).graph_mode(common.BigValueGraphMode.NONE)


def heat(title: str, description: str, histogram: str, selector: str, span: int = 8) -> heatmap.Panel:
    """How a duration is distributed, over time."""
    expr = f"sum by (le) (increase({histogram}_bucket{{{selector}}}[$__rate_interval]))"
    target = _target(0, Query(expr, "{{le}}")).format(prom.PromQueryFormat.HEATMAP)
    colours = heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .with_target(target)
        .span(span)
        .height(8)
        .calculate(False)
        .scale_distribution(build.ScaleDistributionConfig().type(common.ScaleDistribution.LINEAR))
        .color(colours)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .cell_values(heatmap.CellValues().unit("short"))
        .show_legend()
        .hide_y_histogram()
    )


def timeline(title: str, description: str, *queries: Query, span: int = 24, height: int = 7) -> statetimeline.Panel:
    """States over time as coloured bands. The expressions give codes, see `promql.state_code`."""
    return (
        _dressed(statetimeline.Panel(), title, description, queries)
        .span(span)
        .height(height)
        .mappings([CODES])
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(75)
        .show_value(common.VisibilityMode.AUTO)
        .legend(build.VizLegendOptions().show_legend(False).display_mode(common.LegendDisplayMode.LIST))
        .thresholds(thresholds((None, "text")))
    )


@dataclass(frozen=True)
class Column:
    name: str
    expr: str
    unit: str = "short"


def per_worker_table(title: str, description: str, *columns: Column) -> table.Panel:
    """One line a worker: the newest value of every column, joined by the label `worker`."""
    panel = table.Panel().title(title).description(description).datasource(SOURCE).span(24).height(8)
    panel = panel.align(common.FieldTextAlignment.AUTO).show_header(True)
    for place, column in enumerate(columns):
        query = _target(place, Query(column.expr, "")).instant().format(prom.PromQueryFormat.TABLE)
        panel = panel.with_target(query).override_by_name(column.name, [_property("unit", column.unit)])
    names = {f"Value #{_ref(place)}": column.name for place, column in enumerate(columns)}
    order = ["worker", *names]
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    return panel.with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {name: place for place, name in enumerate(order)},
                "renameByName": {"worker": "Worker", **names},
            },
        )
    )


def coded_column(panel: table.Panel, name: str) -> table.Panel:
    """Shows a column's codes as coloured text."""
    cell = {"type": "color-background", "mode": "basic"}
    mapping = [CODES]
    return panel.override_by_name(name, [_property("mappings", mapping), _property("custom.cellOptions", cell)])


def thresholds(*levels: tuple[float | None, str]) -> dash.ThresholdsConfig:
    """Colours by value, from the lowest up; the first level has no bound."""
    found = [dashboard.Threshold(value=value, color=colour) for value, colour in levels]
    return dash.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(found)


def words(*names: tuple[int, str, str]) -> list[dashboard.ValueMapping]:
    """Text and colour in place of a number."""
    found = {str(code): dashboard.ValueMappingResult(text=text, color=colour) for code, text, colour in names}
    return [dashboard.ValueMap(options=found)]


def _lines(title: str, description: str, unit: str, queries: tuple[Query, ...], span: int) -> timeseries.Panel:
    panel = _series(title, description, unit, queries, span).fill_opacity(8)
    for place, query in enumerate(queries):
        if query.dashed:
            panel = panel.override_by_query(_ref(place), DASHED)
    return panel


def _series(title: str, description: str, unit: str, queries: tuple[Query, ...], span: int) -> timeseries.Panel:
    panel = (
        _dressed(timeseries.Panel(), title, description, queries)
        .unit(unit)
        .span(span)
        .height(8)
        .line_width(2)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            build.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    return _coloured(panel, queries)


def _dressed(panel, title: str, description: str, queries: tuple[Query, ...]):
    """What every panel has. The builders share these methods but no base class, so there is no type to name here."""
    panel = panel.title(title).description(description).datasource(SOURCE)
    for place, query in enumerate(queries):
        panel = panel.with_target(_target(place, query))
    return panel


def _coloured(panel, queries: tuple[Query, ...]):
    """Gives the series whose names have a meaning that meaning's colour; the others keep Grafana's palette."""
    for name in (name for query in queries for name in LABEL_VALUES.get(query.legend, (query.legend,))):
        colour = COLOURS.get(name.removesuffix(" target"))
        if colour:
            value = dashboard.FieldColor(mode=dashboard.FieldColorModeId.FIXED, fixed_color=colour).to_json()
            panel = panel.override_by_name(name, [_property("color", value)])
    return panel


def _target(place: int, query: Query) -> prometheus.Dataquery:
    found = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(_ref(place)).datasource(SOURCE)
    return found.range().editor_mode(prom.QueryEditorMode.CODE)


def _ref(place: int) -> str:
    return chr(ord("A") + place)


def _property(name: str, value: object) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=name, value=value)


DASHED = [
    _property("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
    _property("custom.fillOpacity", 0),
]

CODES = words(
    *((code, name, COLOURS[name]) for code, name in enumerate(promql.STATES, 1)),
    *((code, name, COLOURS[name]) for code, name in enumerate(promql.ROLES, promql.FIRST_ROLE_CODE)),
)[0]
