#!/usr/bin/env bash
# scripts/make_readme_picture.sh: docs/images/report.png, the top of X1's page as the demo leaves it. Needs Chromium and a
# finished `make demo`.
#
# FARE_DEMO_OUT=/path   the demo's folder (default out/demo)
set -euo pipefail
cd "$(dirname "$0")/.."
page="$(realpath "${FARE_DEMO_OUT:-out/demo}/runs/X1/report.html")"
browser="$(command -v chromium || command -v chromium-browser || command -v google-chrome)" ||
  { echo "make_readme_picture: Chromium is missing; run make setup" >&2; exit 1; }
profile="$(mktemp -d)"
trap 'rm -rf "$profile"' EXIT
mkdir -p docs/images
"$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" --window-size=1000,1130 \
  --screenshot="$PWD/docs/images/report.png" "file://$page" >/dev/null 2>&1
bytes="$(stat -c %s docs/images/report.png)"
echo "docs/images/report.png: $bytes bytes"
((bytes < 300000)) || { echo "make_readme_picture: larger than 300 kB" >&2; exit 1; }
