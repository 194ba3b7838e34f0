"""Each odd value in each column of the app's tables: no build and no endpoint fails, and what is lost is counted by name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Json
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.auth.principal import SCOPES
from api.db.connection import connect
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
# times as PostgreSQL writes them: Python has no value for most of these
TIMES: tuple[str, ...] = (
    "infinity",
    "-infinity",
    "294276-12-31 23:59:59+00",
    "10000-01-01 00:00:00+00",
    "4714-11-24 00:00:00+00 BC",
    "0044-03-15 12:00:00+00 BC",
    "9999-12-31 23:59:59.999999+00",
    "0001-01-01 00:00:00+00",
)
TEXTS: tuple[str, ...] = (
    "",
    "   ",
    "\t\n",
    "\N{NO-BREAK SPACE}",
    " padded ",
    "\x01\x1f\x7f",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "x" * 1_000_000,
    "\N{PILE OF POO}" * 3000,
    "' or 1 = 1 --",
    "NaN",
)
ZONES = {
    "europe/berlin": "Europe/Berlin",
    " Europe/Berlin ": "Europe/Berlin",
    "utc": "UTC",
    "america/NEW_YORK\t": "America/New_York",
    "Mars/Base": None,
    "localtime": None,
    "posix/Europe/Berlin": None,
    "right/Europe/Berlin": None,
    "": None,
}
BLACKLISTS: dict[str, tuple[Any, bool, bool]] = {
    # value, is listed, is readable
    "text": ("listed", False, False),
    "list": (["spamhaus"], False, False),
    "number": (7, False, False),
    "json_null": (None, False, True),
    "verdict_text": ({"spamhaus": "true"}, False, False),
    "verdict_number": ({"spamhaus": 1e300}, False, False),
    "listed_text": ({"spamhaus": {"listed": "yes"}, "sorbs": True}, True, False),
    "deep": ({"spamhaus": {"listed": {"listed": True}}}, False, False),
    "without_listed": ({"spamhaus": {"checked": True}, "sorbs": None}, False, True),
    "listed": ({"spamhaus": {"listed": True}}, True, True),
}
COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "workspaces": {
        "tenant_id": TEXTS,
        "name": TEXTS,
        "timezone": (*TEXTS, *ZONES),
        "status": TEXTS,
        "created_at": TIMES,
        "updated_at": TIMES,
    },
    "campaigns": {"workspace_id": TEXTS, "name": TEXTS, "status": TEXTS, "created_at": TIMES, "updated_at": TIMES},
    "domains": {"workspace_id": TEXTS, "domain": TEXTS, "created_at": TIMES, "updated_at": TIMES},
    "mailboxes": {
        "workspace_id": TEXTS,
        "domain_id": TEXTS,
        "email": TEXTS,
        "provider": TEXTS,
        "status": TEXTS,
        "created_at": TIMES,
        "updated_at": TIMES,
    },
    "smtp_ip_addresses": {
        "ip_address": TEXTS,
        "status": TEXTS,
        "reputation_state": TEXTS,
        "last_reputation_check": TIMES,
        "updated_at": TIMES,
    },
    "domain_ip_assignments": {"status": TEXTS, "assigned_at": TIMES, "expires_at": TIMES},
}
IDS = {
    "workspaces": "workspace_id",
    "campaigns": "campaign_id",
    "domains": "domain_id",
    "mailboxes": "mailbox_id",
    "smtp_ip_addresses": "smtp_ip_address_id",
}


def _insert(connection: psycopg.Connection, table: str, **values: Any) -> None:
    connection.execute(
        sql.SQL("insert into raw.{} ({}) values ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        ),
        list(values.values()),
    )


@pytest.fixture(scope="module")
def built(empty_warehouse: Settings) -> Settings:
    with connect(empty_warehouse, "mailmart_owner") as connection:
        _insert(connection, "workspaces", workspace_id="w", timezone="Europe/Berlin")
        _insert(connection, "campaigns", campaign_id="c", workspace_id="w", status=" Sending")
        _insert(connection, "domains", domain_id="d", workspace_id="w")
        _insert(connection, "mailboxes", mailbox_id="m", workspace_id="w", domain_id="d")
        for table, columns in COLUMNS.items():
            for column, values in columns.items():
                for number, value in enumerate(values):
                    _insert(connection, table, **_row(table, f"{column}_{number}", column, value))
        for table, key in IDS.items():
            for value in TEXTS:
                if value != "x" * 1_000_000:
                    _insert(connection, table, **{key: value})
        # two rows that differ only by blanks, and ids that lead nowhere
        _insert(connection, "campaigns", campaign_id="twin", workspace_id="w", status="draft")
        _insert(connection, "campaigns", campaign_id="twin ", workspace_id="w", status="draft")
        _insert(connection, "domain_ip_assignments", domain_id="nowhere", smtp_ip_address_id="nowhere", status="active")
        _insert(connection, "domain_ip_assignments", domain_id="d", smtp_ip_address_id="nowhere", status="active")
        _insert(connection, "mailboxes", mailbox_id="lost", workspace_id="w", domain_id="nowhere")
        for name, (value, _, _) in BLACKLISTS.items():
            _insert(connection, "smtp_ip_addresses", smtp_ip_address_id=name, provider_blacklist_status=Json(value))
            _insert(connection, "domain_ip_assignments", domain_id="d", smtp_ip_address_id=name, status="Active ")
        for name in ("infinity", "-infinity", "294276-12-31 23:59:59+00", "0044-03-15 12:00:00+00 BC"):
            _insert(connection, "smtp_ip_addresses", smtp_ip_address_id=f"until {name}")
            _insert(
                connection,
                "domain_ip_assignments",
                domain_id="d",
                smtp_ip_address_id=f"until {name}",
                status="active",
                expires_at=name,
            )
        # events of times that no answer can show
        for number, moment in enumerate(TIMES):
            connection.execute(
                "insert into raw.email_events"
                " (event_id, workspace_id, message_id, event_type, campaign_id, occurred_at, loaded_at)"
                " values (%s, 'w', 'm', 'clicked', 'c', %s, '294276-12-31 23:59:59+00')",
                (f"odd_{number}", moment),
            )
    load_events(
        empty_warehouse,
        [Event(kind, "w", "m", kind, YESTERDAY, campaign_id="c", mailbox_id="m") for kind in ("sent", "delivered")]
        + [Event("blank", "w", "n", "sent", YESTERDAY, campaign_id="  ", mailbox_id=" ", domain_id="\t")],
        datetime.now(UTC),
    )
    run_dbt(empty_warehouse, *WITHOUT_UNIT_TESTS)
    return empty_warehouse


def _row(table: str, row_id: str, column: str, value: str) -> dict[str, Any]:
    row: dict[str, Any] = {"domain_id": "d"} if table == "domain_ip_assignments" else {}
    row |= {IDS.get(table, "smtp_ip_address_id"): f"{table}.{row_id}"}
    if table in ("campaigns", "domains", "mailboxes"):
        row |= {"workspace_id": "w"}
    return row | {column: value}


@pytest.fixture(scope="module")
def service(built: Settings) -> Iterator[WsgiApp]:
    app = WsgiApp(built)
    yield app
    app.close()


def rows(settings: Settings, query: LiteralString) -> list[dict[str, Any]]:
    with connect(settings, "mailmart_analyst") as connection:
        return connection.cursor(row_factory=dict_row).execute(query).fetchall()


@pytest.mark.parametrize(
    "path",
    [
        "analytics/overview",
        "analytics/deliverability",
        "analytics/deliverability?domainId=d",
        "analytics/engagement-heatmap",
        "analytics/engagement-heatmap?granularity=hour",
        "analytics/data-quality",
        "analytics/freshness",
        "campaigns/c/analytics",
        "campaigns/twin/analytics",
    ],
)
def test_every_endpoint_answers(service: WsgiApp, built: Settings, path: str) -> None:
    key = create_key(built, "w", name=path[:40], scopes=SCOPES)
    response = Client(service).get(f"/api/v1/workspaces/w/{path}", headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200, response.text


def test_every_column_of_core_and_every_mart_can_be_read(built: Settings) -> None:
    with connect(built, "mailmart_analyst") as connection:
        relations = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in ('core', 'marts')"
        ).fetchall()
        assert len(relations) > 20
        for schema, name in relations:
            if name != "fct_rejected_events":
                connection.execute(sql.SQL("select * from {}.{}").format(sql.Identifier(schema), sql.Identifier(name))).fetchall()


def test_what_is_lost_is_counted_by_name(built: Settings) -> None:
    found = rows(
        built, "select problem, provider, events from marts.data_quality where workspace_id = 'w' and provider like 'app.%'"
    )
    counts = {(row["provider"], row["problem"]): row["events"] for row in found}
    lost_times = len(TIMES) - 2
    assert counts["app.campaigns", "invalid_time"] == 2 * lost_times
    assert counts["app.domains", "invalid_time"] == 2 * lost_times
    assert counts["app.mailboxes", "invalid_time"] == 2 * lost_times
    # an assignment until infinity is an ordinary one that does not end; three of the others are in the rows by hand
    assert counts["app.domain_ip_assignments", "invalid_time"] == 2 * lost_times - 1 + 3
    assert counts["app.campaigns", "padded_id"] == 1
    assert counts["app.mailboxes", "unknown_domain"] >= 1
    assert counts["app.domain_ip_assignments", "unknown_ip_address"] >= 1
    assert counts["app.smtp_ip_addresses", "invalid_blacklist_status"] == sum(
        not readable for _, _, readable in BLACKLISTS.values()
    )
    # TEXTS that are left when they are cleaned, and are no status
    assert counts["app.campaigns", "unknown_status"] == 6
    elsewhere = rows(built, "select problem, provider, events from marts.data_quality where workspace_id = ''")
    others = {(row["provider"], row["problem"]): row["events"] for row in elsewhere}
    # blank: five of TEXTS
    assert others["app.workspaces", "no_id"] == 5
    assert others["app.campaigns", "no_id"] == 5
    assert others["app.campaigns", "no_workspace"] >= 5
    assert others["app.domain_ip_assignments", "unknown_domain"] == 1


def test_zones_are_found_whatever_their_case(built: Settings) -> None:
    first = len(TEXTS)
    found = rows(built, "select workspace_id, timezone from core.dim_workspaces")
    zones = {row["workspace_id"]: row["timezone"] for row in found}
    for number, expected in enumerate(ZONES.values()):
        assert zones[f"workspaces.timezone_{first + number}"] == (expected or "UTC")
    reported = rows(built, "select workspace_id from core.dim_app_problems where problem = 'unknown_timezone'")
    unknown = {f"workspaces.timezone_{first + number}" for number, zone in enumerate(ZONES.values()) if zone is None}
    assert unknown <= {row["workspace_id"] for row in reported}


def test_blank_ids_count_nowhere(built: Settings) -> None:
    for table, key in IDS.items():
        if table != "smtp_ip_addresses":
            ids = [row["id"] for row in rows(built, f"select {key} as id from core.dim_{table}")]
            assert [blank for blank in ids if not blank.strip()] == []
    found = rows(built, "select campaign_id, campaign_status from core.dim_campaigns where campaign_id in ('c', 'twin', 'twin ')")
    statuses = {row["campaign_id"]: row["campaign_status"] for row in found}
    assert statuses == {"c": "sending", "twin": "draft", "twin ": "draft"}


def test_blacklists_and_expiry_mean_what_they_say(built: Settings) -> None:
    found = rows(built, "select smtp_ip_address_id, is_active, is_blacklisted from core.dim_ip_assignments")
    by_id = {row["smtp_ip_address_id"]: row for row in found}
    for name, (_, is_listed, _) in BLACKLISTS.items():
        assert (by_id[name]["is_active"], by_id[name]["is_blacklisted"]) == (True, is_listed), name
    assert by_id["until infinity"]["is_active"]
    assert not by_id["until -infinity"]["is_active"]
    assert by_id["until 294276-12-31 23:59:59+00"]["is_active"]
    assert not by_id["until 0044-03-15 12:00:00+00 BC"]["is_active"]


def test_events_of_impossible_times_are_rejected(built: Settings) -> None:
    found = rows(
        built, "select problem, events from marts.data_quality where workspace_id = 'w' and provider = 'native' order by problem"
    )
    # year 9999 is less than a day later than loaded
    assert {row["problem"]: row["events"] for row in found} == {"future_timestamp": 3, "no_time": 5}
    clicked = rows(built, "select emails_clicked from marts.campaign_performance where campaign_id = 'c'")
    assert clicked == [{"emails_clicked": 0}]
