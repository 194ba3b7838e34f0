"""What keeps a build from running: sessions in the way, options that lie, servers and logins that are set up otherwise."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from api.builds.slow_payloads import needs_search
from api.builds.status import batch_status
from api.db.advisory_lock import AdvisoryLock
from api.db.connection import connect
from api.db.migrate import MIGRATIONS, migrate
from api.db.session import check_server
from api.errors import MailmartError, SessionError
from api.settings import Settings
from tests.integration.builds.project import load_campaign
from tests.integration.builds.queries import builds
from tests.support.command import mailmart
from tests.support.dbt import run_dbt
from tests.support.waiting import wait_until


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


def test_the_status_names_who_holds_an_advisory_lock(settings: Settings) -> None:
    assert "advisory locks" not in mailmart(settings, "batch", "status").output
    names = ("mailmart.nightly.production", "mailmart.scheduler.production", "mailmart.retention.production", "mailmart.migrate")
    with connect(settings, "mailmart_owner", autocommit=True) as stranger, AdvisoryLock(settings, names[0]) as lock:
        stranger.execute("set application_name = 'a notebook'")
        # not one of mailmart's
        stranger.execute("select pg_advisory_lock(1), pg_advisory_lock(1, 1)")
        for name in names:
            stranger.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
        stranger.execute("select pg_advisory_lock(hashtext('mailmart.batches'), hashtext('production'))")
        assert not lock.acquire()
        output = mailmart(settings, "batch", "status").output
        refused = mailmart(settings, "batch", "run").output
        pid, login = stranger.info.backend_pid, stranger.info.user
    held = [line.strip() for line in output.splitlines() if "mailmart." in line and "pid" in line]
    who = f"pid {pid}, login {login}, application a notebook"
    assert held == [f"{name}: {who}" for name in sorted([*names, "mailmart.batches.production"])]
    assert "mailmart batch status" in refused


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


def test_the_status_says_what_a_build_does_and_not_to_end_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.builds.status.SECONDS_UNTIL_IN_THE_WAY", -1)
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        connection.execute("select app.begin_batch('production', 'an invocation', 'build', 'same')")
        assert "nothing is published yet: batch 1 began at " in mailmart(settings, "batch", "status").output
    comment = '/* {"app": "dbt", "invocation_id": "an invocation", "node_id": "model.mailmart.fct_messages"} */'

    def run_a_model() -> None:
        with connect(settings, "mailmart_owner") as build:
            build.execute(f"{comment} select count(*), pg_sleep(60) from raw.campaigns".encode())

    with ThreadPoolExecutor() as pool, connect(settings, None, autocommit=True) as other:
        running = pool.submit(run_a_model)
        wait_until(lambda: "fct_messages" in mailmart(settings, "batch", "status").output, "the build is seen", 30)
        output = mailmart(settings, "batch", "status").output
        other.execute("select pg_cancel_backend(pid) from pg_stat_activity where query like %s", (f"{comment}%",))
        with pytest.raises(psycopg.errors.QueryCanceled):
            running.result()
    assert "nothing is published yet: batch 1 is building since " in output
    assert " s, fct_messages\n" in output
    assert "pg_terminate_backend" not in output


@pytest.mark.parametrize(
    ("summary", "is_searched"),
    [
        ("fct_email_events: invalid regular expression", True),
        ("fct_email_events: canceling statement due to statement timeout", True),
        ('fct_email_events: could not extend file "base/5/7": No space left on device HINT: Check free disk space.', False),
        ("fct_rejected_events: canceling statement due to lock timeout", False),
        ("fct_messages: invalid regular expression", False),
        ("fct_email_events: No space left on device\nfct_rejected_events: division by zero", True),
    ],
)
def test_a_body_is_looked_for_only_if_one_can_be_why_a_build_failed(
    module_settings: Settings, summary: str, is_searched: bool
) -> None:
    with connect(module_settings, "mailmart_owner", autocommit=True) as connection:
        connection.execute(
            "insert into app.batches (target, invocation_id, command, status, ended_at, failure_summary)"
            " values ('production', gen_random_uuid(), 'build', 'failed', now(), %s)",
            (summary,),
        )
        assert needs_search(connection, "production") is is_searched


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


def test_a_migration_that_waits_for_another_names_its_session(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with connect(settings, None) as other, ThreadPoolExecutor(1) as migrating:
        other.execute("set application_name = 'a notebook'")
        other.execute("select pg_advisory_lock(hashtextextended('mailmart.migrate', 0))")
        waiting = migrating.submit(migrate, settings)
        pid = other.info.backend_pid
        wait_until(lambda: "waiting for the lock of another migration" in caplog.text, "the migration says that it waits")
        assert f"mailmart.migrate: pid {pid}, login " in caplog.text
        assert not waiting.done()
        other.close()
        assert waiting.result(timeout=60) == []


def test_a_migration_waits_a_second_at_a_time_and_lets_readers_pass(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    (migrations / "9999_waits.sql").write_text("alter table raw.campaigns add column waits text;\n")
    monkeypatch.setattr("api.db.migrate.MIGRATIONS", migrations)
    with (
        connect(settings, "mailmart_owner") as analyst,
        connect(settings, "mailmart_owner", autocommit=True) as reader,
        ThreadPoolExecutor(1) as migrating,
    ):
        analyst.execute("set application_name = 'a notebook'")
        analyst.execute("select * from raw.campaigns").fetchall()
        pid = analyst.info.backend_pid
        # at the end of its time it says who is in the way
        monkeypatch.setattr("api.db.migrate.MAX_SECONDS_IN_USE", 0)
        with pytest.raises(MailmartError, match=rf"in use for 0 s.*pid {pid} \(login .*, application a notebook\)"):
            migrate(settings)

        monkeypatch.setattr("api.db.migrate.MAX_SECONDS_IN_USE", 300)
        applied = migrating.submit(migrate, settings)
        waiting: set[int] = set()

        def has_tried_twice() -> bool:
            waiting.update(
                row[0]
                for row in reader.execute(
                    "select pid from pg_locks where relation = 'raw.campaigns'::regclass and not granted"
                ).fetchall()
            )
            return len(waiting) >= 2

        # each try has a connection of its own
        wait_until(has_tried_twice, "the migration tries again", 60)
        # a reader that comes later than the migration is served, after a second at most
        reader.execute("set lock_timeout = '30s'")
        reader.execute("select count(*) from raw.campaigns").fetchone()
        assert not applied.done()
        analyst.rollback()
        assert applied.result(60) == ["9999_waits"]
    with connect(settings, "mailmart_owner") as connection:
        assert connection.execute("select waits from raw.campaigns").fetchall() == []


def test_a_build_passes_beside_an_analysts_open_transaction(project: Settings) -> None:
    load_campaign(project, "c")
    run_dbt(project, "build")
    with connect(project, "mailmart_analyst") as analyst:
        query = "select campaigns from core.second where valid_to = 9223372036854775807"
        assert analyst.execute("select pg_backend_pid()").fetchone() is not None
        assert analyst.execute(query).fetchall() == [(1,)]
        load_campaign(project, "d")
        run_dbt(project, "build", "--vars", "lock_timeout: 5s")
        # it sees the new rows in the same transaction
        assert analyst.execute(query).fetchall() == [(2,)]
    assert [status for _, status in builds(project)] == ["published", "published"]


def test_a_build_that_waits_for_a_lock_in_vain_says_who_holds_it(project: Settings) -> None:
    load_campaign(project, "c")
    run_dbt(project, "build")
    load_campaign(project, "d")
    with connect(project, "mailmart_owner") as person:
        person.execute("set application_name = 'a notebook'")
        person.execute("lock table core.second in exclusive mode")
        output = run_dbt(project, "build", "--vars", "lock_timeout: 1s", check=False).stdout
        pid = person.info.backend_pid
    assert "second waited 1s for a lock. In the way: " in output
    assert f"pid {pid} (login" in output
    assert "application a notebook) has locked core.second since 2" in output
    assert "pg_terminate_backend" in output
    assert [status for _, status in builds(project)] == ["published", "failed"]


def test_an_old_server_is_refused_with_a_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(settings, None) as connection:
        monkeypatch.setattr("api.db.session.OLDEST_SERVER", 99)
        with pytest.raises(SessionError, match=r"mailmart needs PostgreSQL 99 to 18"):
            check_server(connection)
