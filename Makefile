# Every word sets up what it needs first, on a fresh machine too. Prerequisites: git, make, Python >= 3.11, a C compiler.
# The set-up is contrib/setup; it answers within a fraction of a second when nothing has changed.

SHELL := /bin/sh
BIN := .venv/bin
PYTHON ?=
export PYTHON
MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help demo test lint coverage mutants fuzz models bench vectors lock clean setup setup-train setup-quality

help:
	@echo "make demo      a network of real nodes on this machine answers 40 questions (first time: about 5 minutes of set-up)"
	@echo "make test      the tests"
	@echo "make lint      ruff, mypy and import-linter"
	@echo "make coverage  the tests that need no process, and which branches of protocol/ they leave out"
	@echo "make mutants   whether the tests notice a hundred changes of protocol/ (half an hour)"
	@echo "make fuzz      made-up bytes for every parser and for the core (MINUTES=10)"
	@echo "make models    train the tiny models again (torch, two to three hours)"
	@echo "make bench     every benchmark of contrib/bench"
	@echo "make vectors   write specs/vectors again from the code"
	@echo "make lock      renew the lock files from pyproject.toml"
	@echo "make clean     remove environments, logs and build products"
	@echo "PYTHON=/path/to/python3 chooses the Python; CMAKE_ARGS='-DGGML_CUDA=on' builds llama.cpp for a GPU"

setup:
	@contrib/setup/run dev

setup-train:
	@contrib/setup/run train

setup-quality:
	@contrib/setup/run quality

demo: setup
	@$(BIN)/tutti dev --questions 40

test: setup
	@contrib/setup/run js
	@$(BIN)/python -m pytest $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

coverage: setup
	@$(BIN)/python -m pytest -q --cov=protocol --cov-report=term-missing:skip-covered \
		$$($(BIN)/python -m contrib.pure_tests) $(ARGS)

mutants: setup-quality
	@.venv-quality/bin/python -m contrib.mutants $(ARGS)

fuzz: setup-quality
	@.venv-quality/bin/python -m contrib.fuzz --minutes $(MINUTES) $(ARGS)

models: setup-train
	@.venv-train/bin/python -m contrib.tinylm $(ARGS)

# Those that can be run by themselves; the rest of the directory is what they share.
bench: setup
	@set -e; for script in $$(grep -l '^if __name__ ==' contrib/bench/*.py); do \
		name=$$(basename "$$script" .py); \
		echo "== contrib.bench.$$name"; $(BIN)/python -m "contrib.bench.$$name"; \
	done

vectors: setup
	@$(BIN)/python -m contrib.vectors

lock:
	@contrib/setup/run lock

clean:
	@contrib/setup/run clean
