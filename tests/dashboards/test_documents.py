"""Dashboards, alerts and documents agree with each other."""

import re
import unittest

import expressions
from expressions import BOARDS, DASHBOARDS, REPOSITORY

METRICS = REPOSITORY / "docs" / "metrics.md"
MONITORING = REPOSITORY / "docs" / "monitoring.md"
ALERTS_TEST = DASHBOARDS / "prometheus" / "alerts_test.yml"

# A histogram is one family in the document and three in an expression.
HISTOGRAM_SERIES = re.compile(r"_(bucket|sum|count)$")


def alerts() -> list[dict]:
    return [rule for rule in expressions.alert_rules() if "alert" in rule]


class Documents(unittest.TestCase):
    def test_every_metric_is_one_that_the_router_has(self):
        documented = set(re.findall(r"`((?:adaptive_router|smg|process)_\w+)", METRICS.read_text()))
        recorded = {rule["record"] for rule in expressions.alert_rules() if "record" in rule}
        for expression in expressions.every_expression():
            for metric in expressions.metrics(expression.text) - recorded - {"up"}:
                family = HISTOGRAM_SERIES.sub("", metric)
                with self.subTest(metric=metric, used_in=expression.where):
                    self.assertTrue({metric, family} & documented or metric.startswith("sglang:"))

    def test_every_alert_says_how_bad_it_is_and_what_to_do(self):
        for rule in alerts():
            with self.subTest(alert=rule["alert"]):
                self.assertIn(rule["labels"]["severity"], {"critical", "warning", "info"})
                self.assertLess(len(rule["annotations"]["summary"]), 80)
                self.assertGreater(len(rule["annotations"]["description"]), 100)

    def test_every_alert_is_seen_to_fire_in_a_test(self):
        fired = set(re.findall(r'alertname="(\w+)"', ALERTS_TEST.read_text()))
        self.assertEqual({rule["alert"] for rule in alerts()}, fired)

    def test_every_alert_and_every_board_is_documented(self):
        text = MONITORING.read_text()
        explained = set(re.findall(r"\| `(AdaptiveRouter\w+)` \|", text))
        self.assertEqual({rule["alert"] for rule in alerts()}, explained)
        for path in BOARDS:
            self.assertIn(f"dashboards/grafana/{path.name}", text)


if __name__ == "__main__":
    unittest.main()
