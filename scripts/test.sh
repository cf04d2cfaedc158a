#!/usr/bin/env bash
# scripts/test.sh BUILD_FOLDER JOBS: runs every test and lists what was skipped, with the sentence of each.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$1" jobs="$2"
status=0
ctest --test-dir "$folder" --output-on-failure --no-tests=error -j "$jobs" || status=$?
python3 scripts/list_skipped.py "$folder/Testing/Temporary/LastTest.log"
exit "$status"
