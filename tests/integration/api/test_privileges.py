"""Each role has the privileges of docs/reference/privileges.md and no other; what one role passes to another is checked."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from api.contract.parameters import PARAMETERS, PATH_PARAMETERS
from api.db.connection import connect
from api.db.migrate import migrate
from api.embedded.postgres import REVOKE_LARGE_OBJECTS
from api.exports.plan import ResolvedRequest
from api.settings import PROJECT_ROOT, Settings
from tests.integration.api.example import WORKSPACE
from tests.support.postgres import PostgresServer
from tests.support.privileges import privileges_page

PAGE = PROJECT_ROOT / "docs" / "reference" / "privileges.md"
HOW_TO_UPDATE = (
    "The privileges in the database differ from docs/reference/privileges.md. If the change is intended, and nobody gets more"
    " than needed, run `WRITE_PRIVILEGES=1 python -m pytest tests/integration/api/test_privileges.py`, look at the difference"
    " and commit it."
)
SETTINGS_OF_A_CONTEXT = "select app.export_context_settings()"
RESOLVED = ResolvedRequest({"mailmart.group_by": "day"}, {}, {}, None, include_time_series=False).to_json()
REQUEST_EXPORT = "select export_id from app.request_export(%s, 'campaign_performance', 'csv', %s, %s, 10, null)"
EXPORT_ID = f"exp_{7:024x}"


@pytest.fixture(scope="module")
def superuser(server: PostgresServer, warehouse_settings: Settings) -> Iterator[psycopg.Connection]:
    """A superuser's connection to the warehouse's database, after `mailmart migrate` and the statement that it asks for."""
    migrate(warehouse_settings)
    database = psycopg.conninfo.conninfo_to_dict(str(warehouse_settings.database_url))["dbname"]
    with psycopg.connect(make_conninfo(server.superuser, dbname=str(database)), autocommit=True) as connection:
        connection.execute(REVOKE_LARGE_OBJECTS.encode())
        yield connection


def test_every_privilege_is_listed(superuser: psycopg.Connection) -> None:
    found = privileges_page(superuser)
    if os.environ.get("WRITE_PRIVILEGES"):
        PAGE.write_text(found)
    listed = PAGE.read_text()
    changes = list(difflib.unified_diff(listed.splitlines(), found.splitlines(), lineterm="", n=0))
    assert not changes, "\n".join([HOW_TO_UPDATE, *changes])


@pytest.mark.parametrize(
    "statement",
    [
        "grant select on app.api_keys to mailmart_api",
        "grant select (key_hash) on app.api_keys to mailmart_api",
        "grant usage on schema raw to public",
        "grant execute on function app.recipient_hash(text) to mailmart_worker",
        "create function app.new() returns int language sql return 1; grant execute on function app.new to public",
        "grant mailmart_owner to mailmart_api",
        "alter role mailmart_api bypassrls",
        "alter default privileges for role mailmart_owner grant select on tables to mailmart_analyst",
        "grant execute on function lo_create(oid) to public",
        "grant temporary on database current to mailmart_api",
        "select lo_create(0)",
        "create policy more on core.fct_messages to mailmart_api using (true)",
    ],
)
def test_a_new_privilege_is_found(superuser: psycopg.Connection, statement: str) -> None:
    before = privileges_page(superuser)
    with superuser.transaction(force_rollback=True):
        statement = statement.replace("database current", f'database "{superuser.info.dbname}"')
        superuser.execute(statement.encode())
        assert privileges_page(superuser) != before


@pytest.mark.parametrize(
    "statement",
    [
        "select key_hash from app.api_keys",
        "update app.api_keys set last_used_at = now()",
        "select * from app.signing_secret",
        "select app.link_signature('exp_1/a.csv', 1)",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "create temporary table t ()",
        "select attempt_token from app.exports",
        "update app.exports set resolved = '{}'",
        "select failure_summary from app.batches",
        "select app.enqueue('exports', 'export', '{}')",
        "set role mailmart_owner_of_nothing",
    ],
)
@pytest.mark.usefixtures("superuser")
def test_the_api_cannot(warehouse_settings: Settings, statement: str) -> None:
    with connect(warehouse_settings, "mailmart_api") as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(statement.encode())
    assert refused.value.sqlstate in ("42501", "22023")


def test_the_settings_of_a_context_are_those_of_the_parameters(warehouse_settings: Settings) -> None:
    made = {f"mailmart.{name}" for name in ("range_start", "range_end", "group_by", "campaign_ids", "granularity")}
    made |= {
        f"mailmart.{name}" for name in ("campaign_id", "domain_id", "timezone", "metrics", "expected_shares", "campaign_status")
    }
    made |= {parameter.setting for parameter in PATH_PARAMETERS.values()}
    # a new parameter has a setting that the function has to allow, in a new migration
    assert set(PARAMETERS) == {
        *("timeRange", "time_range", "groupBy", "campaignId", "domainId", "timezone", "granularity", "campaign_ids", "metrics"),
        *("expected_shares", "status"),
        # what it adds to a response is no part of an export
        "compare_to",
    }
    with connect(warehouse_settings, "mailmart_owner") as connection:
        assert set((connection.execute(SETTINGS_OF_A_CONTEXT).fetchone() or ([],))[0]) == made


@pytest.mark.parametrize(
    "context",
    [
        {"role": "mailmart_owner"},
        {"ROLE": "mailmart_owner"},
        {"session_authorization": "postgres"},
        {"row_security": "off"},
        {"search_path": "public"},
        {"mailmart.workspace_id": "ws_other"},
        {"mailmart.Workspace_ID": "ws_other"},
        {"mailmart.as_of": "1"},
        {"mailmart.group_by = 'day'; set role mailmart_owner; --": "day"},
        {"mailmart.group_by": {"a": 1}},
        {"mailmart.group_by": None},
        {"": "x"},
    ],
)
def test_a_context_sets_nothing_else(warehouse_settings: Settings, context: dict[str, object]) -> None:
    with connect(warehouse_settings, "mailmart_api") as connection:
        connection.execute("select set_config('mailmart.workspace_id', %s, true)", (WORKSPACE,))
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="context"):
            connection.execute(REQUEST_EXPORT, (EXPORT_ID, Jsonb({}), Jsonb({**RESOLVED, "context": context})))


@pytest.mark.parametrize(
    ("export_id", "request_body", "resolved"),
    [
        ("exp_1", {}, RESOLVED),
        ("../../etc", {}, RESOLVED),
        ("", {}, RESOLVED),
        (f"{EXPORT_ID}\n", {}, RESOLVED),
        (EXPORT_ID, [], RESOLVED),
        (EXPORT_ID, {}, []),
        (EXPORT_ID, {}, {}),
        (EXPORT_ID, {}, {**RESOLVED, "params": None}),
        (EXPORT_ID, {}, {**RESOLVED, "campaign_ids": [1]}),
        (EXPORT_ID, {}, {**RESOLVED, "campaign_ids": {}}),
    ],
)
def test_a_malformed_export_is_refused(
    warehouse_settings: Settings, export_id: str, request_body: object, resolved: object
) -> None:
    with connect(warehouse_settings, "mailmart_api") as connection:
        connection.execute("select set_config('mailmart.workspace_id', %s, true)", (WORKSPACE,))
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            connection.execute(REQUEST_EXPORT, (export_id, Jsonb(request_body), Jsonb(resolved)))


def test_a_well_formed_export_is_accepted(warehouse_settings: Settings) -> None:
    with connect(warehouse_settings, "mailmart_api") as connection:
        connection.execute("select set_config('mailmart.workspace_id', %s, true)", (WORKSPACE,))
        for resolved in (RESOLVED, {**RESOLVED, "campaign_ids": ["cmp_1"], "include_time_series": True}):
            row = connection.execute(REQUEST_EXPORT, (EXPORT_ID, Jsonb({}), Jsonb(resolved))).fetchone()
            assert row == (EXPORT_ID,)
            connection.execute("savepoint before")
        connection.rollback()


@pytest.mark.parametrize("column", ["next_run_at", "updated_at", "webhook_disabled_at"])
@pytest.mark.parametrize("moment", ["infinity", "-infinity", "294276-01-01"])
def test_a_time_that_the_scheduler_cannot_read_is_refused(warehouse_settings: Settings, column: str, moment: str) -> None:
    with connect(warehouse_settings, "mailmart_api") as connection:
        connection.execute("select set_config('mailmart.workspace_id', %s, true)", (WORKSPACE,))
        connection.execute(
            "insert into app.reports (report_id, workspace_id, name, request, frequency, run_at, timezone, next_run_at)"
            " values ('rep_1', %s, 'a', '{}', 'daily', '08:00', 'UTC', '2100-01-01')",
            (WORKSPACE,),
        )
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(f"update app.reports set {column} = %s".encode(), (moment,))
        connection.rollback()


def test_migrate_says_what_a_superuser_has_to_revoke(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    migrate(settings)
    assert REVOKE_LARGE_OBJECTS in caplog.text
