# Needs Python 3.11 or later, and make; everything else is installed below .venv.
.PHONY: demo test test-fast coverage lint lint-code lint-types lint-sql lint-project format docs sdk install install-dev soak clean
.DELETE_ON_ERROR:

PYTHON ?= python3
# more than the cores of a small machine: a worker often waits for processes and servers
PYTEST_WORKERS ?= 3
RUN := .venv/bin/python
# hundreds of processes import the project: a machine that keeps no bytecode compiles it for each of them
export PYTHONDONTWRITEBYTECODE =

demo: .venv/installed
	@exec $(RUN) -m api demo

# linters, and the tests that need no server: seconds
test-fast: .venv/installed-dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m pytest -q tests/unit tests/lint -m 'not slow'

test: .venv/installed-dev
	@$(RUN) -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

# all tests, with the lines of api that they do not reach
coverage: PYTEST_OPTIONS = -p pytest_cov --cov=api --cov-report=term:skip-covered --no-cov-on-fail
coverage: test

# longer: more kills, more random cases, five minutes of load
soak: .venv/installed-dev
	@MAILMART_TEST_KILLS=20 MAILMART_TEST_RUNS=8 MAILMART_TEST_REQUESTS=20 MAILMART_TEST_ROWS=100000 MAILMART_TEST_PROCESS_KILLS=20 MAILMART_TEST_INTAKE_KILLS=50 MAILMART_TEST_EXPORTS=100 MAILMART_TEST_SCHEMATHESIS_CASES=2000 MAILMART_TEST_FUZZ_CASES=50000 MAILMART_TEST_LOAD_SECONDS=300 MAILMART_TEST_BENCH_ENDPOINTS=all $(RUN) -m pytest -n $(PYTEST_WORKERS) --timeout 3600 tests/integration/warehouse tests/integration/api tests/integration/platform/test_bench_api.py tests/e2e

# parts that can run beside each other: make -j2 lint
lint: lint-code lint-types lint-sql lint-project

lint-code: .venv/installed-dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@.venv/bin/lint-imports --cache-dir build/import-linter --no-logo
	@$(RUN) -m tests.lint.no_hosts_or_paths

lint-types: .venv/installed-dev
	@$(RUN) -m mypy

lint-sql: .venv/installed-dev
	@$(RUN) -m tests.lint.sql lint --processes 2 models

# both read what dbt parses of the project
lint-project: .venv/installed-dev
	@$(RUN) -m tests.lint.dbt_rules
	@$(RUN) -m api openapi --check

format: .venv/installed-dev
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

# the documentation, to be read from build/docs; a broken link is an error
docs: .venv/installed-dev
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "  build/docs/index.html"

# SDKs in Python and TypeScript, below build/sdk; two of the generators need Java, two Node
sdk: .venv/installed-sdk
	@$(RUN) -m api sdk

install: .venv/installed

install-dev: .venv/installed-dev

.venv/python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "error: $(PYTHON) not found; install Python 3.11 or later, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "error: $(PYTHON) cannot create a virtual environment; install its venv module (Debian: python3-venv)" >&2; exit 1; }
	@touch $@

.venv/installed: .venv/python requirements.lock pyproject.toml
	@echo "  installing (once, about a minute) …"
	@$(RUN) -m pip install -q --disable-pip-version-check -r requirements.lock
	@$(RUN) -m pip install -q --disable-pip-version-check --no-deps -e .
	@$(RUN) -m api.dbt.installed_parse || echo "  dbt cannot parse the project, as it says above"
	@touch $@

# without npm, the tests that need it are skipped, with a message
.venv/installed-dev: .venv/installed requirements-dev.lock api/tools/sdk/package-lock.json
	@echo "  installing the tools for tests and linters …"
	@$(RUN) -m pip install -q --disable-pip-version-check -r requirements-dev.lock
	@if command -v npm >/dev/null 2>&1; then $(RUN) -m api.tools.sdk.npm; fi
	@touch $@

# the generators alone: the tools for tests and linters take minutes
.venv/installed-sdk: .venv/installed requirements-dev.lock api/tools/sdk/package-lock.json
	@echo "  installing the SDK generators …"
	@$(RUN) -m pip install -q --disable-pip-version-check -c requirements-dev.lock openapi-generator-cli openapi-python-client
	@if command -v npm >/dev/null 2>&1; then $(RUN) -m api.tools.sdk.npm; fi
	@touch $@

clean:
	@if [ -x .venv/bin/python ]; then $(RUN) -m api down || true; fi
	rm -rf .mailmart target logs build
