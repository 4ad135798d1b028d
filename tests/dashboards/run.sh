#!/usr/bin/env bash
# The dashboards and alerts: their files, their tests, and every expression of them on a real Prometheus that watches a
# router under load.
#
#   tests/dashboards/run.sh
#
# Needs Debian's prometheus (which brings promtool), Python 3.11 or newer with PyPI, and Node 20 or newer with npm.
# PD_BENCH and ADAPTIVE_ROUTER may name binaries that are built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for tool in prometheus promtool python3 node npm; do
  command -v "$tool" >/dev/null || { echo "$tool is missing; promtool comes with Debian's prometheus" >&2; exit 1; }
done

if [[ -z "${PD_BENCH:-}" || -z "${ADAPTIVE_ROUTER:-}" ]]; then
  cargo build --locked --workspace
fi
export PD_BENCH="${PD_BENCH:-target/debug/pd-bench}"
export ADAPTIVE_ROUTER="${ADAPTIVE_ROUTER:-target/debug/adaptive-router}"

VENV="${VENV:-target/dashboards/venv}"
[[ -x $VENV/bin/python ]] || python3 -m venv "$VENV"
"$VENV/bin/pip" install --quiet --disable-pip-version-check -r tests/dashboards/requirements.txt

npm ci --prefix tests/dashboards/schema --no-audit --no-fund --loglevel=error

promtool check config dashboards/prometheus/prometheus.yml
promtool test rules dashboards/prometheus/alerts_test.yml
npm run check --prefix tests/dashboards/schema --silent
"$VENV/bin/python" -m unittest discover --start-directory tests/dashboards --pattern 'test_*.py'
"$VENV/bin/python" tests/dashboards/live.py
