# Three commands do everything on a machine with Python 3.11+ and make:
#   make train [SEED=2] [NAME=second] [ARGS="--steps 15"]    train the small investigator and report
#   make test                                                     lint, types, tests, slow tests
#   make align                                                    teach SmolLM2 an engineer's judgement, small
# Each creates .venv and installs what it needs once; `make clean` removes .venv.
PYTHON ?= python3
SEED ?= 1
NAME ?= seed$(SEED)
ARGS ?=
RUN := .venv/bin/python
EXPLAIN = $(RUN) -m failure_analysis ingest --failures build/failures.db

.DELETE_ON_ERROR:
.PHONY: train align test lint types fast fast-models fast-servers fast-rest slow scenarios art-next trainers clean

train: .venv/train
	$(RUN) train_serverless.py --backend embedded --seed $(SEED) --name $(NAME) $(ARGS)

# A demonstration of alignment on SmolLM2: 60 pairs, DPO, its gate, before and after. Killed, it goes on where it was.
ALIGN = $(RUN) -m alignment
align: .venv/train
	$(RUN) -m pip install --quiet --editable '.[train,smollm2,chaos]'
	$(RUN) -m training_service fetch smollm2
	$(ALIGN) cases
	$(ALIGN) pairs
	$(ALIGN) adapters show demo-warm || $(ALIGN) sft --name demo-warm --limit 60
	$(ALIGN) adapters show demo || $(ALIGN) dpo --name demo --start demo-warm --limit 60
	$(ALIGN) evaluate --rows base extractive demo-warm@v1 demo@v1 --against demo-warm@v1 --limit 6
	-$(ALIGN) gate demo@v1 --against demo-warm@v1

test: lint types fast slow

lint: .venv/test
	.venv/bin/ruff check .

types: .venv/test
	.venv/bin/mypy .

# Three processes share the fast tests of two cores, so that one computes while another waits. The first has all that
# load torch. Nothing imports or collects what another one runs, and all three take about as long.
MODELS := $(addprefix tests/,training_service alignment graph_rca chaos failure_analysis)
SERVERS := $(addprefix tests/,testrun_investigator dashboard importers evaluation core/log_stores core/test_redaction.py)
FAST := fast-models fast-servers fast-rest
# Without bytecode on disk each of some forty processes that they start would compile the sources again.
unexport PYTHONDONTWRITEBYTECODE
fast: .venv/test scenarios
	$(MAKE) --no-print-directory --jobs 3 --keep-going $(FAST)

fast-models: TESTS := $(MODELS)
fast-servers: TESTS := $(SERVERS)
fast-rest: TESTS := tests $(addprefix --ignore=,$(MODELS) $(SERVERS))
$(FAST): .venv/test scenarios
	.venv/bin/pytest $(TESTS) --junitxml build/junit-$@.xml || { $(EXPLAIN) build/junit-$@.xml; exit 1; }

slow: .venv/test scenarios art-next
	.venv/bin/pytest -m slow -n 2 --dist loadfile --junitxml build/junit-slow.xml || { $(EXPLAIN) build/junit-slow.xml; exit 1; }

# The train split is not in the repository; it is generated once, the same everywhere.
scenarios: log_scenarios/train/scenarios.jsonl

log_scenarios/train/scenarios.jsonl: | .venv/bin/python
	$(RUN) -m chaos ship --missing

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/train: pyproject.toml | .venv/bin/python
	$(RUN) -m pip install --quiet --editable '.[train]'
	@touch $@

.venv/test: pyproject.toml | .venv/bin/python
	$(RUN) -m pip install --quiet --editable '.[train,dashboard,mcp,importers,graph,chaos,smollm2,ray,dev]'
	@touch $@ .venv/train

# An environment for the newer line of ART, which needs Python 3.12; without one its tests are skipped.
NEWER := for python in python3.12 python3.13 python3.14 $$HOME/.pyenv/versions/3.1[2-9]*/bin/python; do \
	$$python -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$python && break; done
art-next: pyproject.toml
	@python=$$($(NEWER)); if [ -z "$$python" ]; then echo "no Python 3.12: tests with ART 0.5.23 are skipped"; \
	elif [ ! -e .venv-art-next/made ] || [ pyproject.toml -nt .venv-art-next/made ]; then $$python -m venv .venv-art-next && \
	.venv-art-next/bin/python -m pip install --quiet --editable . && touch .venv-art-next/made; fi

# Environments for libraries whose dependencies exclude one another; without them their tests are skipped.
trainers: .venv-verifiers/made .venv-inspect/made .venv-openenv/made .venv/trl

.venv-%/made: pyproject.toml
	@test -e .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --editable '.[$*]'
	@touch $@

.venv/trl: pyproject.toml | .venv/bin/python
	$(RUN) -m pip install --quiet --editable '.[train,trl]'
	@touch $@

clean:
	rm -rf .venv .venv-*
