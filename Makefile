# Everything that is done to sensequant; `make` alone lists it. Written for any POSIX make.
#
# The environment (.venv) is made once, from locks with hashes, and again when a lock changes.

.POSIX:
.SUFFIXES:

PYTHON = python3.11
VENV = .venv
BIN = $(VENV)/bin
# Test processes side by side; 0 runs them in one process.
JOBS = auto
# Options of `make run`: the whole path through the vendor's SDK, with a simulator at its other end.
# For example RUN_ARGS="--source files --data FOLDER --symbols RELIANCE,TCS".
RUN_ARGS = --source breeze-simulator
# Image to build: cpu, or gpu (LightGBM with CUDA).
TARGET = cpu

SOURCES = sensequant flows tasks blocks tests benchmarks .ci
# In the order of tests/conftest.py, where the longest come first.
SIDE_BY_SIDE = -n $(JOBS) --dist loadscope --no-loadscope-reorder
UV_INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python

help:
	@echo 'make run       train on a simulated market and brief (RUN_ARGS="..." for options)'
	@echo 'make test      everything that can be tested in minutes'
	@echo 'make coverage  which lines the quick tests reach; fails below the limit'
	@echo 'make worlds    explore worlds without and with an edge, or with a planted relation: half an hour'
	@echo 'make machines  test what starts several machines: two hosts, kills, backup and restore'
	@echo 'make serve     start the Prefect server, its work pools and workers'
	@echo 'make check     format, lint, types, layers, spelling, YAML, locks, Dockerfile'
	@echo 'make bench     measure'
	@echo 'make fmt       format and fix what can be fixed'
	@echo 'make types     check types'
	@echo 'make image     build the container image (TARGET=gpu for CUDA)'
	@echo 'make lock      resolve dependencies anew and write the locks'
	@echo 'make extras    install what several machines need: PostgreSQL driver, Dask'
	@echo 'make browsers  install the browser that the UI tests drive'
	@echo 'make clean     remove what tools left behind; data and environment stay'

run: $(VENV)/.runtime
	$(BIN)/sensequant run $(RUN_ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest $(SIDE_BY_SIDE)

# Apart from the tests: tracing doubles their time.
coverage: $(VENV)/.dev
	$(BIN)/pytest $(SIDE_BY_SIDE) -m 'not slow' --cov --cov-report=term

worlds: $(VENV)/.dev
	$(BIN)/pytest -n $(JOBS) -m 'worlds or slow' tests/sensequant/test_null_world.py \
	    tests/sensequant/calibration/test_verdict_errs.py \
	    tests/sensequant/stages/test_ablation_worlds.py

machines: $(VENV)/.dev
	$(BIN)/pytest -m machines

serve: $(VENV)/.runtime
	$(BIN)/sensequant up

check: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/pyright
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/codespell $(SOURCES) docs deployments README.md Makefile Dockerfile
	$(BIN)/yamllint --strict --config-data '{extends: relaxed, rules: {line-length: disable}}' \
	    prefect.yaml deployments sensequant .pre-commit-config.yaml
	$(BIN)/python .ci/check_locks.py
	@if command -v hadolint >/dev/null 2>&1; then hadolint Dockerfile; \
	else echo 'hadolint is not there; tests/test_dockerfile.py checks the Dockerfile'; fi

bench: $(VENV)/.dev
	@for file in benchmarks/bench_*.py; do \
	    echo "$$file"; $(BIN)/python "$$file" || exit 1; \
	done

fmt: $(VENV)/.dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

types: $(VENV)/.dev
	$(BIN)/pyright

image:
	@docker info >/dev/null 2>&1 || { echo 'error: no Docker daemon answers' >&2; exit 1; }
	docker build --target $(TARGET) --tag sensequant:$(TARGET) .

lock: $(VENV)/.uv
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --group dev --all-extras \
	    --output-file requirements-dev.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --constraint requirements-dev.lock \
	    --output-file requirements.lock pyproject.toml

# Neither addresses nor annotations: a lock says what, not from where.
LOCK_OPTIONS = --quiet --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --no-emit-index-url

# Of the extras the lock for developers has the versions and hashes.
extras: $(VENV)/.runtime
	$(UV_INSTALL) --constraint requirements-dev.lock --build-constraint requirements-dev.lock \
	    --editable '.[dask,postgresql]'

browsers:
	@if command -v chromium >/dev/null 2>&1; then echo 'chromium is there'; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	        apt-get install -q -y --no-install-recommends chromium; \
	else echo 'error: install chromium with the package manager of this system' >&2; exit 1; fi

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	rm -f .coverage .coverage.*
	find sensequant flows tasks blocks tests benchmarks .ci -name __pycache__ -type d -prune \
	    -exec rm -rf {} +

$(VENV)/.uv: requirements-uv.lock
	@python=$$(command -v $(PYTHON) || command -v python3) || \
	    { echo 'error: Python 3.11 or newer is missing' >&2; exit 1; }; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $$python is older than Python 3.11; set PYTHON" >&2; exit 1; }; \
	test -x $(BIN)/python || "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --default-pip
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-uv.lock
	@touch $@

$(VENV)/.runtime: $(VENV)/.uv requirements.lock pyproject.toml
	$(UV_INSTALL) --require-hashes --requirement requirements.lock
	$(UV_INSTALL) --no-deps --build-constraint requirements-dev.lock --editable .
	@touch $@

# The tests start hundreds of processes; none of them should compile the libraries anew.
$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(UV_INSTALL) --compile-bytecode --require-hashes --requirement requirements-dev.lock
	@touch $@

.PHONY: help run test coverage worlds machines serve check bench fmt types image lock extras browsers clean
