#!/usr/bin/env bash
# The GPU's commands on a machine without one: the rig's own scripts, with simulated workers in the place of SGLang and nothing
# in the place of nvidia-smi and MPS. What runs is what runs there, but for the workers; figures mean nothing.
#
#   SGLANG_RIG=DIR OUT=FOLDER [GPUS_SHOWN=2] bench/real/rehearse.sh lanes [OPTIONS] LANE...        as gpu.sh
#
# Needs target/release/pd-bench and adaptive-router, or PD_BENCH and ADAPTIVE_ROUTER.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${SGLANG_RIG:?names the folder of a rig of SGLang workers}"
PLACE=${PLACE:-/tmp/real-rehearsal}
export PD_BENCH=${PD_BENCH:-$PWD/target/release/pd-bench} ADAPTIVE_ROUTER=${ADAPTIVE_ROUTER:-$PWD/target/release/adaptive-router}

mkdir -p "$PLACE/bin" "$PLACE/site/sg" "$PLACE/rig"
cp -r "$SGLANG_RIG/gpu" "$SGLANG_RIG/client" "$SGLANG_RIG/processes.sh" "$PLACE/rig/" 2>/dev/null || true
chmod -R u+w "$PLACE/rig"
rm -rf "$PLACE/site/sg/sglang" && cp -r bench/stand-in/sglang "$PLACE/site/sg/sglang"
# As unpacked, so that the rig's scripts take it for SGLang.
cp "$SGLANG_RIG/gpu/manifest.json" "$PLACE/site/manifest.json"
printf '#!/bin/sh\nfor gpu in $(seq %s); do echo "GPU $gpu: none"; done\n' "${GPUS_SHOWN:-2}" >"$PLACE/bin/nvidia-smi"
printf '#!/bin/sh\nexit 0\n' >"$PLACE/bin/nvidia-cuda-mps-control"
chmod +x "$PLACE/bin"/*

PROGRAM=study.py
if [[ ${1:-} == lanes ]]; then
  PROGRAM=lanes.py
  shift
fi
export PATH="$PLACE/bin:$PATH" SITE="$PLACE/site" SGLANG_RIG="$PLACE/rig" SGLANG_RIG_KIND=gpu PYTHONUNBUFFERED=1
export STAND_IN_WORKER_ARGS="--timing $PWD/bench/real/models/gpu-model-wide.toml"
exec python3 "bench/real/$PROGRAM" "$@"
