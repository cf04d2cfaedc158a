#!/usr/bin/env bash
# scripts/lint.sh BUILD_FOLDER JOBS [FILE ..]: formatting, clang-tidy (all our .cpp files, or those named), house checks.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$1" jobs="$2"
shift 2
scripts/format.sh --check
if (($#)); then files=("$@"); else mapfile -t files < <(find fare cli -name '*.cpp' ! -name '*_test.cpp' | sort); fi
# clang-tidy wants a command for every file, and cannot read the compiler's precompiled header.
cmake --preset release -B "$folder/lint" -DFARE_UNITY=OFF >"$folder/lint.log" 2>&1 || { cat "$folder/lint.log" >&2; exit 1; }
sed -E -i 's/-include [^ ]*cmake_pch\.hxx//g; s/-Winvalid-pch//g; s/-fpch-preprocess//g' "$folder/lint/compile_commands.json"
printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "$jobs" clang-tidy --quiet -p "$folder/lint" --extra-arg=-Wno-unknown-warning-option
python3 tests/check_floors.py
python3 tests/check_tree.py
