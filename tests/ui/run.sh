#!/usr/bin/env bash
# The page at /ui in a headless Chromium: with a real router under load, and with a feed made for what a real router
# does not show on demand. Prints a line a check; fails when one fails.
#
#   tests/ui/run.sh [FOLDER]   screenshots go to FOLDER (target/ui-screenshots if none is named)
#
# Needs the Debian packages chromium, chromium-driver and python3-selenium. ADAPTIVE_ROUTER and PD_BENCH may name
# binaries that are built already, PYTHON an interpreter that has selenium.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

SCREENSHOTS="${1:-target/ui-screenshots}"

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# The system's interpreter is the one that Debian's selenium is installed for; another may be first in the path.
if [[ -z "${PYTHON:-}" ]]; then
  for PYTHON in python3 /usr/bin/python3; do "$PYTHON" -c 'import selenium' 2>/dev/null && break; done
fi
"$PYTHON" -c 'import selenium' 2>/dev/null || fail "no selenium: apt-get install python3-selenium"
command -v chromium >/dev/null || fail "no chromium: apt-get install chromium"
command -v chromedriver >/dev/null || fail "no chromedriver: apt-get install chromium-driver"

if [[ -z "${PD_BENCH:-}" || -z "${ADAPTIVE_ROUTER:-}" ]]; then
  cargo build --locked --workspace
fi
export PD_BENCH="${PD_BENCH:-target/debug/pd-bench}"
export ADAPTIVE_ROUTER="${ADAPTIVE_ROUTER:-target/debug/adaptive-router}"

mkdir -p "$SCREENSHOTS"
exec "$PYTHON" tests/ui/page.py "$SCREENSHOTS"
