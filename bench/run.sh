#!/usr/bin/env bash
# bench/run.sh [--quick | --full] [--write] [options of compare.py]: micro-benchmarks, then fare against its peers.
# Expects a build with FARE_BUILD_BENCH=ON, which `make bench`, `make bench-quick` and `make bench-full` do.
set -euo pipefail
cd "$(dirname "$0")/.."
build="${FARE_BUILD:-build}"
python="${FARE_PYTHON:-.venv/bin/python}"
quick=() minutes=24  # of everything here
for argument in "$@"; do
  if [[ $argument == --quick ]]; then quick=(--benchmark_min_time=0.02) minutes=3.7; fi
done
status=0
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"  # as fare starts itself: spinning threads lose on a machine with other work
mkdir -p out/bench

echo "== micro-benchmarks (load: $(cut -d' ' -f1-3 /proc/loadavg))"
"$build/bench/micro" "${quick[@]}" --benchmark_out=out/bench/micro.json --benchmark_out_format=json \
  --benchmark_counters_tabular=true

if ((${#quick[@]} == 0)); then
  echo
  echo "== instructions"
  python3 bench/instructions.py --micro "$build/bench/micro" || status=1
fi

echo
echo "== against transformers and lm-evaluation-harness"
if ! "$python" -c 'import torch, transformers, tokenizers, safetensors, lm_eval' 2>/dev/null; then
  echo "SKIPPED: $python has no transformers or no lm_eval; run 'make setup' first"
  exit "$status"
fi
left=$(awk -v all="$minutes" -v used="$SECONDS" 'BEGIN { print all - used / 60 }')
"$python" bench/compare.py --fare "$build/fare" --minutes "$left" "$@"
exit "$status"
