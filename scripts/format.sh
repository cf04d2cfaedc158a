#!/usr/bin/env bash
# scripts/format.sh [--check]: clang-format over our C++ files; with --check only tells which would change.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v clang-format >/dev/null || { echo "format: clang-format is missing; run make setup" >&2; exit 1; }
mapfile -t files < <(find fare cli tests bench examples python -type f \( -name '*.h' -o -name '*.cpp' \) 2>/dev/null | sort)
if [[ "${1:-}" == --check ]]; then
  clang-format --dry-run --Werror "${files[@]}"
else
  clang-format -i "${files[@]}"
fi
echo "format: ${#files[@]} files"
