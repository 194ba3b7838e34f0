"""Real databases for the tests, on a real server."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest

from api.db.citus import distribute_core
from api.db.migrate import migrate
from api.db.timescale import make_hypertables
from api.settings import Settings
from tests.support import citus
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.support.forked_dbt import forked_dbt_command
from tests.support.postgres import PostgresServer, shared_server
from tests.support.run_folder import once_per_run

NUMBERS = itertools.count(1)
TEMPLATE = "template_migrated"
BUILT_TEMPLATE = "template_built"
# with MAILMART_TEST_SERVER of a server that has TimescaleDB: every test's database has hypertables
HYPERTABLES = "MAILMART_TEST_HYPERTABLES"

MakeDatabase = Callable[[], Settings]
# name, and what is done with the database before it is copied
MakeWarehouse = Callable[[str, Callable[[Settings], None]], Settings]


@pytest.fixture(scope="session")
def server() -> PostgresServer:
    """The tests' PostgreSQL."""
    return shared_server()


@pytest.fixture(autouse=True)
def _forked_dbt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that a test runs in its own process import dbt and parse the project only once."""
    monkeypatch.setattr("api.dbt.runner.dbt_command", forked_dbt_command)


@pytest.fixture(scope="session")
def template(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated, empty database."""

    def make() -> None:
        server.create_database(TEMPLATE)
        settings = _settings(server, TEMPLATE, tmp_path_factory)
        migrate(settings)
        if os.environ.get(HYPERTABLES):
            make_hypertables(settings, print)
        if citus.is_distributed():
            distribute_core(settings, print)
        if os.environ.get(citus.VARIANTS):
            citus.stand_in(settings, server)

    once_per_run(TEMPLATE, make)
    return TEMPLATE


@pytest.fixture(scope="session")
def built_template(server: PostgresServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database without mail, whose models are built: a first build takes twice as long as one that follows."""

    def make() -> None:
        server.create_database(BUILT_TEMPLATE, template, warehouse=BUILT_TEMPLATE)
        first = run_dbt(_settings(server, BUILT_TEMPLATE, tmp_path_factory), *WITHOUT_TESTS)
        # who sees a warning at each build reads none
        assert " WARN=0 " in first.stdout, first.stdout
        assert "WARNING" not in first.stdout, first.stdout

    once_per_run(BUILT_TEMPLATE, make)
    return BUILT_TEMPLATE


@pytest.fixture(scope="session")
def make_built_database(server: PostgresServer, built_template: str, tmp_path_factory: pytest.TempPathFactory) -> MakeDatabase:
    """Makes one more database without mail, whose models are built and not published, at each call."""
    return lambda: _make_database(server, built_template, tmp_path_factory)


@pytest.fixture(scope="session")
def make_database(server: PostgresServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> MakeDatabase:
    """Makes one more fresh, migrated database at each call. They remain as long as the server."""
    return lambda: _make_database(server, template, tmp_path_factory)


@pytest.fixture(scope="session")
def empty_database(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> MakeDatabase:
    """Makes one more empty database, not migrated, at each call."""
    return lambda: _make_database(server, None, tmp_path_factory)


@pytest.fixture(scope="session")
def make_warehouse(server: PostgresServer, built_template: str, tmp_path_factory: pytest.TempPathFactory) -> MakeWarehouse:
    """Makes a database that is loaded and built once in the whole run, whatever the number of workers, and then copied.

    Called with a name and a function that fills a fresh database, whose models are built but hold no mail. Each call returns a
    copy of the caller's own. What the function writes to the home folder is not copied.
    """

    def make(name: str, fill: Callable[[Settings], None]) -> Settings:
        original = f"warehouse_{name}"

        def make_original() -> None:
            server.create_database(original, built_template, warehouse=name)
            fill(_settings(server, original, tmp_path_factory))

        once_per_run(original, make_original)
        return _make_database(server, original, tmp_path_factory, warehouse=name)

    return make


def _make_database(
    server: PostgresServer, template: str | None, tmp_path_factory: pytest.TempPathFactory, warehouse: str | None = None
) -> Settings:
    name = f"test_{os.getpid()}_{next(NUMBERS)}"
    server.create_database(name, template, warehouse)
    return _settings(server, name, tmp_path_factory)


def _settings(server: PostgresServer, database: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    # limits do not get in the way of tests; the tests of limits set their own
    home = tmp_path_factory.mktemp(database)
    return Settings(database_url=server.url(database), redis_url=None, home=home, rate_limit_factor=1_000_000)


@pytest.fixture
def built_empty(make_built_database: MakeDatabase) -> Settings:
    """Settings of a database of the test's own, whose models are built and hold no mail."""
    return make_built_database()


@pytest.fixture(scope="module")
def empty_warehouse(make_built_database: MakeDatabase) -> Settings:
    """The same, shared by a module's tests."""
    return make_built_database()


@pytest.fixture
def settings(make_database: MakeDatabase) -> Settings:
    """Settings of a fresh, migrated database of the test's own."""
    return make_database()


@pytest.fixture(scope="module")
def module_settings(make_database: MakeDatabase) -> Settings:
    """Settings of a fresh, migrated database that a module's tests share."""
    return make_database()
