# make setup   the virtual environment; TORCH=cpu takes the small build of torch
# make demo    a simulated drive through a real city and the real nodes, with a table, pictures and a report
#              (LIVE=1: also in a viewer, Foxglove or Lichtblick, on ws://127.0.0.1:8765; TOWN=1: a made-up town)
# make test    style, import rules, types and every test
# make quick   the same without the slow tests: about three minutes on two cores
# make fleet-test  install Ray (80 MB) and run the tests on a two-node cluster on this machine
# make lint    style, import rules and types alone
# make docs    the documentation site, in out/site
# make audit   known vulnerabilities of what is installed (pip-audit); needs pypi.org
# make sbom    the bill of materials, CycloneDX, in out/sbom.cdx.json
# make clean   remove what was built and written, but not the virtual environment
# ROS_WHEELS=kilted before any of them: on ROS 2 Kilted from wheels instead of Jazzy, in an environment of its own.
# All but the last set up a virtual environment first (tools/setup.sh says which); with a ROS 2 environment sourced they use that.

SHELL := /bin/bash
ENVIRONMENT := $(shell tools/setup.sh --where)
# By its absolute path, so that what a command starts elsewhere is the same interpreter.
VENV_PYTHON := $(CURDIR)/$(ENVIRONMENT)/bin/python
TESTS ?= test
# Tests of one file stay in one process, for what its fixtures share; a process a core, at most 4.
PROCESSES ?= $(shell n=$$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))

# The ROS 2 wheels set the library path once and mark that here; a mark inherited from another environment would leave
# ours unset.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Tests run several processes at a time; a torch thread a core in each of them would only get in the way.
test: export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test quick fleet-test lint docs audit sbom clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup:
	@tools/setup.sh

demo: setup
	$(VENV_PYTHON) tools/demo.py $(if $(LIVE),--live --wait 60) $(if $(TOWN),--town)

lint: setup
	$(VENV_PYTHON) -m ruff check .
	$(ENVIRONMENT)/bin/lint-imports
	$(VENV_PYTHON) -m mypy

test: lint
	$(VENV_PYTHON) -m pytest -n $(PROCESSES) --dist loadfile $(TESTS)

# What takes more than a few seconds is left out.
quick: export OMP_NUM_THREADS ?= 1
quick: lint
	$(VENV_PYTHON) -m pytest -n $(PROCESSES) --dist loadfile -m 'not slow' $(TESTS)

# Ray is no requirement of development: without it these tests are skipped.
fleet-test: export OMP_NUM_THREADS ?= 1
fleet-test: setup
	$(VENV_PYTHON) -c 'import ray' 2>/dev/null || $(VENV_PYTHON) -m pip --quiet install 'ray>=2.9' fsspec
	$(VENV_PYTHON) -m pytest -m fleet test/fleet

docs: export NO_MKDOCS_2_WARNING = 1
docs: setup
	PYTHONPATH=$(CURDIR) $(VENV_PYTHON) -m mkdocs build
	@echo 'the site is in out/site/index.html'

audit sbom: setup
	$(VENV_PYTHON) tools/supply_chain.py $@

clean:
	rm -rf build install log out .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
