"""What keeps a build from running: sessions in the way, options that lie, servers and logins that are set up otherwise."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from api.builds.status import batch_status
from api.db.connection import connect
from api.db.migrate import migrate
from api.db.session import check_server
from api.errors import SessionError
from api.settings import Settings
from tests.integration.builds.project import load_campaign
from tests.integration.builds.queries import builds
from tests.support.command import mailmart
from tests.support.dbt import run_dbt


def _login(settings: Settings) -> sql.Identifier:
    assert settings.database_url is not None
    return sql.Identifier(str(conninfo_to_dict(settings.database_url)["user"]))


@pytest.mark.parametrize(("option", "hint"), [("--empty", "Build without it"), ("--full-refresh", "recompute: true")])
def test_an_option_that_lies_is_refused(project: Settings, option: str, hint: str) -> None:
    refused = run_dbt(project, "run", option, check=False)
    assert refused.returncode != 0
    assert f"{option} is refused" in refused.stdout
    assert hint in refused.stdout
    assert builds(project) == []


def test_a_build_in_new_york_publishes(project: Settings) -> None:
    database = sql.Identifier(str(conninfo_to_dict(str(project.database_url))["dbname"]))
    load_campaign(project, "c")
    (project.project_root / "tests/dbt/is_utc.sql").write_text(
        "select 1 where timestamptz '2026-10-31 12:00:00+00' + interval '1 day' <> timestamptz '2026-11-01 12:00:00+00'"
        " or timestamptz '2026-10-31 23:00:00+00'::text <> '2026-10-31 23:00:00+00' or (interval '1 day')::text <> '1 day'"
        " or current_setting('extra_float_digits') <> '1' or current_setting('search_path') <> 'public, pg_temp'"
    )
    with connect(project, None, autocommit=True) as connection:
        for name, value in (
            ("timezone", "America/New_York"),
            ("datestyle", "German"),
            ("intervalstyle", "iso_8601"),
            ("extra_float_digits", "0"),
            ("search_path", "app"),
        ):
            connection.execute(
                sql.SQL("alter role {} in database {} set {} = {}").format(
                    _login(project), database, sql.Identifier(name), sql.Literal(value)
                )
            )
    run_dbt(project, "build")
    assert [status for _, status in builds(project)] == ["published"]
    # the other processes, too
    with connect(project, "mailmart_owner") as connection:
        shown = connection.execute("select current_setting('timezone'), current_setting('datestyle')").fetchone()
        assert shown == ("UTC", "ISO, MDY")


def test_a_login_of_read_only_transactions_is_refused_with_a_sentence(project: Settings) -> None:
    database = sql.Identifier(str(conninfo_to_dict(str(project.database_url))["dbname"]))
    with connect(project, None, autocommit=True) as connection:
        connection.execute(
            sql.SQL("alter role {} in database {} set default_transaction_read_only = on").format(_login(project), database)
        )
    refused = run_dbt(project, "build", check=False)
    assert "has default_transaction_read_only = on" in refused.stdout
    assert builds(project) == []


def test_a_view_in_use_is_locked_for_a_second_at_a_time(settings: Settings) -> None:
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("create view marts.in_use as select campaign_id from raw.campaigns")
        connection.execute("grant select on marts.in_use to mailmart_analyst")
    with connect(settings, "mailmart_owner") as analyst:
        analyst.execute("set application_name = 'a notebook'")
        analyst.execute("select * from marts.in_use").fetchall()
        with (
            connect(settings, "mailmart_owner") as build,
            pytest.raises(psycopg.errors.LockNotAvailable, match=r"marts.in_use cannot be replaced.*a notebook"),
        ):
            build.execute("select app.lock_view('marts.in_use', 0)")
        # too short to be in the way
        status = mailmart(settings, "batch", "status").output
        assert batch_status(settings).lock_holders == []
        assert "open transactions" not in status
    with connect(settings, "mailmart_owner") as build:
        build.execute("select app.lock_view('marts.in_use', 0)")


def test_the_status_names_an_open_transaction(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.builds.status.SECONDS_UNTIL_IN_THE_WAY", -1)
    with connect(settings, "mailmart_owner") as analyst:
        analyst.execute("set application_name = 'a notebook'")
        analyst.execute("select * from raw.campaigns").fetchall()
        output = mailmart(settings, "batch", "status").output
        pid = analyst.info.backend_pid
    assert f"pid {pid}, login" in output
    assert "application a notebook, idle in transaction" in output
    assert "raw.campaigns" in output
    assert f"select pg_terminate_backend({pid});" in output


def test_an_idle_transaction_of_a_person_ends(settings: Settings) -> None:
    # a copy has no settings of its database: migrated anew
    with connect(settings, None, autocommit=True) as connection:
        connection.execute("delete from _yoyo_migration where migration_id = '0023_locks_and_sessions'")
        connection.execute("drop function app.lock_view, app.describe_lock_holders, app.lock_holders")
    migrate(settings)
    with psycopg.connect(str(settings.database_url)) as person:
        assert person.execute("show idle_in_transaction_session_timeout").fetchone() == ("10min",)
    with connect(settings, "mailmart_worker") as ours:
        assert ours.execute("show idle_in_transaction_session_timeout").fetchone() == ("0",)


def test_an_old_server_is_refused_with_a_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(settings, None) as connection:
        monkeypatch.setattr("api.db.session.OLDEST_SERVER", 99)
        with pytest.raises(SessionError, match=r"mailmart needs PostgreSQL 99 to 18"):
            check_server(connection)
