"""The dashboards as files: complete, importable, laid out, and what their source makes."""

import json
import subprocess
import sys
import unittest
from collections.abc import Iterator
from itertools import combinations

import expressions
from expressions import BOARDS, DASHBOARDS, load_board, panels
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

GRID_WIDTH = 24
# Grafana reads these from an annotation of a Prometheus source; the schema ends at what all sources share.
PROMETHEUS_ANNOTATION_FIELDS = {"titleFormat", "step"}


def every_board() -> list[tuple[str, dict]]:
    return [(path.stem, load_board(path)) for path in BOARDS]


def every_panel() -> list[tuple[str, dict]]:
    return [(f"{name} / {panel['title']}", panel) for name, board in every_board() for panel in panels(board)]


class Boards(unittest.TestCase):
    def test_there_are_three_boards(self):
        self.assertEqual([path.stem for path in BOARDS], ["controller", "overview", "workers"])

    def test_the_committed_boards_are_what_the_source_makes(self):
        generator = DASHBOARDS / "grafana" / "generate.py"
        result = subprocess.run([sys.executable, generator, "--check"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_the_schema_knows_every_field(self):
        """Read into the typed model and written again, nothing is lost: no field is unknown or misplaced."""
        register_default_plugins()
        for name, board in every_board():
            with self.subTest(board=name):
                for annotation in board["annotations"]["list"]:
                    for field in PROMETHEUS_ANNOTATION_FIELDS:
                        del annotation[field]
                again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
                self.assertEqual(list(_lost(board, again)), [])

    def test_every_board_can_be_found_and_told_apart(self):
        boards = [load_board(path) for path in BOARDS]
        self.assertEqual(len({board["uid"] for board in boards}), len(boards))
        self.assertEqual(len({board["title"] for board in boards}), len(boards))
        for name, board in every_board():
            with self.subTest(board=name):
                self.assertIn("adaptive-router", board["tags"])
                self.assertLessEqual(len(board["uid"]), 40, "Grafana refuses longer ones")
                self.assertEqual(board["refresh"], "5s")
                self.assertNotIn("id", board, "an id of one Grafana collides in another")

    def test_the_data_source_is_a_variable_everywhere(self):
        for name, board in every_board():
            with self.subTest(board=name):
                variables = {variable["name"]: variable["type"] for variable in board["templating"]["list"]}
                self.assertEqual(variables["datasource"], "datasource")
                sources = set(_values_of("datasource", board))
                self.assertEqual(sources, {("prometheus", "${datasource}")})

    def test_every_panel_has_its_own_id(self):
        for name, board in every_board():
            with self.subTest(board=name):
                ids = [panel["id"] for panel in board["panels"]]
                self.assertEqual(len(set(ids)), len(ids))

    def test_every_panel_says_what_it_shows(self):
        for name, panel in every_panel():
            with self.subTest(panel=name):
                self.assertGreater(len(panel["title"]), 2)
                self.assertGreater(len(panel["description"]), 20)
                self.assertGreater(len(panel["targets"]), 0)

    def test_every_number_has_a_unit(self):
        for name, panel in every_panel():
            with self.subTest(panel=name):
                match panel["type"]:
                    case "timeseries" | "stat":
                        self.assertTrue(panel["fieldConfig"]["defaults"].get("unit"))
                    case "heatmap":
                        self.assertTrue(panel["options"]["yAxis"]["unit"])
                    case "table":
                        overrides = panel["fieldConfig"]["overrides"]
                        columns = [override for override in overrides if override["properties"][0]["id"] == "unit"]
                        self.assertEqual(len(columns), len(panel["targets"]))
                    case "state-timeline":
                        self.assertTrue(panel["fieldConfig"]["defaults"]["mappings"], "codes are shown as words")
                    case other:
                        self.fail(f"what is the unit of a {other}?")

    def test_queries_of_a_panel_are_told_apart(self):
        for name, panel in every_panel():
            with self.subTest(panel=name):
                refs = [target["refId"] for target in panel["targets"]]
                self.assertEqual(len(set(refs)), len(refs))

    def test_no_two_panels_overlap(self):
        for name, board in every_board():
            with self.subTest(board=name):
                for one, other in combinations(board["panels"], 2):
                    self.assertFalse(_overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"]))

    def test_panels_stay_within_the_grid_and_fill_it(self):
        for name, board in every_board():
            with self.subTest(board=name):
                for panel in board["panels"]:
                    self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], GRID_WIDTH, panel["title"])
                bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
                covered = sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in board["panels"])
                self.assertEqual(covered, bottom * GRID_WIDTH, "there is a hole in the layout")

    def test_every_variable_in_an_expression_is_one_of_the_board(self):
        built_in = {"__rate_interval"}
        for path in BOARDS:
            named = {variable["name"] for variable in load_board(path)["templating"]["list"]}
            for expression in expressions.panel_expressions(path) + expressions.annotation_expressions(path):
                with self.subTest(expression=expression.where):
                    self.assertLessEqual(expressions.variables_in(expression.text), named | built_in)


def _lost(before, after, place: str = "") -> Iterator[str]:
    """Where `after` doesn't say what `before` said. It may say more: the model writes its defaults."""
    match before, after:
        case dict(), dict():
            for key, value in before.items():
                yield from _lost(value, after.get(key), f"{place}/{key}")
        case list(), list() if len(before) == len(after):
            for index, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from _lost(one, other, f"{place}/{index}")
        case _ if before != after:
            yield place


def _values_of(key: str, value) -> list[tuple[str, str]]:
    """Every data source reference in a board, however deep."""
    match value:
        case dict():
            here = [(value[key]["type"], value[key]["uid"])] if isinstance(value.get(key), dict) else []
            return here + [found for inner in value.values() for found in _values_of(key, inner)]
        case list():
            return [found for inner in value for found in _values_of(key, inner)]
        case _:
            return []


def _overlap(one: dict, other: dict) -> bool:
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    down = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
    return across and down


if __name__ == "__main__":
    unittest.main()
