#!/usr/bin/env bash
# Runs a part of the study on a machine with a GPU, from what pack.sh packed.
#
#   [PACK=.gpu] bench/real/gpu.sh PART [OPTIONS]           see study.py
#   [PACK=.gpu] bench/real/gpu.sh lanes [OPTIONS] LANE...  several parts, several GPUs: see lanes.py
#
# Unpacks into /tmp/real-study once; results go to OUT.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
FOLDER=$PWD/${PACK:-.gpu}
PLACE=/tmp/real-study/pack

if [[ ! -e $PLACE/unpacked ]]; then
  mkdir -p "$PLACE"
  # Python's own xz: the machine may have no other.
  unpack() {
    python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="data")' "$1" "$2"
  }
  unpack "$FOLDER/pack.tar.xz" "$PLACE"
  if [[ -e $FOLDER/peer.tar.xz ]]; then unpack "$FOLDER/peer.tar.xz" "$PLACE/peer"; fi
  # What the peer needs beside itself is in the rig's bundle.
  printf '#!/bin/sh\nPYTHONPATH=%s exec python3 "$@"\n' "$PLACE/peer:${SITE:-/tmp/site}/deps" >"$PLACE/peer-python"
  chmod +x "$PLACE/peer-python"
  # Names for a loopback address that decode workers don't know a prefill worker by; sglang-router needs them.
  if command -v nvidia-smi >/dev/null; then echo "127.0.0.1 $(echo loop{1..12})" >>/etc/hosts || true; fi
  touch "$PLACE/unpacked"
fi

export SGLANG_RIG="$FOLDER/rig" SGLANG_RIG_KIND=gpu PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export ADAPTIVE_ROUTER="$PLACE/adaptive-router" PD_BENCH="$PLACE/pd-bench"
if [[ -e $PLACE/peer ]]; then export PEER_PYTHON="$PLACE/peer-python"; fi
PROGRAM=study.py
if [[ ${1:-} == lanes ]]; then
  PROGRAM=lanes.py
  shift
fi
exec python3 "bench/real/$PROGRAM" "$@"
