# Everything a developer runs. `make test` and `make demo` set up what is missing on the machine first; what is
# installed is installed again only when the files that name it change.

SHELL := /bin/sh
VENV ?= .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
NODE_MODULES := node_modules/.installed
GRID := tests/grid/lib/.installed
# The suite is spread over two processes; a part that ARGS names runs in one, unless WORKERS says how many.
# A worker that died is not replaced: pytest-xdist would give the next one the test that it died of, again and again.
WORKERS ?= $(if $(ARGS),0,2)
SPREAD = $(if $(filter 0,$(WORKERS)),,-n $(WORKERS) --dist loadgroup --no-loadscope-reorder --max-worker-restart 0)
# Node comes from the environment where the system has none: see scripts/setup.sh.
NPM := PATH="$(abspath $(VENV))/bin:$$PATH" npm
# Where cargo puts geckodriver.
WITH_DRIVERS := PATH="$$PATH:$$HOME/.cargo/bin"

.NOTPARALLEL:
.PHONY: help demo bench divergences faults models targets test test-all lint types page pytest pytest-all browser browsers clean

help:
	@echo "make demo    compare the sample models in a browser, and show a failure that is found"
	@echo "make bench   measure what the plugin costs (some minutes; benchmarks/README.md has more, such as false alarms)"
	@echo "make faults  cause every fault, and write docs/faults.md (ARGS='-k Ctrl' for some of them)"
	@echo "make divergences  cause every known divergence of TF.js, and write docs/known-divergences.md (ARGS='-k one-hot')"
	@echo "make models  compare every model family, and write docs/models.md (ARGS='-k unet' for some of them)"
	@echo "make targets compare them on every browser, backend and variant, and write docs/targets.md"
	@echo "make test    lint, types, the page's tests, and the Python tests without the slow ones (about 15 minutes)"
	@echo "make test-all   the same with the slow tests: everything at full size (about an hour)"
	@echo "make lint    ruff check and ruff format --check"
	@echo "make types   mypy --strict, and tsc over the page's modules"
	@echo "make page    the tests of the page's modules, in Node"
	@echo "make pytest  the Python tests that are not slow, WORKERS=2 at once; ARGS='-k dist' passes arguments on, in one process"
	@echo "make pytest-all   all Python tests; WORKERS and ARGS as above"
	@echo "make clean   remove what was installed and built"

demo: $(INSTALLED) browser
	@$(PYTHON) -m demo

bench: $(INSTALLED) browser
	@$(PYTHON) -m benchmarks.importtime
	@echo
	@$(PYTHON) -m benchmarks.warm
	@echo
	@$(PYTHON) -m benchmarks.capture
	@echo
	@$(PYTHON) -m benchmarks.alone
	@echo
	@$(PYTHON) -m benchmarks.wasm
	@echo
	@$(PYTHON) -m benchmarks.memory
	@echo
	@$(PYTHON) -m benchmarks.sensitivity
	@echo
	@$(PYTHON) -m benchmarks.blame

models: $(INSTALLED) browser
	@$(PYTHON) -m tools.models_table $(ARGS)

divergences: $(INSTALLED) browser
	@$(PYTHON) -m tools.divergences_table $(ARGS)

faults: $(INSTALLED) browsers
	@$(WITH_DRIVERS) $(PYTHON) -m tools.faults_table $(ARGS)

targets: $(INSTALLED) browsers
	@$(WITH_DRIVERS) $(PYTHON) -m tools.targets_table $(ARGS)

test: lint types page pytest

test-all: lint types page pytest-all

lint: $(INSTALLED)
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

types: $(INSTALLED) $(NODE_MODULES)
	@$(PYTHON) -m mypy
	@$(NPM) run --silent types

page: $(INSTALLED)
	@$(NPM) test --silent

# After the quick checks, so that they have spoken before the long run begins.
pytest: $(INSTALLED) browsers $(GRID)
	@$(WITH_DRIVERS) $(PYTHON) -m pytest -m "not slow" $(SPREAD) $(ARGS)

pytest-all: $(INSTALLED) browsers $(GRID)
	@$(WITH_DRIVERS) $(PYTHON) -m pytest $(SPREAD) $(ARGS)

browser:
	@sh scripts/setup.sh browser

browsers:
	@sh scripts/setup.sh browsers

$(INSTALLED): pyproject.toml hatch_build.py package-lock.json scripts/setup.sh scripts/vendor_tfjs.py
	@sh scripts/setup.sh environment $(VENV)
	@touch $@

$(NODE_MODULES): package.json package-lock.json | $(INSTALLED)
	@echo "setup: the page's tools, from package-lock.json"
	@$(NPM) ci --silent
	@touch $@

$(GRID): tests/grid/pom.xml
	@sh scripts/setup.sh grid
	@touch $@

clean:
	rm -rf $(VENV) tests/grid/lib node_modules pytest_tfjs/page/vendor build dist .tox .mypy_cache .ruff_cache .pytest_cache
