# make demo: encode and decode a photo.  make test, make lint: what continuous integration runs.
# make web: build the package for the browser into web/dist, with Node.js and npm.
# make page: build the script of the page of `onedc serve`, which is committed.
# Each target creates .venv on first use. Choose the interpreter with `make PYTHON=python3.12 demo`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints-cpu.txt

.PHONY: demo test lint web page clean

demo: $(VENV)/.installed
	$(BIN)/python -m onedc demo examples/photo.webp -o demo --force

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

web: web/node_modules/.package-lock.json
	cd web && npm run --silent check && npm run --silent build

page: web/node_modules/.package-lock.json
	cd web && npm run --silent page

clean:
	rm -rf $(VENV) demo web/node_modules web/dist

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --ignore-scripts --no-audit --no-fund

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints-cpu.txt | $(BIN)/python
	@echo "Installing into $(VENV); this takes minutes the first time."
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints-cpu.txt | $(BIN)/python
	@echo "Installing into $(VENV); this takes minutes the first time."
	$(PIP_INSTALL) -e ".[dev]"
	touch $@ $(VENV)/.installed
