"""A database of release 0.1.0 is migrated with its data, and serves the same before and after the next build."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.auth.principal import SCOPES
from api.db.connection import connect, conninfo
from api.db.migrate import migrate
from api.server.app import WsgiApp
from api.settings import Settings
from tests.support.command import mailmart
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt

# pg_dump --inserts of a database of release 0.1.0: two publications, a developer's warehouse, a key, an export, a report
DUMP = Path(__file__).with_name("release_0_1_0.sql.gz")
WORKSPACE = "ws_demo_1"
WINDOW = {"timeRange": "custom", "startDate": "2026-08-28", "endDate": "2026-11-26"}
# responses of release 0.1.0
SUMMARY = {
    "total_campaigns": 2,
    "active_campaigns": 2,
    "emails_sent": 106,
    "emails_delivered": 103,
    "emails_opened": 34,
    "emails_clicked": 7,
    "emails_replied": 3,
}
EXPORT = {
    "export_id": "exp_4b28dcf2a8a335e7ea541360",
    "status": "completed",
    "row_count": 106,
    "sha256": "73fd7ec72606bfb060572b05151f8c03a3c3d4d7f3581550baf40c4b5148bb9d",
}


@pytest.fixture(scope="module")
def restored(empty_database: Callable[[], Settings], template: str) -> Settings:
    """The restored database, not migrated. (`template` creates the roles, which belong to the server.)"""
    settings = empty_database()
    assert settings.database_url is not None
    login = str(conninfo_to_dict(settings.database_url)["user"])
    dump = gzip.decompress(DUMP.read_bytes()).decode().replace("OWNER TO mailmart;", f"OWNER TO {login};")
    with psycopg.connect(conninfo(settings, None), autocommit=True) as connection:
        connection.execute(sql.SQL(dump))
    return settings


@pytest.fixture(scope="module")
def upgraded(restored: Settings) -> Settings:
    """The restored database after `mailmart migrate`; before that, a build is refused."""
    refused = run_dbt(restored, *WITHOUT_UNIT_TESTS, check=False)
    assert refused.returncode != 0
    assert "The database is not migrated to this release: run `mailmart migrate`, then build again." in refused.stdout
    assert "START" not in refused.stdout
    migrate(restored)
    return restored


@pytest.fixture(scope="module")
def service(upgraded: Settings) -> Iterator[WsgiApp]:
    service = WsgiApp(upgraded)
    yield service
    service.close()


def test_mailmart_build_refuses_a_database_without_migrations(empty_database: Callable[[], Settings]) -> None:
    refused = mailmart(empty_database(), "build")
    assert refused.exit_code == 1
    assert "the database is not migrated to this release" in refused.output
    assert "mailmart migrate" in refused.output


def test_migrations_print_nothing(empty_database: Callable[[], Settings], capfd: pytest.CaptureFixture[str]) -> None:
    # yoyo prints the result of a select on the terminal
    migrate(empty_database())
    assert capfd.readouterr().out == ""


def test_responses_are_the_same_after_the_migration(service: WsgiApp, upgraded: Settings) -> None:
    key = create_key(upgraded, WORKSPACE, name="tests", scopes=SCOPES)
    assert _get(service, key, "analytics/overview", **WINDOW)["summary"] == SUMMARY
    assert _problems(service, key) == PROBLEMS
    export = _get(service, key, f"analytics/exports/{EXPORT['export_id']}")
    assert {name: export[name] for name in EXPORT} == EXPORT
    (report,) = _get(service, key, "analytics/reports")["reports"]
    assert report["name"] == "weekly"


def test_the_next_build_writes_only_new_facts(service: WsgiApp, upgraded: Settings) -> None:
    output = run_dbt(upgraded, *WITHOUT_UNIT_TESTS).stdout
    with connect(upgraded, "mailmart_owner") as connection:
        written = connection.execute(
            "select model, rows_expired from app.model_runs"
            " where target = 'production' and batch_id = (select max(batch_id) from app.batches where target = 'production')"
            " and rows_inserted + rows_expired > 0"
        ).fetchall()
        # which the release did not have
        assert sorted(written) == [
            ("dim_published_limits", 0),
            ("dim_recipient_providers", 0),
            ("fct_delay_days", 0),
            ("fct_event_day_shifts", 0),
            ("fct_event_days", 0),
            ("fct_mailbox_days", 0),
            ("fct_mailbox_health_days", 0),
            ("fct_mailbox_slots", 0),
            ("fct_outcome_slots", 0),
            ("fct_provider_days", 0),
            ("fct_provider_delays", 0),
            ("fct_recipient_domain_days", 0),
            ("fct_step_days", 0),
            ("fct_workspace_days", 0),
            ("fct_workspace_delays", 0),
            ("fct_workspace_health_days", 0),
            ("fct_workspace_hours", 0),
            ("fct_workspace_provider_days", 0),
            ("fct_workspace_slots", 0),
        ]
        # queries read the slots of all campaigns by time; of one campaign, they are read by the other index
        assert connection.execute(
            "select array_agg(substring(indexdef from '\\(.*') order by indexdef) from pg_indexes"
            " where schemaname = 'core' and tablename = 'fct_send_slots' and indexdef !~ ' WHERE '"
        ).fetchone() == (["(workspace_id, campaign_id, slot_at)", "(workspace_id, slot_at)"],)
        # columns that core got since then are there, and empty until a backfill finds a value
        assert connection.execute(
            "select count(*) > 0, count(sequence_id) + count(step) + count(variant) + count(tags) from core.fct_messages"
        ).fetchone() == (True, 0)
        # no table of the old release is left
        assert connection.execute("select to_regclass('core.fct_set_aside_events')").fetchone() == (None,)
    key = create_key(upgraded, WORKSPACE, name="tests", scopes=SCOPES)
    overview = _get(service, key, "analytics/overview", **WINDOW)
    assert overview["summary"] == SUMMARY
    assert _problems(service, key) == PROBLEMS
    # a new measure is unknown in old rows, and not 0, until a backfill; the build says so
    assert overview["engagement_by_human"]["coverage"] is None
    assert "classified_opens_and_clicks of fct_campaign_days has no value in old rows. Backfill: mailmart build" in output
    assert "Mail that was built before this release does not have: links, mailbox providers of recipients" in output


def test_a_developers_warehouse_is_migrated(upgraded: Settings) -> None:
    with connect(upgraded, "mailmart_owner") as connection:
        assert connection.execute("select count(*) > 0 from dev_core.fct_rejected_events").fetchone() == (True,)


PROBLEMS = {"future_timestamp": 1, "no_event_id": 1, "conflicting_duplicate": 1, "unknown_event_type": 1}


def _problems(service: WsgiApp, key: str) -> dict[str, int]:
    return {problem["problem"]: problem["events"] for problem in _get(service, key, "analytics/data-quality")["problems"]}


def _get(service: WsgiApp, key: str, path: str, **query: str) -> Any:
    response = Client(service).get(
        f"/api/v1/workspaces/{WORKSPACE}/{path}", query_string=query, headers={"Authorization": f"Bearer {key}"}
    )
    assert response.status_code == 200, response.text
    return response.get_json()["data"]
