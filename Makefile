# `make demo` and `make test` need Python 3.11 or newer, make and git; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test test-slow lint format audit constraints clean

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

# Queries a database of known vulnerabilities. This needs a network, so it is not part of CI.
audit: $(VENV)/.dev
	$(or $(UV),$(BIN)/uv) tool run pip-audit --requirement constraints.txt --no-deps --disable-pip

# Pins the newest compatible versions for the oldest supported Python. Run .ci/run on them afterwards.
constraints: $(VENV)/.made
	sed -n 1p constraints.txt > constraints.new
	$(or $(UV),$(BIN)/uv) pip compile pyproject.toml --all-extras --upgrade --python-version 3.11 --quiet \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links | sed 's/+[a-z0-9.]*$$//' >> constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache

# uv installs in seconds; if it is missing, it is installed into the environment first.
$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dualprune needs Python 3.11 or newer; set PYTHON=… to one")'
ifeq ($(UV),)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
else
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
endif
	touch $@

# Compile at installation; otherwise every process of the first run compiles its imports.
INSTALL = $(or $(UV),$(BIN)/uv) pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt

$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo,dev]'
	touch $@
