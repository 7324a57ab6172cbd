# make serve: a FHIR server with synthetic patients on http://localhost:8000/fhir
# make test:  everything a change must pass

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install install-dev serve test lint bench faults fuzz lock clean

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
BIN := .venv/bin
DEMO ?= 5
PORT ?= 8000
DATA ?= ./data
PIP := $(BIN)/pip install --quiet --no-deps --disable-pip-version-check

# What Debian has, installed where that is possible and named where it is not.
apt = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1); \
	else echo "please install first: sudo apt-get install $(1)" >&2; exit 1; fi;

help:
	@echo "make install | serve | test | lint | bench | faults | fuzz | lock"

# --- install: exactly what the lock files say, nothing when it is already there ---------------------------------------

install: .venv/installed
install-dev: .venv/installed-dev

.venv/pyvenv.cfg:
	@if [ -z "$(PYTHON)" ]; then echo "HealthMate needs Python 3.11 or later; none was found on PATH" >&2; exit 1; fi
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt,python3-venv) }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.lock pyproject.toml | .venv/pyvenv.cfg libcurl
	$(PIP) --no-compile --requirement requirements.lock
	$(PIP) --no-build-isolation --editable .
	@touch $@

# What measures coverage comes ready made for x86-64 only.
.PHONY: compiler
compiler:
	@[ "$$(uname -m)" = x86_64 ] || command -v g++ >/dev/null || ( $(call apt,g++ python3-dev) ) || true

.venv/installed-dev: requirements-dev.lock .venv/installed | compiler
	$(PIP) --no-compile --requirement requirements-dev.lock
	@touch $@

tests/js/node_modules/.installed: tests/js/package-lock.json
	@command -v npm >/dev/null || { $(call apt,nodejs npm) }
	cd tests/js && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# The official JavaScript client as one file for a page; as a dependency it would bring 300 packages that a page never loads.
FHIRCLIENT := 2.6.3
FHIRCLIENT_SHA256 := eb76a8e9034fab4f07eb4e5ab7e0dfeabe09976fba5e2adfa5c834466d30fdce
tests/js/fhirclient/fhir-client.min.js: tests/js/node_modules/.installed
	cd tests/js && npm pack --silent fhirclient@$(FHIRCLIENT) >/dev/null && \
		tar --extract --gzip --file fhirclient-$(FHIRCLIENT).tgz --strip-components=2 --one-top-level=fhirclient \
		package/build/fhir-client.min.js && rm fhirclient-$(FHIRCLIENT).tgz
	@echo "$(FHIRCLIENT_SHA256)  $@" | sha256sum --check --quiet
	@touch $@

# Apps are let in by people in a browser; without it the tests that need one are skipped, and say so.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || ( $(call apt,chromium) ) || true

# The embedded mongod is linked against libcurl.
.PHONY: libcurl
libcurl:
	@if command -v ldconfig >/dev/null && ! ldconfig -p | grep -q 'libcurl\.so\.4'; then ( $(call apt,libcurl4) ) || true; fi

# Redis carries messages to workers; without it the tests that need one are skipped, and say so.
.PHONY: redis
redis:
	@command -v redis-server >/dev/null || ( $(call apt,redis-server) ) || true

# --- run --------------------------------------------------------------------------------------------------------------

serve: install
	exec $(BIN)/healthmate serve --demo $(DEMO) --port $(PORT) --data $(DATA)

# --- prove ------------------------------------------------------------------------------------------------------------

# The databases of the tests lie in memory where there is plenty of it: several times as fast as a disk.
MEMORY := $(shell awk '/MemAvailable/ {exit $$2 < 14000000}' /proc/meminfo 2>/dev/null && \
	[ "$$(df --output=avail -BG /dev/shm 2>/dev/null | tail -1 | tr -dc 0-9)" -ge 10 ] 2>/dev/null && echo /dev/shm)

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Where a worker dies, all ends: another in its place would wait forever for files to test.
test: install-dev lint redis chromium tests/js/fhirclient/fhir-client.min.js
	@folder=$$(mktemp -d $(MEMORY:%=--tmpdir=%)); trap 'rm -rf "$$folder"' EXIT; export TMPDIR=$$folder; \
	$(BIN)/python -W "ignore:Unable to activate pytest" -m slipcover --json --out $$folder/run.json -m pytest \
		--numprocesses 2 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder -m "not faults and not fuzz"; \
	$(BIN)/python -m slipcover --merge $$folder/run.json --out $$folder/coverage.json --fail-under 90

bench: install-dev
	$(BIN)/python -m benchmarks

faults: install-dev redis
	$(BIN)/pytest -m faults -s

fuzz: install-dev
	$(BIN)/pytest -m fuzz -s
	HEALTHMATE_REFERENCE_WORLDS=400 $(BIN)/pytest -s tests/search/test_against_reference.py

# --- lock: the newest versions that pyproject.toml allows ---------------------------------------------------------------
# The generator of demo patients declares far more than it imports; what it never loads is left out of the locks.

UNUSED := configparser contourpy cycler fonttools jsonpath-ng jsonschema jsonschema-specifications kiwisolver matplotlib \
	networkx numpy pandas pillow referencing rpds-py scipy tzdata
UNUSED_AT_RUN_TIME := attrs charset-normalizer fhir-core fhir-resources pyparsing requests urllib3
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --strip-extras --no-allow-unsafe \
	--all-build-deps --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

lock: install-dev
	$(COMPILE) --all-extras $(UNUSED:%=--unsafe-package %) --output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --extra embedded --extra demo --constraint requirements-dev.lock \
		$(UNUSED:%=--unsafe-package %) $(UNUSED_AT_RUN_TIME:%=--unsafe-package %) --output-file requirements.lock pyproject.toml
	sed -i '/^# The following packages are considered/,$$d' requirements.lock requirements-dev.lock

clean:
	rm -rf .venv tests/js/node_modules tests/js/fhirclient .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
