"""Logins of their own for each process, and for analysts: each can do its work, and nothing else."""

from __future__ import annotations

import dataclasses
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.db.migrate import migrate
from api.db.session import Role
from api.dbt.profile import dbt_environment
from api.errors import SessionError
from api.exports.attempt import run_attempt
from api.exports.storage import storage_of
from api.processes.stack import service_programs
from api.server.app import WsgiApp
from api.settings import INTAKE, PROCESS_DATABASE_URLS, PROJECT_ROOT, SCHEDULER, SERVE, WORKER, Settings
from tests.integration.api.conftest import HOSTILE_WORKSPACE, OTHER_WORKSPACE, Caller
from tests.integration.api.example import WORKSPACE
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.support.forked_dbt import run_forked
from tests.support.postgres import PostgresServer

# makes a login with options (noinherit) and roles, and returns the settings with its URL
MakeLogin = Callable[..., Settings]


@pytest.fixture(scope="module")
def make_login(server: PostgresServer, warehouse_settings: Settings) -> Iterator[MakeLogin]:
    migrate(warehouse_settings)
    logins: list[sql.Identifier] = []
    parts = conninfo_to_dict(str(warehouse_settings.database_url))

    def make(name: str, *roles: str, inherits: bool = False) -> Settings:
        login, password = f"{name}_{os.getpid()}", secrets.token_hex(8)
        logins.append(sql.Identifier(login))
        with server.as_superuser() as connection:
            connection.execute(
                sql.SQL("create role {} login {} password {}").format(
                    logins[-1], sql.SQL("inherit" if inherits else "noinherit"), password
                )
            )
            for role in roles:
                connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), logins[-1]))
        url = str(warehouse_settings.database_url).replace(f"{parts['user']}:{parts['password']}@", f"{login}:{password}@")
        return dataclasses.replace(warehouse_settings, database_url=url)

    yield make
    database = psycopg.conninfo.make_conninfo(server.superuser, dbname=str(parts["dbname"]))
    with psycopg.connect(database, autocommit=True) as connection:
        for login in logins:
            connection.execute(sql.SQL("drop owned by {} cascade").format(login))
            connection.execute(sql.SQL("drop role {}").format(login))


def test_the_api_answers_with_a_login_of_its_own(make_login: MakeLogin, warehouse_settings: Settings) -> None:
    own = make_login("logins_api", "mailmart_api")
    key = create_key(warehouse_settings, WORKSPACE, name="logins", scopes=("read", "export"))
    app = WsgiApp(own)
    try:
        caller = Caller(Client(app), key)
        assert caller.get(f"{WORKSPACE}/analytics/overview").status_code == 200
        assert caller.get(f"{OTHER_WORKSPACE}/analytics/overview").status_code == 403
        assert caller.get(f"{WORKSPACE}/analytics/exports").status_code == 200
    finally:
        app.close()
    with connect(warehouse_settings, "mailmart_owner") as connection:
        row = connection.execute("select last_used_at is not null from app.api_keys where name = 'logins'").fetchone()
    assert row == (True,)


def test_an_export_with_the_logins_of_api_and_worker(make_login: MakeLogin, warehouse_settings: Settings) -> None:
    api, worker = make_login("logins_api2", "mailmart_api"), make_login("logins_worker", "mailmart_worker")
    key = create_key(warehouse_settings, WORKSPACE, name="logins2", scopes=("read", "export"))
    app = WsgiApp(api)
    try:
        client, headers = Client(app), {"Authorization": f"Bearer {key}"}
        body = {"export_type": "campaign_performance", "format": "csv"}
        path = f"/api/v1/workspaces/{WORKSPACE}/analytics"
        export_id = client.post(f"{path}/export", json=body, headers=headers).get_json()["data"]["export_id"]
        outcome = run_attempt(worker, storage_of(worker), export_id, lambda: False, lambda *_: None)
        assert outcome is not None
        assert outcome.reason is None
        link = client.get(f"{path}/exports/{export_id}", headers=headers).get_json()["data"]["download_url"]
        link = link.removeprefix(api.public_url)
        assert client.get(link).status_code == 200
        changed = link[:-1] + ("0" if link[-1] != "0" else "1")
        assert client.get(changed).status_code == 403
    finally:
        app.close()


