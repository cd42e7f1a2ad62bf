# One environment, .venv, made with plain pip. Every target installs what it needs and nothing more.
PYTHON ?= python3
VENV   := .venv
PIP    := $(VENV)/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt
DATA   := packages/unihand_data
VIDEO  ?=
OUT    ?= demo_out

.PHONY: setup setup-dev demo test test-fast bench lint soak clean
.DEFAULT_GOAL := help

help:
	@echo "make demo [VIDEO=path]   run the whole human-video job on the sample clip (or on your video)"
	@echo "make test                everything CI runs; make test-fast leaves the slow part out"
	@echo "make bench | lint | soak | setup | clean"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# What the data job needs: no torch.
$(VENV)/.data: $(VENV)/bin/python constraints.txt $(DATA)/pyproject.toml
	$(PIP) -e '$(DATA)[pipelines]'
	@touch $@

# What the tests need on top.
$(VENV)/.dev: $(VENV)/.data requirements-dev.txt
	$(PIP) -e '$(DATA)[pipelines,mano,view,render]' -r requirements-dev.txt
	@touch $@

setup: $(VENV)/.data
setup-dev: $(VENV)/.dev
