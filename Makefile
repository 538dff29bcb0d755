# Two commands from a bare clone: `make demo` and `make test`. Each sets up what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test slow prove-experts mutants lint lock clean

READY := .venv/.ready
PYTHON := .venv/bin/python
JOBS ?= 2

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: $(READY) ## make .venv from requirements.lock and install the EGL library; quick when nothing changed
	@.ci/setup egl

$(READY): requirements.lock pyproject.toml .python-version .ci/setup
	@.ci/setup venv
	@touch $@

demo: setup ## evaluate the shipped policy on three tasks and write a report
	@.venv/bin/robomem demo

test: setup ## run the tests, all but the slow proofs
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m "not slow" -n $(JOBS) --dist worksteal

slow: setup ## run the slow proofs
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m slow

prove-experts: setup ## 500 seeds of every task: each demonstrator succeeds 99 times in 100
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m slow -n $(JOBS) tests/sim/test_proof.py

mutants: setup ## break what guards the arm in every small way; each must fail a test (5 minutes)
	@OMP_NUM_THREADS=1 $(PYTHON) .ci/mutants --max-children $(JOBS)

lint: setup ## ruff, and mypy --strict on robomem, sim and hardware
	@.venv/bin/ruff check .
	@.venv/bin/mypy

lock: setup ## pin anew what pyproject.toml asks for
	@.ci/setup lock

clean: ## delete .venv and caches; outputs/ and data/ stay
	rm -rf .venv .tools build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
