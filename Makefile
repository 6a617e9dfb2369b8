# Everything a person or a CI does with this repository. `make help` lists the commands.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PY := PYTHONPATH=operator:. .venv/bin/python
# Which cluster: kind, native or current; empty lets the test bed choose.
export CLUSTER ?=
export CLUSTER_NAME ?= smtpfleet
TEST_CLUSTER_NAME ?= smtpfleet-test
# What to test, with how many clusters: each has a process of its own, and one more runs what needs no cluster. With
# JOBS=3 two cores are done a minute or two sooner, but so busy that checks are late, which some tests take for a fault.
TESTS ?= tests
JOBS ?= $(if $(filter current,$(CLUSTER)),1,2)
PYTEST_ARGS ?=

.PHONY: help
help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is made anew when the locked requirements change.
.venv/ready: requirements/dev.txt
	@echo "python environment: creating .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { test "$$(id -u)" = 0 || { echo "install the Debian package python3-venv"; exit 1; }; apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; }
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: demo
demo: cluster ## A pool on a local cluster that carries mail while relays are killed and hung
	@$(PY) -m scenario.demo

.PHONY: cluster
cluster: .venv/ready ## The local cluster with the images loaded and nothing installed
	@$(PY) -m testbed up
	@$(PY) -m testbed images

.PHONY: cluster-down
cluster-down: .venv/ready ## Remove the local cluster without a trace
	@$(PY) -m testbed down

.PHONY: install
install: .venv/ready ## The chart into the current cluster
	@$(PY) -m scenario.cluster

.PHONY: test
test: .venv/ready ## The tests (TESTS=…: some), on real clusters of their own that are removed afterwards
	@CLUSTER_NAME=$(TEST_CLUSTER_NAME) $(PY) -m pytest $(TESTS) -n $$(($(JOBS) + 1)) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: test-all
test-all: ## The same with all that it leaves out: what is marked thorough, all faults, all clients
	@$(MAKE) test PYTEST_ARGS="--thorough --chaos=all --conformance=all $(PYTEST_ARGS)"

.PHONY: unit
unit: .venv/ready ## The tests that need no cluster (seconds)
	@$(PY) -m pytest tests/unit $(PYTEST_ARGS)

.PHONY: chaos
chaos: .venv/ready ## The long fault tests
	@CLUSTER_NAME=$(TEST_CLUSTER_NAME) $(PY) -m pytest tests/chaos --chaos=all $(PYTEST_ARGS)

.PHONY: conformance
conformance: .venv/ready ## Every client of docs/clients.md on a real pool
	@CLUSTER_NAME=$(TEST_CLUSTER_NAME) $(PY) -m pytest tests/cluster/test_edge.py -k client --conformance=all $(PYTEST_ARGS)

.PHONY: bench
bench: cluster ## Measure what docs/benchmarks.md quotes
	@$(PY) -m bench

.PHONY: check
check: .venv/ready ## Format, lint, types, import rule, shell scripts
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@PYTHONPATH=operator .venv/bin/lint-imports --no-cache
	@.venv/bin/shellcheck bin/* .ci/run

.PHONY: format
format: .venv/ready ## Format the code
	@.venv/bin/ruff check --fix --select I .
	@.venv/bin/ruff format .

.PHONY: generate
generate: .venv/ready ## CRD, chart's copy of it and deploy/smtpfleet.yaml from the models
	@$(PY) -m testbed.generate

.PHONY: lock
lock: .venv/ready ## Lock the dependencies anew
	@.venv/bin/pip install --quiet uv
	@for extra in agent operator dev; do .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml --extra $$extra -o requirements/$$extra.txt; done
