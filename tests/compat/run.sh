#!/usr/bin/env bash
# This router and sglang_router 0.3.2, side by side in front of the same simulated workers: the same requests go through
# both, and compare.py prints how the answers differ.
#
#   tests/compat/run.sh
#
# Needs Python 3.10 or newer and PyPI. PD_BENCH and ADAPTIVE_ROUTER may name binaries that are built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

VENV="${VENV:-target/compat/venv}"
LOGS="target/compat/logs"
mkdir -p "$LOGS"

if [[ -z "${PD_BENCH:-}" || -z "${ADAPTIVE_ROUTER:-}" ]]; then
  cargo build --locked --workspace
fi
PD_BENCH="${PD_BENCH:-target/debug/pd-bench}"
ADAPTIVE_ROUTER="${ADAPTIVE_ROUTER:-target/debug/adaptive-router}"

[[ -x $VENV/bin/python ]] || python3 -m venv "$VENV"
"$VENV/bin/pip" install --quiet --disable-pip-version-check 'openai>=1.40' 'sglang-router==0.3.2'

# Process groups: the peer's launcher starts a process of its own, which outlives the launcher.
GROUPS_STARTED=()
clean_up() {
  local group
  for group in "${GROUPS_STARTED[@]}"; do kill -TERM -- "-$group" 2>/dev/null || true; done
  sleep 1
  for group in "${GROUPS_STARTED[@]}"; do kill -KILL -- "-$group" 2>/dev/null || true; done
}
trap clean_up EXIT

start() {
  local log="$LOGS/$1.log"
  shift
  setsid "$@" >"$log" 2>&1 &
  GROUPS_STARTED+=("$!")
}

# Twelve ports in a row, held together for a moment: the fleet takes eight of them in two rows.
read -ra PORTS < <("$VENV/bin/python" - <<'PY'
import socket

def free(ports):
    held = [socket.socket() for _ in ports]
    try:
        for one, port in zip(held, ports):
            one.bind(("127.0.0.1", port))
        return True
    except OSError:
        return False
    finally:
        for one in held:
            one.close()

# Below the ports that outgoing connections get.
print(*next(ports for first in range(12000, 30000, 12) if free(ports := range(first, first + 12))))
PY
)
WORKERS=("${PORTS[@]:0:4}")
BOOTSTRAPS=("${PORTS[@]:4:4}")
OURS=${PORTS[8]} OUR_METRICS=${PORTS[9]}
PEER=${PORTS[10]} PEER_METRICS=${PORTS[11]}

FLEET=(--pd-disaggregation
  --prefill "http://127.0.0.1:${WORKERS[0]}" "${BOOTSTRAPS[0]}"
  --prefill "http://127.0.0.1:${WORKERS[1]}" "${BOOTSTRAPS[1]}"
  --decode "http://127.0.0.1:${WORKERS[2]}"
  --decode "http://127.0.0.1:${WORKERS[3]}"
  --policy round_robin --host 127.0.0.1 --worker-startup-check-interval 1)

start fleet "$PD_BENCH" simulated-fleet --prefill 2 --decode 2 --zero-delay \
  --first-port "${WORKERS[0]}" --first-bootstrap-port "${BOOTSTRAPS[0]}"
start ours "$ADAPTIVE_ROUTER" "${FLEET[@]}" --port "$OURS" --prometheus-port "$OUR_METRICS"
start peer "$VENV/bin/python" -m sglang_router.launch_router "${FLEET[@]}" --port "$PEER" --prometheus-port "$PEER_METRICS"

"$VENV/bin/python" tests/compat/compare.py --ours "http://127.0.0.1:$OURS" --peer "http://127.0.0.1:$PEER" \
  --worker "http://127.0.0.1:${WORKERS[0]}" "$@"