@pytest.mark.parametrize(
    ("granted", "refused"),
    [
        ("mailmart_api", ("mailmart_worker", "mailmart_owner", "mailmart_analyst")),
        ("mailmart_worker", ("mailmart_api", "mailmart_owner", "mailmart_analyst")),
        ("mailmart_intake", ("mailmart_api", "mailmart_worker", "mailmart_owner")),
        ("mailmart_analyst", ("mailmart_api", "mailmart_worker", "mailmart_owner")),
    ],
)
def test_a_login_takes_no_other_role(make_login: MakeLogin, granted: Role, refused: tuple[Role, ...]) -> None:
    own = make_login(f"logins_{granted}", granted)
    connect(own, granted).close()
    for role in refused:
        with pytest.raises(SessionError, match=f"may not take the role {role}, which "):
            connect(own, role)
    with connect(own, None) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        # nothing is inherited: only the role has privileges
        connection.execute("select * from core.fct_messages")


def test_a_build_with_the_login_of_the_api_is_refused_in_a_sentence(make_login: MakeLogin) -> None:
    own = make_login("logins_no_build", "mailmart_api")
    environment = {**os.environ, "MAILMART_DATABASE_URL": str(own.database_url), "MAILMART_HOME": str(own.home)}
    command = [str(PROJECT_ROOT / ".venv" / "bin" / "python"), "-m", "api", "build"]
    ended = subprocess.run(command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    first, second = ended.stderr.strip().splitlines()
    assert "may not take the role mailmart_owner, which builds" in first
    assert "logins.md" in second


def test_dbt_builds_with_a_login_that_inherits_nothing(make_login: MakeLogin) -> None:
    builder = make_login("logins_builder", "mailmart_owner", "mailmart_worker")
    models = ("bounce_reasons", "dim_bounce_reasons", "stg_workspaces", "health_score_factors", "dim_health_score_factors")
    try:
        run_dbt(dataclasses.replace(builder, target="logins"), *WITHOUT_TESTS, "--select", *models)
    finally:
        with connect(builder, "mailmart_owner") as connection:
            for layer in ("staging", "core", "marts", "marts_served"):
                connection.execute(f"drop schema if exists logins_{layer} cascade".encode())


def test_a_process_has_its_own_login_and_no_others(warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {name: f"postgresql://{name}@/x" for name in PROCESS_DATABASE_URLS.values()}
    every = dataclasses.replace(warehouse_settings, **urls)  # type: ignore[arg-type]
    for process, own in ((SERVE, "api"), (INTAKE, "intake"), (WORKER, "worker"), (SCHEDULER, "scheduler")):
        settings = every.for_process(process)
        assert settings.database_url == urls[f"{own}_database_url"]
        assert [getattr(settings, name) for name in urls] == [None] * 4
        assert warehouse_settings.for_process(process) == warehouse_settings
    monkeypatch.setenv("MAILMART_API_DATABASE_URL", urls["api_database_url"])
    hidden = {program.name: program.hidden for program in service_programs()}
    variables = {name: f"MAILMART_{name.upper()}_DATABASE_URL" for name in ("api", "intake", "worker", "scheduler")}
    assert hidden["serve"] == {variables["intake"], variables["worker"], variables["scheduler"], "MAILMART_DATABASE_URL"}
    assert hidden["intake"] == {variables["api"], variables["worker"], variables["scheduler"]}
    assert hidden["worker"] == {variables["api"], variables["intake"], variables["scheduler"]}


@pytest.fixture(scope="module")
def anna(make_login: MakeLogin, warehouse_settings: Settings) -> Settings:
    """An analyst of one workspace, made by the lines of docs/how-to/operators/logins.md."""
    own = make_login("anna", "mailmart_workspace_analyst", inherits=True)
    login = str(conninfo_to_dict(str(own.database_url))["user"])
    with connect(warehouse_settings, "mailmart_owner") as connection:
        connection.execute("insert into app.workspace_analysts (login, workspace_id) values (%s, %s)", (login, WORKSPACE))
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(f"{login}_marts")))
        connection.execute(
            sql.SQL("grant usage, create on schema {} to {}").format(sql.Identifier(f"{login}_marts"), sql.Identifier(login))
        )
    return own


