# Everything a maintainer runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# `make quick` has an environment of its own, without JupyterHub, compilers and browsers.
QUICK := .venv-quick/bin
SHELL_SCRIPTS := construct/*.sh littlest_hub/singleuser/terminal/*.sh littlest_hub/stacks/*/*/terminal/*.sh recipe/*/*.sh tests/*.sh .ci/run
# The packages that a Debian-like machine needs to build and test; `make deps` installs them.
BUILD_PACKAGES := autoconf automake binutils ca-certificates gcc libc6-dev libltdl-dev libtool make patch perl python3-venv tcl xz-utils
MACHINE_PACKAGES := iproute2 mmdebstrap mount systemd-container
VM_PACKAGES := e2fsprogs openssh-client
TEST_PACKAGES := $(MACHINE_PACKAGES) $(VM_PACKAGES) busybox chromium chromium-driver dbus gettext-base git libpam0g restic shellcheck systemd zsh
# INSTALLER=PATH tests that .sh, however it was built, instead of building one. WORKERS=0 runs one
# test after the other in one process.
WORKERS ?= 2
PYTEST := $(BIN)/pytest -n $(WORKERS) $(if $(INSTALLER),--installer=$(INSTALLER))

# The file that `make bench` writes, and its options: make bench BENCH="--only start --rounds 9"
BENCH_JSON ?= build/bench.json
BENCH ?=
# The suites that `make test-upstream` runs; all of them if empty.
UPSTREAM ?=
# At how many random moments `make test-kills` kills each command, and how many changes of packages
# `make test-packages` kills; another SEED chooses other moments.
KILLS ?= 30
# How many fragments `make test-check` generates; another SEED generates others. ONLY is a pattern of
# their settings: hub_ip|services.
TRIES ?= 500
SEED ?= 0
ONLY ?=
# How many days `make test-term` has.
DAYS ?= 120

.DEFAULT_GOAL := help
# Each target's first prerequisites install what the next ones run.
.NOTPARALLEL:
.PHONY: help quick lint-quick mypy-quick deps demo-deps venv build release demo test test-unit test-build test-container test-vm test-browser test-security test-kills test-logins test-check test-packages test-stacks test-backups test-class test-cluster test-nfs test-term test-launch test-courses test-stats test-upstream advisories lint bench bench-report bench-outage bench-class bench-people bench-stats bench-slurm bench-courses launches bench-launch python-profile pictures clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quick: lint-quick ## linters and the unit tests that need no JupyterHub and no compiler, in seconds
	CI= $(QUICK)/pytest -q --quick tests/unit

# Also what .pre-commit-config.yaml runs. mypy knows fewer libraries here than in `lint`.
lint-quick: $(QUICK)/.ready mypy-quick
	$(QUICK)/ruff check .
	$(QUICK)/ruff format --check .
	if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); fi

mypy-quick: $(QUICK)/.ready
	$(QUICK)/mypy --cache-dir=.mypy_cache/quick --ignore-missing-imports --allow-subclassing-any \
		--no-warn-return-any --no-warn-unused-ignores

$(QUICK)/.ready: pyproject.toml
	@echo "making .venv-quick with $(PYTHON) …" >&2
	$(PYTHON) -m venv .venv-quick
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["quick"], sep="\n")' \
		> .venv-quick/requirements.txt
	$(QUICK)/pip install -qq --requirement .venv-quick/requirements.txt
	touch $@

deps: ## install the Debian packages that building and testing need (root)
	@sh tests/deps.sh $(BUILD_PACKAGES) $(TEST_PACKAGES)

# Without root the demo uses no machine, and does not need these.
demo-deps:
	@sh tests/deps.sh $(BUILD_PACKAGES)
	@sh tests/deps.sh --optional $(MACHINE_PACKAGES)

venv: $(BIN)/.ready ## make the Python environment of the builder and the tests

$(BIN)/.ready: pyproject.toml
	@echo "making $(VENV) with $(PYTHON) …" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --editable '.[build,test]'
	touch $@

build: deps venv ## build dist/littlest-hub-VERSION-Linux-x86_64.sh with fast compression
	$(BIN)/python -m construct

release: deps venv ## the same, as small as possible
	$(BIN)/python -m construct --release

$(BIN)/.bench-ready: $(BIN)/.ready
	$(BIN)/pip install -qq --editable '.[bench]'
	touch $@

$(BIN)/.storage-ready: $(BIN)/.ready
	$(BIN)/pip install -qq --editable '.[storage]'
	touch $@

demo: demo-deps venv ## build, install on a throw-away machine, run a notebook cell (ONCE=1: then stop)
	$(BIN)/python -m tests.demo $(if $(ONCE),--once)

test: deps venv lint ## linters and the tests of all tiers: unit, build, container, vm and browser
	$(PYTEST) -m "not long"

test-unit: venv ## pure logic; no root, no network
	$(PYTEST) -m unit

test-build: deps venv ## the installer file and its contract
	$(PYTEST) -m build

test-container: deps venv ## everything on booted systemd machines (root)
	$(PYTEST) -m container

test-vm: deps venv ## reboots, power cuts and limits on a virtual machine; `test` has two of them (root)
	$(PYTEST) -m vm

test-browser: deps venv ## what users see, in a real Chromium (root)
	$(PYTEST) -m browser

test-security: deps venv ## the security checklist on real machines, with its table (root)
	$(PYTEST) -m row

test-kills: deps venv ## SIGKILL at KILLS=30 moments of an installation, upgrade, rollback, reload, and restore (root)
	LITTLEST_HUB_KILLS=$(KILLS) $(PYTEST) tests/container/test_killing.py tests/container/test_backup.py -k killed

test-logins: deps venv ## every kind of login at other sites, against providers of others (root; 10 minutes)
	$(PYTEST) tests/logins

test-check: deps venv ## generated fragments: what `check` passes must reload and boot (TRIES=500 SEED=0; root)
	$(BIN)/python -m tests.fuzz --tries $(TRIES) --seed $(SEED) --only '$(ONLY)' $(if $(INSTALLER),--installer $(INSTALLER))

test-packages: deps venv ## `packages add` and `remove` killed at random moments (KILLS=30 SEED=0; root)
	$(BIN)/python -m tests.killed_packages --kills $(KILLS) --seed $(SEED) $(if $(INSTALLER),--installer $(INSTALLER))

test-stacks: deps venv ## stacks killed at random moments, upgraded, and one from elsewhere (TRIES=30 SEED=0; root)
	$(BIN)/python -m tests.stacks --tries $(if $(filter file,$(origin TRIES)),30,$(TRIES)) --seed $(SEED) $(if $(INSTALLER),--installer $(INSTALLER))

test-backups: deps venv $(BIN)/.storage-ready ## backups and restores killed at KILLS=30 moments, damage, full disks, another machine (root)
	LITTLEST_HUB_KILLS=$(KILLS) $(PYTEST) tests/unit/stacks/backups tests/container/test_backups.py tests/browser/test_backups_page.py

# Globs: each part of the stack has files of its own.
test-class: deps venv ## the class stack, whole: logins, accounts, the environment for all (root)
	LITTLEST_HUB_KILLS=$(KILLS) $(PYTEST) tests/unit/stacks/classroom $(wildcard tests/container/test_class_*.py tests/browser/test_class_*.py)

test-cluster: deps venv ## a Slurm cluster of three machines, and what may happen to its jobs; `test` has one test of it (root)
	$(PYTEST) tests/unit/stacks/slurm tests/cluster

test-nfs: deps venv ## servers as Slurm jobs with homes on real NFS, on a virtual machine (root; 10 minutes)
	$(PYTEST) tests/vm/test_nfs.py

test-term: deps venv ## a term of DAYS=120 days: what grows with 40 logins a day, and what the calendar brings (root; 3 hours)
	LITTLEST_HUB_DAYS=$(DAYS) $(BIN)/pytest -n 0 -s $(if $(INSTALLER),--installer=$(INSTALLER)) tests/container/test_a_term.py tests/vm/test_a_term.py

test-stats: deps venv ## statistics, whole: what is counted, who sees it, pictures in a browser (root; 10 minutes)
	$(PYTEST) tests/unit/stacks/stats tests/container/test_stats.py tests/browser/test_stats.py

test-launch: deps venv ## the launch stack, whole: from a link to a notebook, and what strangers may try (root)
	$(PYTEST) tests/unit/stacks/launch $(wildcard tests/build/test_launch_*.py tests/container/test_launch*.py tests/vm/test_launch*.py tests/browser/test_launch*.py)

test-courses: deps venv ## the course stack, whole: from a roster to grades, and what students may try (root)
	LITTLEST_HUB_KILLS=$(KILLS) $(PYTEST) tests/unit/stacks/courses $(wildcard tests/container/test_courses*.py tests/browser/test_courses*.py tests/cluster/test_courses*.py tests/vm/test_courses*.py)

test-upstream: deps venv ## upstream's own test suites against our code, beside upstream's (UPSTREAM="jupyterlab")
	$(BIN)/python -m tests.upstream $(UPSTREAM)

advisories: venv ## list known vulnerabilities of pinned versions (construct/advisories.yaml)
	$(BIN)/python -m construct.advisories

lint: venv ## ruff, mypy --strict, shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	shellcheck $(SHELL_SCRIPTS)

bench: deps venv $(BIN)/.bench-ready ## compare with stock JupyterHub and TLJH, about 30 minutes (BENCH=--quick: 4)
	$(BIN)/python -m tests.bench --json $(BENCH_JSON) $(BENCH)

bench-report: venv $(BIN)/.bench-ready ## write the results into docs/reference/performance.md (PART=extensions: only that table)
	$(BIN)/python -m tests.bench.report $(BENCH_JSON) $(if $(PART),--part $(PART))

bench-outage: deps venv ## what users notice of reloads, crashes and upgrades, compared with stock JupyterHub
	$(BIN)/python -m tests.bench.outage

bench-class: deps venv ## 50 students who arrive within minutes, at the class stack and at stock JupyterHub (25 minutes)
	$(BIN)/python -m tests.bench.classroom

bench-people: deps venv ## 220 servers on one machine, 60 compute, beside stock JupyterHub (BENCH="--people 6 --kernels 2"; 45 minutes)
	$(BIN)/python -m tests.bench.people $(BENCH)

bench-stats: deps venv ## what samples of 220 servers cost (15 minutes)
	$(BIN)/python -m tests.bench.sampling $(BENCH)

bench-courses: deps venv ## an assignment of a course with 220 students, from its roster to feedback (BENCH="--students 20")
	$(BIN)/python -m tests.bench.courses $(BENCH)

bench-slurm: deps venv ## 200 servers at the Slurm stack and at batchspawner, on one real Slurm (25 minutes)
	$(BIN)/python -m tests.bench.cluster $(BENCH)

launches: deps venv ## launch public repositories that Binder launches, with this machine's package index (5 minutes)
	$(BIN)/python -m tests.launches $(if $(INSTALLER),--installer $(INSTALLER))

bench-launch: deps venv ## launches beside `uv pip install` by hand (3 minutes)
	$(BIN)/python -m tests.bench.launch

python-profile: deps venv ## record recipe/python/profile.xz again, with which CPython is compiled (root)
	$(BIN)/python -m tests.python_profile

pictures: ## draw docs/pictures/*.svg from their sources
	$(PYTHON) docs/pictures/draw.py

clean: ## remove everything built here (the cache stays)
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache
