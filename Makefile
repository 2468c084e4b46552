# Two commands do everything on a fresh machine: `make demo` and `make test`. Each makes its own environment in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RECIPE ?= demo
# A worker for each processor, and one thread to a worker: threads that wait for each other's processor wait long.
WORKERS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PARALLEL := -n auto --dist worksteal

.PHONY: help demo test coverage test-all lint bench results install clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Moodbook needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/train.stamp: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing Moodbook with what training needs ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/train.stamp
	@echo "Installing what the tests need ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(VENV)/train.stamp  ## Install into .venv, training included
	@echo "Done. Run: $(BIN)/moodbook --help"

demo: $(VENV)/train.stamp  ## Tag real recordings, then train and test both steps on real music
	BIN=$(BIN) sh examples/demo.sh

lint: $(VENV)/dev.stamp  ## Style, types, docstrings, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## Everything CI runs: lint and tests
	$(WORKERS) $(BIN)/python -m pytest $(PARALLEL)

coverage: $(VENV)/dev.stamp  ## The same tests, and which lines none of them runs (a quarter longer)
	$(WORKERS) $(BIN)/python -m pytest --cov --cov-report=term $(PARALLEL)

test-all: lint  ## The full figures of every promise, and what needs data or the network
	$(BIN)/python -m pytest -m "slow or network or not slow"

bench: $(VENV)/dev.stamp  ## The tables of docs/performance.md, side by side; writes them there (an hour and a half)
	$(BIN)/python benchmarks/run.py

results: $(VENV)/dev.stamp  ## The table of systems in docs/results.md (needs the data it names; hours)
	$(BIN)/python benchmarks/results.py $(RESULTS)

clean:  ## Remove the environment and what it made (never runs/ or data/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage dist
