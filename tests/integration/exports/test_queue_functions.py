"""The database functions of the job queue: which ones know procrastinate, and who may call them."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from api.db.connection import connect
from api.settings import Settings

FUNCTIONS = {"cancel_job", "count_jobs", "count_live_workers", "enqueue", "erase_jobs", "job_exists"}


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection]:
    with connect(settings, "mailmart_worker") as connection:
        yield connection


def test_only_these_functions_name_procrastinates_tables_and_functions(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "select proname from pg_proc"
        " where pronamespace = 'app'::regnamespace and prokind = 'f' and pg_get_functiondef(oid) like '%procrastinate\\_%'"
    ).fetchall()
    assert {name for (name,) in rows} == FUNCTIONS


def test_every_security_definer_has_a_pinned_search_path_and_belongs_to_the_owner(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "select oid::regprocedure::text, proconfig, proowner::regrole::text from pg_proc"
        " where prosecdef and pronamespace <> 'pg_catalog'::regnamespace"
    ).fetchall()
    assert len(rows) > 15
    for name, config, owner in rows:
        assert owner == "mailmart_owner", name
        (search_path,) = [setting for setting in config or () if setting.startswith("search_path=")]
        # pg_temp last: it would come first if it were not named
        assert search_path.endswith(", pg_temp"), name
        assert "public" not in search_path, name


@pytest.mark.parametrize(
    ("signature", "api", "worker"),
    [
        ("app.enqueue(text, text, jsonb, integer, timestamptz)", False, True),
        ("app.cancel_job(bigint)", False, False),
        ("app.job_exists(bigint)", False, True),
        ("app.count_live_workers()", True, False),
        ("app.estimate_export_seconds(text, text, bigint)", False, False),
        ("app.request_export(text, text, text, jsonb, jsonb, bigint, text)", True, True),
        ("app.cancel_or_remove_export(text, text)", True, False),
        ("app.find_export_file(text, text, bigint, text)", True, False),
        ("app.defer_delivery(text, text, text, double precision)", False, True),
    ],
)
def test_grants(connection: psycopg.Connection, signature: str, api: bool, worker: bool) -> None:
    for role, expected in (("mailmart_api", api), ("mailmart_worker", worker), ("public", False)):
        row = connection.execute("select has_function_privilege(%s, %s, 'execute')", (role, signature)).fetchone()
        assert row == (expected,), role


def test_a_job_is_enqueued_and_canceled(settings: Settings) -> None:
    with connect(settings, "mailmart_owner") as connection:
        (job_id,) = connection.execute(
            """select app.enqueue('exports', 'export', '{"export_id": "exp_1"}', -3)"""
        ).fetchone() or (None,)
        exists = "select app.job_exists(%s)"
        assert connection.execute(exists, (job_id,)).fetchone() == (True,)
        job = connection.execute(
            "select queue_name, task_name, args, priority, scheduled_at, status::text from procrastinate.procrastinate_jobs"
            " where id = %s",
            (job_id,),
        ).fetchone()
        assert job == ("exports", "export", {"export_id": "exp_1"}, -3, None, "todo")
        connection.execute("select app.cancel_job(%s)", (job_id,))
        assert connection.execute(exists, (job_id,)).fetchone() == (False,)
        assert connection.execute("select app.job_exists(null)").fetchone() == (False,)