TENANT_ROWS = "select distinct workspace_id from {} order by 1"


def test_an_analyst_of_a_workspace_sees_no_other_and_cannot_lift_it(
    anna: Settings, make_login: MakeLogin, warehouse_settings: Settings
) -> None:
    with connect(warehouse_settings, "mailmart_owner") as connection:
        tables = connection.execute(
            "select format('%I.%I', table_schema, table_name) from information_schema.columns"
            " where table_schema in ('core', 'marts', 'marts_served') and column_name = 'workspace_id'"
        ).fetchall()
    assert len(tables) > 30
    tries = (
        "select 1",
        f"set mailmart.workspace_id = '{OTHER_WORKSPACE}'",
        "set row_security = off",
        "set role mailmart_workspace_analyst",
        "set session_authorization = default",
    )
    with connect(anna, None, autocommit=True) as connection:
        for attempt in tries:
            connection.execute(attempt.encode())
            for (table,) in tables:
                try:
                    seen = connection.execute(TENANT_ROWS.format(table).encode()).fetchall()
                except psycopg.errors.InsufficientPrivilege:
                    assert attempt == "set row_security = off"
                    continue
                # a mart has a row of zeros for a workspace that the context names
                assert {row[0] for row in seen} <= {WORKSPACE, OTHER_WORKSPACE if "mailmart" in attempt else WORKSPACE}, table
                if table == "core.fct_messages":
                    assert {row[0] for row in seen} == {WORKSPACE}
            connection.execute("reset all")
        for statement in (
            "set role mailmart_analyst",
            "set role mailmart_owner",
            "set session authorization postgres",
            "select * from app.workspace_analysts",
            "update app.workspace_analysts set workspace_id = 'ws_other'",
            "select * from raw.email_events",
            "create table marts.mine ()",
            "create schema mine",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    unbound = make_login("ben", "mailmart_workspace_analyst", inherits=True)
    with connect(unbound, None) as connection:
        assert connection.execute("select count(*) from core.fct_messages").fetchone() == (0,)


def test_an_analyst_of_all_workspaces(make_login: MakeLogin) -> None:
    own = make_login("carla", "mailmart_analyst", inherits=True)
    with connect(own, None) as connection:
        seen = connection.execute("select distinct workspace_id from core.fct_messages order by 1").fetchall()
    assert {row[0] for row in seen} == {WORKSPACE, OTHER_WORKSPACE, HOSTILE_WORKSPACE}


def test_an_analyst_builds_marts_in_a_schema_of_the_login(anna: Settings) -> None:
    login = str(conninfo_to_dict(str(anna.database_url))["user"])
    production = anna.home / "production"
    environment = {
        **os.environ,
        **dbt_environment(anna),
        "MAILMART_DBT_TARGET": "dev",
        "MAILMART_DBT_PREFIX": login,
        "MAILMART_DBT_ROLE": login,
    }

    def dbt(*arguments: str) -> subprocess.CompletedProcess[str]:
        paths = ("--log-path", str(anna.home / "logs"))
        return run_forked(["--no-use-colors", *arguments, *paths], environment, anna.project_root, timeout=240)

    assert dbt("parse", "--target", "production", "--target-path", str(production)).returncode == 0
    deferred = ("--defer", "--state", str(production), "--target-path", str(anna.home / "dev"))
    built = dbt("build", "--select", "campaign_performance", "freshness", "--exclude-resource-type", "unit_test", *deferred)
    assert built.returncode == 0, built.stdout
    with connect(anna, None) as connection:
        rows = connection.execute(f'select distinct workspace_id from "{login}_marts".campaign_performance'.encode()).fetchall()
    assert rows == [(WORKSPACE,)]
    refused = dbt("build", "--select", "campaign_performance", "--target", "production", *deferred)
    assert refused.returncode != 0
    assert "cannot build the target production" in refused.stdout
