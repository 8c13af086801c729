# `make demo` and `make test` need nothing done before; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

# ON or OFF: whether compiler warnings are errors. JOBS: how many compilers and native tests run at a time.
WERROR ?= ON
JOBS ?= $(shell nproc)
export WERROR JOBS

# python3 gets .venv and build/py; an explicit PYTHON (python3.13, a path) gets .venv-X.Y and build/py-X.Y.
PYTHON ?=
export PYTHON
ifneq ($(filter-out python3,$(PYTHON)),)
  VERSION := $(shell python=$$(scripts/find_python.sh '$(PYTHON)') && \
    $$python -I -c 'import sys; print("{}.{}".format(*sys.version_info))')
  ifeq ($(VERSION),)
    $(error PYTHON=$(PYTHON) cannot be used)
  endif
  SUFFIX := -$(VERSION)
endif
VENV := .venv$(SUFFIX)
BUILD := build/py$(SUFFIX)
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

# --- set-up: each step leaves a stamp in the virtual environment and is done again when its inputs have changed

.PHONY: FORCE
FORCE:

$(STAMPS)/venv: FORCE
	@scripts/system_packages.sh demo
	@scripts/venv.sh $(VENV) $(PYTHON)
	@mkdir -p $(STAMPS) && [ -e $@ ] || touch $@

# install_requirements,NAMES: what scripts/requirements.py says that NAMES stand for
define install_requirements
	@echo "Installing into $(VENV): $(1)"
	@$(BIN)/python scripts/requirements.py $(1) >$(STAMPS)/requirements.txt
	@$(BIN)/python -m pip install --quiet --requirement $(STAMPS)/requirements.txt
	@touch $@
endef

$(STAMPS)/base: $(STAMPS)/venv pyproject.toml scripts/requirements.py
	$(call install_requirements,build run progress)

$(STAMPS)/test: $(STAMPS)/base
	$(call install_requirements,test)

$(STAMPS)/dev: $(STAMPS)/base
	$(call install_requirements,dev)
	@touch $(STAMPS)/test # which is a part of it

$(STAMPS)/tidy: $(STAMPS)/base
	$(call install_requirements,tidy)

# Folders are inputs as well: their time changes when a file comes or goes.
BUILD_INPUTS := $(shell find native cmake) CMakeLists.txt pyproject.toml pyferris/_version.py

$(STAMPS)/built: $(STAMPS)/base $(BUILD_INPUTS)
	@echo "Building the extension in $(BUILD)"
	@touch $@.begun # what is changed during the build is newer than its stamp
	@CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) scripts/with_tools.sh $(BIN)/python -m pip install --quiet --editable . \
		--no-build-isolation --no-deps --config-settings=build-dir=$(BUILD) \
		--config-settings=cmake.define.PYFERRIS_WERROR=$(WERROR)
	@mv $@.begun $@

# --- chores

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16
	@echo
	@echo "PYTHON=python3.13 make test   with another Python; it gets a virtual environment and a build of its own"
	@echo "WERROR=OFF make build         compiler warnings are not errors"
	@echo "ARGS='-k cancel' make test-python, ARGS='-R Counter' make test-native   some of the tests"

.PHONY: demo
demo: $(STAMPS)/built ## set up, build, run the demo
	$(BIN)/python examples/safe_threading_demo.py

.PHONY: build
build: $(STAMPS)/built ## set up, build, install into the virtual environment

.PHONY: test
test: system-test lint build test-native test-python typecheck ## set up, build, run all tests and checks

.PHONY: system-test
system-test:
	@scripts/system_packages.sh test

.PHONY: lint
lint: $(STAMPS)/dev ## check style: ruff, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "clang-format native tests/native benchmarks"
	@find native tests/native benchmarks -name '*.[ch]pp' -print0 | \
		xargs -0 $(BIN)/clang-format --dry-run -Werror

.PHONY: test-native
test-native: ## build and run the core's tests (GoogleTest)
	@scripts/system_packages.sh native
	scripts/native_tests.sh plain $(ARGS)

.PHONY: test-python
test-python: $(STAMPS)/test $(STAMPS)/built ## run the Python tests and the docstrings' examples
	timeout --kill-after=30 1500 $(BIN)/python -m pytest $(ARGS)
ifeq ($(ARGS),)
	$(BIN)/python -m pytest --doctest-modules pyferris
endif

.PHONY: typecheck
typecheck: $(STAMPS)/dev $(STAMPS)/built ## check types: stubtest, mypy, pyright
	$(BIN)/python -m mypy.stubtest pyferris._native
	$(BIN)/python -m mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: sanitize
sanitize: ## run the core's tests under ASan with UBSan, then under TSan
	@scripts/system_packages.sh native
	scripts/native_tests.sh address $(ARGS)
	scripts/native_tests.sh thread $(ARGS)

.PHONY: format
format: $(STAMPS)/dev ## format all code
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .
	@find native tests/native benchmarks -name '*.[ch]pp' -print0 | xargs -0 $(BIN)/clang-format -i

.PHONY: tidy
tidy: $(STAMPS)/tidy $(STAMPS)/built ## look for bugs in the native code with clang-tidy (slow)
	scripts/native_tests.sh plain --show-only >/dev/null
	printf '%s\0' native/src/*.cpp | xargs -0 -n 1 -P $(JOBS) $(BIN)/clang-tidy --quiet -p build/native
	printf '%s\0' native/bindings/*.cpp | xargs -0 -n 1 -P $(JOBS) $(BIN)/clang-tidy --quiet -p $(BUILD)

.PHONY: bench
bench: $(STAMPS)/test $(STAMPS)/built ## compare with the standard library, write benchmarks/RESULTS.md
	# With bytecode files, as an installed package has them: without, each new interpreter compiles the package.
	PYTHONDONTWRITEBYTECODE= $(BIN)/python benchmarks/run.py
	PYTHONDONTWRITEBYTECODE= $(BIN)/python benchmarks/bench_isolation.py

.PHONY: bench-native
bench-native: ## run the core's own benchmarks (Google Benchmark)
	@scripts/system_packages.sh native
	scripts/native_benchmarks.sh $(ARGS)

.PHONY: clean
clean: ## remove all that these targets have made
	rm -rf build dist .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
