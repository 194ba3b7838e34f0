"""A backup that is restored into a new server, by the commands of docs/how-to/operators/backup.md."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
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


def fill(settings: Settings) -> None:
    """Two workspaces with mail, built and published."""
    for workspace in ("ws_1", "ws_2"):
        load_events(settings, [sent(workspace, number) for number in range(5)], NOW - timedelta(hours=2))
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test")


def sent(workspace: str, number: int) -> Event:
    return Event(f"e{number}", workspace, f"m{number}", "delivered", NOW - timedelta(days=1), "c", "b", "d")


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


def run_blocks(home: Path, folder: Path, *texts: str) -> None:
    """Runs these lines in a shell that ends at the first error."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "MAILMART_HOME": str(home), "MAILMART_DATABASE_URL": ""}
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
    old = make_warehouse("backup", fill)
    migrate(old)
    key = create_key(old, "ws_1", name="old", scopes=("read",))
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

    before = one_table(old, COUNTS)
    assert one_table(new, COUNTS) == before == [("ws_1", 5, 5), ("ws_2", 5, 5)]
    app = WsgiApp(new)
    try:
        headers = {"Authorization": f"Bearer {key}"}
        overview = Client(app).get("/api/v1/workspaces/ws_1/analytics/overview", headers=headers)
        assert overview.status_code == 200, overview.text
        assert overview.get_json()["data"]["summary"]["sent"] == 5
        assert Client(app).get("/api/v1/workspaces/ws_2/analytics/overview", headers=headers).status_code == 403
    finally:
        app.close()
    with connect(new, "mailmart_api") as connection:
        assert connection.execute("select count(*) from core.fct_messages").fetchone() == (0,)
        connection.execute("set local mailmart.workspace_id = 'ws_2'")
        assert connection.execute("select distinct workspace_id from core.fct_messages").fetchall() == [("ws_2",)]

    # the same mail in both, and a repeated event
    for settings in (old, new):
        load_events(settings, [sent("ws_1", 5), sent("ws_2", 0)], NOW)
        run_dbt(settings, *WITHOUT_TESTS)
    assert one_table(new, COUNTS) == [("ws_1", 6, 6), ("ws_2", 5, 5)]
    assert current_rows.everything(new) == current_rows.everything(old)
