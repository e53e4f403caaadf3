# Two commands do everything on a machine with Python 3.11+ and make:
#   make train [SEED=2] [NAME=second] [ARGS="--max-minutes 5"]    train the small investigator and report
#   make test                                                     lint, types, tests, slow tests
# Each creates .venv and installs what it needs once; `make clean` removes .venv.
PYTHON ?= python3
SEED ?= 1
NAME ?= seed$(SEED)
ARGS ?=
RUN := .venv/bin/python
EXPLAIN = $(RUN) -m failure_analysis ingest --failures build/failures.db

.DELETE_ON_ERROR:
.PHONY: train test lint types fast slow clean

train: .venv/train
	$(RUN) train_serverless.py --backend embedded --seed $(SEED) --name $(NAME) $(ARGS)

test: lint types fast slow

lint: .venv/test
	.venv/bin/ruff check .

types: .venv/test
	.venv/bin/mypy .

fast: .venv/test
	.venv/bin/pytest -n 2 --dist loadfile --junitxml build/junit-fast.xml || { $(EXPLAIN) build/junit-fast.xml; exit 1; }

slow: .venv/test
	.venv/bin/pytest -m slow -n 2 --dist loadfile --junitxml build/junit-slow.xml || { $(EXPLAIN) build/junit-slow.xml; exit 1; }

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/train: pyproject.toml | .venv/bin/python
	$(RUN) -m pip install --quiet --editable '.[train]'
	@touch $@

.venv/test: pyproject.toml | .venv/bin/python
	$(RUN) -m pip install --quiet --editable '.[train,dashboard,mcp,dev]'
	@touch $@ .venv/train

clean:
	rm -rf .venv
