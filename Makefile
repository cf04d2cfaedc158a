# The commands of this project. `make help` lists them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help setup build test conformance demo bench bench-quick bench-full format lint clean
.NOTPARALLEL:

JOBS ?= $(shell nproc)
PRESET ?= release
BUILD = $(if $(filter release,$(PRESET)),build,build-$(PRESET))

# Public data and test vectors lie beside the project; what is absent is said by the tests that skip.
ifneq ($(wildcard ../shared/data),)
export FARE_DATA ?= $(abspath ../shared/data)
endif
ifneq ($(wildcard ../shared/design),)
export FARE_DESIGN ?= $(abspath ../shared/design)
endif

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

setup:  ## install what is missing (says what first)
	@scripts/setup.sh all

build:  ## build/fare, the library and the test programs
	@scripts/setup.sh build
	@scripts/build.sh $(PRESET) $(JOBS)

test:  ## build, then run every test; skipped ones are listed with their reason
	@scripts/setup.sh test
	@scripts/build.sh $(PRESET) $(JOBS)
	@scripts/test.sh $(BUILD) $(JOBS)

conformance: build  ## every model family against its reference; writes docs/conformance.md
	@scripts/setup.sh test
	@FARE=$(BUILD)/fare $(firstword $(wildcard .venv/bin/python) python3) -B tests/conformance.py --jobs $(JOBS) --write

demo: build  ## diagnose control models, score real benchmark text, write out/demo/report.html
	@scripts/demo.sh

bench:  ## speed and memory against the peers, with micro-benchmarks (24 minutes)
	@scripts/setup.sh test
	@scripts/build.sh $(PRESET) $(JOBS) -DFARE_BUILD_BENCH=ON
	@bench/run.sh

bench-quick:  ## the same on a small model (4 minutes)
	@scripts/setup.sh test
	@scripts/build.sh $(PRESET) $(JOBS) -DFARE_BUILD_BENCH=ON
	@bench/run.sh --quick

bench-full:  ## the same with the peers running the whole work, once (hours)
	@scripts/setup.sh test
	@scripts/build.sh $(PRESET) $(JOBS) -DFARE_BUILD_BENCH=ON
	@bench/run.sh --full

format:  ## clang-format over every source file
	@scripts/format.sh

lint:  ## clang-format check, clang-tidy, and the house checks
	@scripts/setup.sh all
	@scripts/build.sh $(PRESET) $(JOBS)
	@scripts/lint.sh $(BUILD) $(JOBS)

clean:  ## remove build folders and out/ (keeps .venv)
	rm -rf build build-* out
