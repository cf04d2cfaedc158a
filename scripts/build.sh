#!/usr/bin/env bash
# scripts/build.sh PRESET JOBS [cmake arguments]: configures (first time, or when told something new) and builds.
set -euo pipefail
cd "$(dirname "$0")/.."
preset="$1" jobs="$2"
shift 2
folder=build
[[ $preset == release ]] || folder="build-$preset"
# Ninja reruns cmake by itself when a CMakeLists changed; the log is shown only when configuring fails.
if [[ ! -f $folder/build.ninja || $# -gt 0 || -n "${FARE_TORCH:-}" ]]; then
  mkdir -p "$folder"
  if ! cmake --preset "$preset" ${FARE_TORCH:+-DFARE_TORCH="$FARE_TORCH"} "$@" >"$folder/configure.log" 2>&1; then
    cat "$folder/configure.log" >&2
    exit 1
  fi
fi
ninja -C "$folder" -j "$jobs" --quiet
echo "build: $folder is up to date"
