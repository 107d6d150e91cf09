# `make demo` and `make test` need Python 3.11 or newer, make and git; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test test-slow lint format constraints audit clean

demo: $(VENV)/.demo
	$(BIN)/dualprune prune pipelines/configs/digits.yaml --run runs/digits

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The newest versions that go together, all tests to be run with them after.
constraints: $(VENV)/.made
	$(or $(UV),$(BIN)/uv) pip compile --quiet --upgrade --all-extras --no-annotate \
		--custom-compile-command "make constraints" --output-file constraints.txt pyproject.toml

# Asks a database of known weaknesses, so it needs a network, and is no part of CI.
audit: $(VENV)/.dev
	$(or $(UV),$(BIN)/uv) tool run pip-audit --requirement constraints.txt --no-deps --disable-pip

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache

# uv installs in seconds; where it is not there, a copy of it goes into the environment first.
$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dualprune needs Python 3.11 or newer; name one by PYTHON=…")'
ifeq ($(UV),)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
else
	$(UV) venv --quiet --python $(PYTHON) $(VENV)
endif
	touch $@

INSTALL = $(or $(UV),$(BIN)/uv) pip install --quiet --python $(BIN)/python --constraint constraints.txt

$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo,dev]'
	touch $@
