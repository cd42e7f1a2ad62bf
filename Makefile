# One environment, .venv, made with plain pip and one constraints file. Every target installs what it needs, no more.
# The first interpreter that starts and is 3.11 or 3.12 (a version manager's stub may exist and not start).
PYTHON ?= $(shell for p in python3 python3.11 python3.12; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 && echo $$p && break; done)
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip install --disable-pip-version-check -q -c constraints.txt
DATA   := packages/unihand_data
MODEL  := packages/beingh05_model
VIDEO  ?=
OUT    ?= demo_out
TRAIN_OUT ?= train_demo_out

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev lock demo train-demo test test-fast bench lint soak clean

help:
	@echo "make demo [VIDEO=path] [OUT=dir]   the whole human-video job on the sample clip, or on your video"
	@echo "make train-demo [TRAIN_OUT=dir]    a tiny model from demonstrations to closed loop, on this CPU"
	@echo "make test                          lint, types, import rule and every test (make test-fast: without the slow ones)"
	@echo "make bench                         figures with the machine and the peer named"
	@echo "make setup | setup-dev | lint | soak | clean"

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

# What the data job needs. No torch.
$(VENV)/.data: constraints.txt $(DATA)/pyproject.toml | $(VENV)/bin/python
	@echo "installing the data job (about 2 GB, 1 to 5 minutes) ..."
	@$(PIP) -e '$(DATA)[pipelines]'
	@$(PY) -m unihand_data.hands.models
	@touch $@

# What the tests need on top. torch by itself first: asked for directly, pip takes the build that is at hand.
$(VENV)/.dev: requirements-dev.txt $(MODEL)/pyproject.toml $(VENV)/.data
	@echo "installing the test tools ..."
	@$(PIP) torch==2.13.0
	@$(PIP) -e '$(DATA)[pipelines,mano,view,render,record]' -e '$(MODEL)[train]' -r requirements-dev.txt
	@touch $@

setup: $(VENV)/.data
setup-dev: $(VENV)/.dev

# Pin what is installed now, so that the next machine resolves in seconds and gets the same.
lock: $(VENV)/.dev
	@$(PY) infra/lock.py

demo: $(VENV)/.data
	@$(PY) -m unihand_data.demo.run --output '$(OUT)' $(if $(VIDEO),--video '$(VIDEO)')

train-demo: $(VENV)/.dev
	@$(PY) -m beingh05_model.experiments.train_demo --output '$(TRAIN_OUT)'

lint: $(VENV)/.dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(PY) tests/check_imports.py

test: lint
	@$(PY) tests/run_all.py -m "not soak"

test-fast: $(VENV)/.dev
	@$(PY) tests/run_all.py -m "not slow and not soak"

soak: $(VENV)/.dev
	@$(PY) -m pytest -q -m soak

bench: $(VENV)/.dev
	@$(PY) benchmarks/run.py

clean:
	rm -rf $(VENV) demo_out train_demo_out .mypy_cache .ruff_cache .pytest_cache .hypothesis
