#!/usr/bin/env bash
# Installs what is missing, after saying what: Debian packages (as root, or through `sudo -n`), then a virtual
# environment `.venv` with the torch wheel (headers and libraries of LibTorch) and the tests' own packages.
#
#   scripts/setup.sh build    what `make build` and `make demo` need
#   scripts/setup.sh test     the same, and what the tests need
#   scripts/setup.sh all      the same, and formatter, linter, headless browser (`make setup`)
#
# FARE_TORCH=/path    a LibTorch 2.x folder (include/, lib/): the torch wheel is then not installed
# FARE_PYTHON=/path   the python3 that makes .venv (default: python3)
# pip is called as it is configured: index, proxy and certificate settings of pip.conf and PIP_* variables apply.
set -euo pipefail
cd "$(dirname "$0")/.."

want="${1:-all}"
case "$want" in build | test | all) ;; *)
  echo "scripts/setup.sh: unknown set '$want'; choose build, test or all" >&2
  exit 2 ;;
esac
say() { printf 'setup: %s\n' "$*"; }

# Prints the packages of the groups named that are not installed.
missing_packages() {
  local group name
  while read -r group name; do
    [[ " $* " == *" $group "* ]] || continue
    [[ "$(dpkg-query -W -f='${Status}' "$name" 2>/dev/null)" == *" installed" ]] || echo "$name"
  done < <(grep -v '^#' scripts/debian-packages.txt)
}

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}
can_be_root() { [[ $(id -u) == 0 ]] || sudo -n true 2>/dev/null; }

install_packages() {  # install_packages needed|optional NAME ..
  local kind="$1"; shift
  local line="apt-get update && apt-get install -y --no-install-recommends $*"
  if can_be_root; then
    say "installing Debian packages: $*"
    if as_root apt-get update -qq &&
       as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; then
      return
    fi
    say "apt-get failed; run as root:  $line" >&2
  else
    say "these Debian packages are missing; run as root:  $line" >&2
  fi
  if [[ $kind == needed ]]; then exit 1; fi
  say "going on without them: what needs them says so when it is asked for" >&2
}

if command -v dpkg-query >/dev/null; then
  mapfile -t needed < <(missing_packages build test)
  if ((${#needed[@]})); then install_packages needed "${needed[@]}"; fi
  if [[ $want != build ]]; then
    mapfile -t optional < <(missing_packages tools)
    if ((${#optional[@]})); then install_packages optional "${optional[@]}"; fi
  fi
else
  say "no Debian package tool here: the packages of scripts/debian-packages.txt are taken to be installed" >&2
fi

# A file of requirements is installed once; its stamp holds the bytes that were installed.
install_requirements() {  # install_requirements FILE "what it is"
  local stamp=".venv/installed-$1"
  if cmp -s "$1" "$stamp"; then return; fi
  if [[ ! -x .venv/bin/pip ]]; then
    say "making the virtual environment .venv with $("${FARE_PYTHON:-python3}" --version)"
    "${FARE_PYTHON:-python3}" -m venv .venv
  fi
  say "installing into .venv $2: $(grep -v '^#' "$1" | tr '\n' ' ')"
  .venv/bin/pip install --quiet --disable-pip-version-check -r "$1"
  cp "$1" "$stamp"
}

if [[ -n "${FARE_TORCH:-}" ]]; then
  if [[ ! -f "$FARE_TORCH/include/ATen/ATen.h" ]]; then
    say "FARE_TORCH=$FARE_TORCH holds no include/ATen/ATen.h; it must be a LibTorch 2.x folder" >&2
    exit 1
  fi
  say "using LibTorch of FARE_TORCH=$FARE_TORCH; the torch wheel is not installed"
else
  install_requirements requirements.txt "the torch wheel"
fi
if [[ $want != build ]]; then install_requirements requirements-test.txt "what the tests need"; fi
say "ready"
