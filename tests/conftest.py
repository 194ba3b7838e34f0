"""Real servers and real databases for the tests."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.db.migrate import migrate
from api.embedded import postgres
from api.embedded.paths import find_folders
from api.settings import Settings, embedded_database_url

SUPERUSER = "MAILMART_TEST_SERVER"
LOGIN = "MAILMART_TEST_LOGIN"
NUMBERS = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Starts one PostgreSQL for all processes of the run, before xdist makes its workers: they inherit the variables.

    With MAILMART_TEST_SERVER (a superuser's connection string) the tests go to that server, of another version for example.
    """
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    if SUPERUSER not in os.environ:
        _start_server(config)
    login, password = f"mailmart_tests_{os.getpid()}", secrets.token_hex(16)
    given = conninfo_to_dict(os.environ[SUPERUSER])
    with psycopg.connect(os.environ[SUPERUSER], autocommit=True) as connection:
        # no superuser, as a managed PostgreSQL gives it
        connection.execute(sql.SQL("create role {} login createrole password {}").format(sql.Identifier(login), password))
        for (role,) in connection.execute("select rolname from pg_roles where rolname like 'mailmart\\_%' and not rolcanlogin"):
            connection.execute(sql.SQL("grant {} to {} with admin option").format(sql.Identifier(role), sql.Identifier(login)))
    os.environ[LOGIN] = f"postgresql://{login}:{password}@/postgres?" + urlencode(
        {"host": given["host"], "port": given.get("port") or 5432}
    )
    config.add_cleanup(lambda: os.environ.__delitem__(LOGIN))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of few tests come first: theirs are the long ones, and the short ones of the others fill what is left at the end."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: tests[item.path])


def _start_server(config: pytest.Config) -> None:
    home = Path(tempfile.mkdtemp(prefix="mailmart-tests-"))
    # as root the server runs as somebody else, who has to get through to its data
    home.chmod(0o755)
    folders = find_folders(home)
    postgres.start(folders, durable=False)
    os.environ[SUPERUSER] = make_conninfo(
        host="127.0.0.1",
        port=conninfo_to_dict(embedded_database_url(home))["port"],
        user="postgres",
        password=(home / "superuser_password").read_text(),
        dbname="postgres",
    )

    def stop() -> None:
        postgres.stop(folders)
        shutil.rmtree(home, ignore_errors=True)
        del os.environ[SUPERUSER]

    config.add_cleanup(stop)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL: a superuser's connection string, and the URL of a login that is none."""

    superuser: str
    login_url: str

    def url(self, database: str) -> str:
        return self.login_url.replace("@/postgres?", f"@/{database}?")

    def login(self) -> sql.Identifier:
        return sql.Identifier(str(conninfo_to_dict(self.login_url)["user"]))

    def as_superuser(self) -> psycopg.Connection:
        return psycopg.connect(self.superuser, autocommit=True)


@pytest.fixture(scope="session")
def server() -> Server:
    """The tests' PostgreSQL."""
    return Server(os.environ[SUPERUSER], os.environ[LOGIN])


@pytest.fixture(scope="session")
def template(server: Server, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The name of a migrated, empty database."""
    name = f"template_{worker_id}_{os.getpid()}"
    with server.as_superuser() as connection:
        connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(name), server.login()))
    migrate(_settings(server.url(name), tmp_path_factory.mktemp("template")))
    yield name
    with server.as_superuser() as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _settings(url: str, home: Path) -> Settings:
    # requests are counted, and there can be as many as a test needs; those of the limits take the limits themselves
    return Settings(database_url=url, redis_url=None, home=home, rate_limit_factor=1_000_000)


@pytest.fixture(scope="session")
def _fresh_database(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Settings]]:
    yield from _databases(server, template, tmp_path_factory)


@pytest.fixture(scope="session")
def empty_database(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Settings]]:
    """Makes one more database at each call, that nobody has migrated."""
    yield from _databases(server, "template1", tmp_path_factory)


def _databases(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Settings]]:
    names: list[str] = []

    def make() -> Settings:
        name = f"test_{os.getpid()}_{next(NUMBERS)}"
        with server.as_superuser() as connection:
            connection.execute(
                sql.SQL("create database {} template {} owner {}").format(
                    sql.Identifier(name), sql.Identifier(template), server.login()
                )
            )
        names.append(name)
        return _settings(server.url(name), tmp_path_factory.mktemp(name))

    yield make
    with server.as_superuser() as connection:
        for name in names:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def another_database(_fresh_database: Callable[[], Settings]) -> Callable[[], Settings]:
    """Makes one more fresh, migrated database at each call."""
    return _fresh_database


@pytest.fixture
def settings(_fresh_database: Callable[[], Settings]) -> Settings:
    """Settings of a fresh, migrated database of the test's own."""
    return _fresh_database()


@pytest.fixture(scope="module")
def module_settings(_fresh_database: Callable[[], Settings]) -> Settings:
    """Settings of a fresh, migrated database that a module's tests share."""
    return _fresh_database()


@pytest.fixture
def seed() -> int:
    """MAILMART_TEST_SEED, or a new one each time; the tests name it when they fail."""
    return int(os.environ.get("MAILMART_TEST_SEED") or random.SystemRandom().randrange(2**32))
