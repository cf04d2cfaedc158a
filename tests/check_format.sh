#!/usr/bin/env bash
# Every C++ file is as .clang-format says. Other releases of the formatter break lines elsewhere, so only Debian 12's judges.
version="$(clang-format --version 2>/dev/null)" || { echo "SKIPPED: clang-format is not installed (make setup)"; exit 77; }
[[ "$version" == *" version 14."* ]] || { echo "SKIPPED: this is not clang-format 14: $version"; exit 77; }
exec "$FARE_SOURCE_DIR/scripts/format.sh" --check
