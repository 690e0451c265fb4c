# Everything a maintainer runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What a Debian-like machine must have to build and test; `make deps` installs what is missing.
BUILD_PACKAGES := autoconf automake binutils ca-certificates gcc libc6-dev libltdl-dev libtool make patch perl python3-venv tcl xz-utils
MACHINE_PACKAGES := iproute2 mmdebstrap mount systemd-container
VM_PACKAGES := e2fsprogs openssh-client qemu-system-x86
TEST_PACKAGES := $(MACHINE_PACKAGES) $(VM_PACKAGES) busybox chromium chromium-driver dbus gettext-base libpam0g shellcheck systemd zsh
# INSTALLER=PATH tests that .sh, whichever way it was built, instead of building one. WORKERS=0 runs
# one test after the other in one process.
WORKERS ?= 2
PYTEST := $(BIN)/pytest -n $(WORKERS) $(if $(INSTALLER),--installer=$(INSTALLER))

# Where `make bench` puts what it finds, and options of it: make bench BENCH="--only start --rounds 9"
BENCH_JSON ?= build/bench.json
BENCH ?=

.DEFAULT_GOAL := help
# Each target's first prerequisites install what the next ones run.
.NOTPARALLEL:
.PHONY: help deps demo-deps venv build release demo test test-unit test-build test-container test-vm test-browser test-security advisories lint bench bench-report bench-outage python-profile clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what building and testing need from Debian's packages (root)
	@sh tests/deps.sh $(BUILD_PACKAGES) $(TEST_PACKAGES)

# Without root the demo does without a machine, and so without these.
demo-deps:
	@sh tests/deps.sh $(BUILD_PACKAGES)
	@sh tests/deps.sh --optional $(MACHINE_PACKAGES)

venv: $(BIN)/.ready ## the Python environment of the builder and the tests

$(BIN)/.ready: pyproject.toml
	@echo "making $(VENV) with $(PYTHON) …" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --editable '.[build,test]'
	touch $@

build: deps venv ## dist/littlest-hub-VERSION-Linux-x86_64.sh, compressed quickly
	$(BIN)/python -m construct

release: deps venv ## the same, compressed as small as it gets
	$(BIN)/python -m construct --release

$(BIN)/.bench-ready: $(BIN)/.ready
	$(BIN)/pip install -qq --editable '.[bench]'
	touch $@

demo: demo-deps venv ## build, install in a throw-away machine, run a notebook cell (ONCE=1: then stop)
	$(BIN)/python -m tests.demo $(if $(ONCE),--once)

test: deps venv lint ## every test: unit, build, container, vm and browser tiers
	$(PYTEST)

test-unit: venv ## pure logic; no root, no network
	$(PYTEST) -m unit

test-build: deps venv ## the installer file and its contract
	$(PYTEST) -m build

test-container: deps venv ## everything on booted systemd machines (root)
	$(PYTEST) -m container

test-vm: deps venv ## reboots, power cuts, memory limits, on an emulated machine (root)
	$(PYTEST) -m vm

test-browser: deps venv ## what people see, in a real Chromium (root)
	$(PYTEST) -m browser

test-security: deps venv ## the security checklist, on real machines, and its table (root)
	$(PYTEST) -m row

advisories: venv ## known vulnerabilities of what is pinned (construct/advisories.yaml)
	$(BIN)/python -m construct.advisories

lint: venv ## ruff, mypy --strict, shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	shellcheck construct/*.sh recipe/*/*.sh tests/*.sh .ci/run

bench: deps venv $(BIN)/.bench-ready ## the scoreboard: beside stock JupyterHub and TLJH, some 30 minutes (BENCH=--quick: 4)
	$(BIN)/python -m tests.bench --json $(BENCH_JSON) $(BENCH)

bench-report: venv $(BIN)/.bench-ready ## docs/reference/performance.md from what it found
	$(BIN)/python -m tests.bench.report $(BENCH_JSON)

bench-outage: deps venv ## what people notice of reloads, restarts, crashes and upgrades, beside stock JupyterHub
	$(BIN)/python -m tests.bench.outage

python-profile: deps venv ## recipe/python/profile.xz anew: what CPython is compiled for (root)
	$(BIN)/python -m tests.python_profile

clean: ## remove what was built here (the cache stays)
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache
