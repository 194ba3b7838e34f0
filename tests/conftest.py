"""Real servers and real databases for the tests."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from api.migrate import migrate
from api.settings import Settings

NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL of the tests' own. `login_url` and `admin_url` are libpq URLs without a database."""

    host: str
    port: int
    login: str
    password: str
    admin: str
    admin_password: str

    def url(self, database: str) -> str:
        return f"postgresql://{self.login}:{self.password}@/{database}?host={self.host}&port={self.port}"

    def admin_connection(self) -> psycopg.Connection:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.admin,
            password=self.admin_password,
            dbname="postgres",
            autocommit=True,
        )


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """MAILMART_TEST_SERVER (a superuser's URL, to test another version)."""
    given = conninfo_to_dict(os.environ["MAILMART_TEST_SERVER"])
    yield Server(str(given["host"]), int(given["port"] or 5432), "mailmart", "x", str(given["user"]), "x")


@pytest.fixture(scope="session")
def template(server: Server, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The name of a migrated, empty database."""
    name = f"template_{worker_id}_{os.getpid()}"
    with server.admin_connection() as connection:
        connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(server.login)))
    migrate(_settings(server.url(name), tmp_path_factory.mktemp("template")))
    return name


def _settings(url: str, home: Path) -> Settings:
    return Settings(database_url=url, redis_url=None, home=home)


@pytest.fixture(scope="session")
def _fresh_database(
    server: Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Settings]]:
    names: list[str] = []

    def make() -> Settings:
        name = f"test_{os.getpid()}_{next(NUMBERS)}"
        with server.admin_connection() as connection:
            connection.execute(
                sql.SQL("create database {} template {} owner {}").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(server.login)
                )
            )
        names.append(name)
        return _settings(server.url(name), tmp_path_factory.mktemp(name))

    yield make
    with server.admin_connection() as connection:
        for name in [*names, template]:
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
