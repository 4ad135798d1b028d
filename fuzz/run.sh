#!/usr/bin/env bash
# Runs every fuzz target, or those that are named, for so many seconds each; says how many inputs each tried.
#
#   fuzz/run.sh 6                    all targets, 6 s each: what .ci/run does
#   fuzz/run.sh 3600 request events  two of them, an hour each
#
# Works on the stable toolchain: without a sanitizer cargo-fuzz needs nothing of a nightly one, and the router has no
# unsafe code for a sanitizer to look at. New inputs go to fuzz/found, which is not kept; `cargo fuzz cmin` makes a small
# corpus of them. An input that breaks a property is left in fuzz/artifacts: put it into fuzz/corpus/TARGET, where
# `cargo test --test corpora` finds it, and mend the code.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SECONDS_EACH="${1:?seconds for each target}"
shift
TARGETS=("$@")
[[ ${#TARGETS[@]} -gt 0 ]] || mapfile -t TARGETS < <(cargo fuzz list)

cargo fuzz build --sanitizer none
for target in "${TARGETS[@]}"; do
  mkdir -p "fuzz/found/$target"
  log="fuzz/found/$target.log"
  # 64 KiB: longer bodies and heads only repeat what shorter ones hold.
  if ! cargo fuzz run --sanitizer none "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$SECONDS_EACH" -max_len=65536 -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "$target: an input broke its property" >&2
    exit 1
  fi
  printf '%-16s %s inputs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
done
