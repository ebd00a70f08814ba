# Every command a person needs. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 3

.PHONY: help setup demo test test-long lint format serve sim sim-plots spike spike-plots evaluate bench lock clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## build .venv from the package registry (python 3.11 or later)

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) -V): make setup PYTHON=python3.12"; exit 1; }
	@echo "building $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --quiet --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --require-hashes -r requirements/dev.txt || \
		{ echo "uv cannot reach the registry as it is set up here: pip does it, more slowly"; \
		$(PIP) install --quiet --no-compile --require-hashes -r requirements/dev.txt; }
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY) ## watch real traffic pass, each request recorded before it is forwarded
	@$(BIN)/python -m examples.live_demo

test: $(READY) ## the tests, in under five minutes
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not long"

test-long: $(READY) ## the nightly figures too
	@$(BIN)/python -m pytest -q -m long --timeout 3600

lint: $(READY) ## ruff, mypy, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "run make format"; exit 1; }
	@$(BIN)/mypy
	@PATH=$(BIN):$$PATH lint-imports --no-logo > $(VENV)/lint-imports.txt || { cat $(VENV)/lint-imports.txt; exit 1; }
	@tail -n 2 $(VENV)/lint-imports.txt

format: $(READY) ## rewrite the files as ruff wants them
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

serve: $(READY) ## run the gateway with the embedded simulator
	@$(BIN)/lumyn serve

sim: $(READY) ## run the simulated llm-d alone
	@$(BIN)/lumyn sim

sim-plots: $(READY) ## draw the plots of docs/simulator.md anew
	@$(BIN)/python -m controller.llmd.sim.plots --out docs/images

spike: $(READY) ## play a spike on a gateway, controller off and on, and write loadtest-report/report.html
	@$(BIN)/lumyn loadtest spike

spike-plots: $(READY) ## play it again on a quiet machine, and put its plots into docs/images
	@$(BIN)/lumyn loadtest spike --out loadtest-report
	@for name in arrivals ttft attainment cost models control; do \
		cp loadtest-report/$$name.png docs/images/spike-$$name.png; done

evaluate: $(READY) ## the intent controller against baselines, in virtual time
	@$(BIN)/lumyn evaluate --scenario spike4 --policies all

bench: $(READY) ## the gateway against a bare aiohttp pass-through
	@$(BIN)/python -m benchmarks.gateway

lock: ## write requirements/*.txt anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header pyproject.toml -o requirements/runtime.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --all-extras pyproject.toml -o requirements/dev.txt

clean: ## remove what the commands made
	@rm -rf $(VENV) .lumyn .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov build dist *.egg-info
