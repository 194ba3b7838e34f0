"""A backup that is restored into a new server, by the commands of docs/how-to/operators/backup.md."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.db.migrate import migrate
from api.embedded import postgres
from api.embedded.paths import find_folders
from api.embedded.postgres import REVOKE_LARGE_OBJECTS
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import HOSTILE_WORKSPACE, OTHER_WORKSPACE, Caller, fill_example
from tests.integration.api.example import CAMPAIGN, SUMMARY, WORKSPACE, example_events
from tests.integration.conftest import MakeWarehouse
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.lint.documentation import blocks
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.support.postgres import PostgresServer
from tests.support.privileges import privileges_page

PAGE = "docs/how-to/operators/backup.md"
NOW = datetime.now(UTC)
COUNTS = "select workspace_id, sum(sent), sum(delivered) from core.fct_campaign_days where valid_to > 1000 group by 1 order by 1"
DATABASE_SETTINGS = """
    select setconfig from pg_db_role_setting
    where setrole = 0 and setdatabase = (select oid from pg_database where datname = current_database())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter: as root the servers run as another user."""
    folder = Path(tempfile.mkdtemp(prefix="mailmart-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def new_server(folder: Path) -> Iterator[Path]:
    """The home folder of a second embedded server, whose database is migrated, as after `mailmart up`."""
    home = folder / "home"
    home.mkdir()
    folders = find_folders(home)
    try:
        postgres.start(folders, durable=False)
        migrate(Settings(database_url=None, redis_url=None, home=home))
        yield home
    finally:
        postgres.stop(folders)
        for path in (folders.servers, folders.sockets):
            shutil.rmtree(path, ignore_errors=True)


def run_blocks(home: Path, folder: Path, *texts: str, database_url: str = "") -> None:
    """Runs these lines in a shell that ends at the first error."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "MAILMART_HOME": str(home), "MAILMART_DATABASE_URL": database_url}
    completed = subprocess.run(
        ["bash", "-ec", "\n".join(texts)], cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


def block(title: str) -> str:
    """A shell block of the page."""
    return next(block.text for block in blocks(PAGE) if block.title == title)


def superuser_of(server: PostgresServer, settings: Settings) -> str:
    return make_conninfo(server.superuser, dbname=str(conninfo_to_dict(str(settings.database_url))["dbname"]))


def one_table(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.mark.timeout(600)
def test_a_backup_is_restored_into_a_new_server(
    server: PostgresServer, make_warehouse: MakeWarehouse, new_server: Path, folder: Path
) -> None:
    old = make_warehouse("example", fill_example)
    migrate(old)
    key = create_key(old, WORKSPACE, name="old", scopes=("read",))
    with psycopg.connect(superuser_of(server, old), autocommit=True) as connection:
        connection.execute(REVOKE_LARGE_OBJECTS.encode())
        privileges = privileges_page(connection)
        database_settings = connection.execute(DATABASE_SETTINGS).fetchall()
        login, password = (conninfo_to_dict(str(old.database_url))[name] for name in ("user", "password"))
    # a home folder like that of an embedded server
    (old.home / "database_url").write_text(str(old.database_url))
    (old.home / "superuser_password").write_text(str(conninfo_to_dict(server.superuser)["password"]))
    run_blocks(old.home, folder, block("embedded server"), block("back up"))

    # the logins come with roles.sql; that of the tests' server has another name than the new server's own
    run_blocks(new_server, folder, block("embedded server"), f"export MAILMART_DBT_USER={login}", block("restore"))
    url = (new_server / "database_url").read_text().strip()
    superuser = make_conninfo(url, user="postgres", password=(new_server / "superuser_password").read_text())
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(str(login)), str(password)))
        new = dataclasses.replace(old, home=new_server, database_url=make_conninfo(url, user=str(login), password=str(password)))
        migrate(new)
        assert privileges_page(connection) == privileges
        assert connection.execute(DATABASE_SETTINGS).fetchall() == database_settings

    # the login that owns the database is no superuser, like that of a managed server
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("create database managed owner {}").format(sql.Identifier(str(login))))
    managed_url = make_conninfo(str(new.database_url), dbname="managed")
    run_blocks(
        new_server, folder, block("embedded server"), "export MAILMART_DBT_DATABASE=managed; unset PGUSER PGPASSWORD",
        block("restore without a superuser"), database_url=managed_url,
    )  # fmt: skip
    with psycopg.connect(make_conninfo(superuser, dbname="managed"), autocommit=True) as connection:
        connection.execute(REVOKE_LARGE_OBJECTS.encode())
        assert privileges_page(connection) == privileges

    assert one_table(old, COUNTS) == [(HOSTILE_WORKSPACE, 3, 3), (OTHER_WORKSPACE, 10, 0), (WORKSPACE, 5001, 4900)]
    assert current_rows.everything(new) == current_rows.everything(old)
    app = WsgiApp(new)
    try:
        caller = Caller(Client(app), key)
        assert caller.get(f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics").get_json()["data"]["summary"] == SUMMARY
        assert caller.get(f"{OTHER_WORKSPACE}/analytics/overview").status_code == 403
    finally:
        app.close()
    with connect(new, "mailmart_api") as connection:
        assert connection.execute("select count(*) from core.fct_messages").fetchone() == (0,)
        connection.execute(f"set local mailmart.workspace_id = '{OTHER_WORKSPACE}'".encode())
        assert connection.execute("select distinct workspace_id from core.fct_messages").fetchall() == [(OTHER_WORKSPACE,)]

    # mail comes, and some of it again
    new_mail = Event("new", WORKSPACE, "m_new", "delivered", NOW, CAMPAIGN)
    load_events(new, [new_mail, *itertools.islice(example_events(), 10)], NOW)
    run_dbt(new, *WITHOUT_TESTS, "--exclude", "path:models/marts")
    assert one_table(new, COUNTS) == [(HOSTILE_WORKSPACE, 3, 3), (OTHER_WORKSPACE, 10, 0), (WORKSPACE, 5002, 4901)]
