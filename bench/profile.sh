#!/usr/bin/env bash
# bench/profile.sh MODEL REQUESTS [options of fare score]: where the processor time of a run with a routing trace goes, by perf.
# Matrix products are oneDNN's generated code: kernels, and the copies that lay a weight out for them.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v perf >/dev/null; then echo "SKIPPED: perf is not there"; exit 0; fi
folder=$(mktemp -d)
trap 'rm -rf "$folder" "/tmp/perf-$(cat "$folder/pid").map"' EXIT
echo none >"$folder/pid"
model=$1 requests=$2
shift 2
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}" ONEDNN_JIT_PROFILE=6
perf record -q -e cpu-clock -F 250 -o "$folder/perf.data" bash -c 'echo $$ >"$0"; exec "$@"' "$folder/pid" "${FARE_BUILD:-build}/fare" score --model "$model" --requests "$requests" \
  --out "$folder/scores.jsonl" --trace routes --quiet "$@"
perf report -i "$folder/perf.data" --no-children --sort dso,symbol --stdio 2>/dev/null | awk '
  !/^ *[0-9.]+%/ { next }
  { share = $1 + 0 }
  /brgemm_kernel/ { kernels += share; next }
  /copy_[ab]/ { copies += share; next }
  /\[JIT\]/ { products += share; next }
  /\[k\]/ { system_ += share; next }
  { rest[$2] += share }
  END {
    printf "%6.1f%% matrix products (%.1f%% kernels, %.1f%% laying out weights)\n%6.1f%% operating system\n", kernels + copies + products, kernels, copies, system_
    for (name in rest) if (rest[name] >= 0.5) printf "%6.1f%% %s\n", rest[name], name
  }'
