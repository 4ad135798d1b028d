#!/usr/bin/env bash
# Packs what a machine with a GPU and without network needs, into a folder to be copied there beside the repository.
#
#   SGLANG_RIG=DIR [PEER_WHEEL=FILE] bench/real/pack.sh [FOLDER]      (.gpu)
#
# The rig (its gpu/ and client/; the bundle packed anew), the release binaries of adaptive-router and pd-bench without symbols, and, where a wheel of
# sglang-router is given, that without symbols: as small as they get, since such copies are often limited. gpu.sh unpacks it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
FOLDER=${1:-.gpu}
: "${SGLANG_RIG:?names the folder of a rig of SGLang workers}"

squeeze() { xz --x86 --lzma2=preset=9e,dict=256MiB,lc=4 -c "$1"; }

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$FOLDER" "$WORK/pack"

for name in adaptive-router pd-bench; do
  strip -o "$WORK/pack/$name" "target/release/$name"
done
# One archive: the programs have much of their machine code in common.
tar -C "$WORK/pack" -cf "$WORK/pack.tar" .
squeeze "$WORK/pack.tar" >"$FOLDER/pack.tar.xz"

if [[ -n "${PEER_WHEEL:-}" && ! -e "$FOLDER/peer.tar.xz" ]]; then
  python3 -m zipfile -e "$PEER_WHEEL" "$WORK/peer"
  find "$WORK/peer" -name '*.so' -exec strip {} +
  tar -C "$WORK/peer" -cf "$WORK/peer.tar" .
  squeeze "$WORK/peer.tar" >"$FOLDER/peer.tar.xz"
fi

mkdir -p "$FOLDER/rig"
# The bundle takes minutes to pack anew: once is enough.
if [[ ! -e "$FOLDER/rig/gpu/packed" ]]; then
  rm -rf "$FOLDER/rig/gpu"
  cp -r "$SGLANG_RIG/gpu" "$FOLDER/rig/"
  chmod -R u+w "$FOLDER/rig/gpu"
  python3 bench/real/bundle.py "$SGLANG_RIG/gpu" "$FOLDER/rig/gpu"
  # The model that plans.py doesn't name.
  rm -rf "$FOLDER/rig/gpu/model"
  touch "$FOLDER/rig/gpu/packed"
fi
cp -r "$SGLANG_RIG/client" "$SGLANG_RIG/processes.sh" "$FOLDER/rig/"
chmod -R u+w "$FOLDER/rig"
rm -rf "$FOLDER"/rig/*/__pycache__

du -ab --max-depth=1 "$FOLDER" | sort -n
