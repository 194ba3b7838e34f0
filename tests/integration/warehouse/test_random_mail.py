"""Random mail, loaded and built in runs: each build, one from nothing, and every section of every response equal plain Python.

Two ids of one message, whose rules are a reference of its own, go through the same runs.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import pytest
from psycopg import Connection, sql
from psycopg.rows import dict_row
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.citus_queries import begin_reading, is_distributed
from api.db.connection import connect
from api.db.request_context import WORKSPACE_ID
from api.server.app import WsgiApp
from api.settings import PROJECT_ROOT, Settings
from tests.integration.warehouse import current_rows, reference, reference_query, second_ids
from tests.integration.warehouse.events import (
    CHANGING_ZONES,
    ZONES,
    App,
    Event,
    random_app,
    random_events,
    start_before_clock_change,
)
from tests.integration.warehouse.loading import load_app, load_events
from tests.integration.warehouse.random_queries import QueryCaller, publish_unfinished_build, random_query
from tests.integration.warehouse.reference import Message
from tests.integration.warehouse.reference_marts import MARTS, RATES, Request, Row
from tests.integration.warehouse.second_ids import MailEvent
from tests.support.dbt import ROWS, WITHOUT_TESTS, run_dbt

pytestmark = pytest.mark.timeout(900)

RUNS = int(os.environ.get("MAILMART_TEST_RUNS", "3"))
REQUESTS = int(os.environ.get("MAILMART_TEST_REQUESTS", "4"))
MIN_ROWS_COMPARED = int(os.environ.get("MAILMART_TEST_ROWS", "12000"))
# whose responses are compared; they have rows in the app's tables, and some have much mail
APPS = 30
# with little mail, and many accidents in it
WORKSPACES = 60
# their mail has webhooks of SendGrid, whose messages have two ids
MAIL_WORKSPACES = tuple(f"two ids {number}" for number in range(30))
# marts whose rows have no defined order
UNORDERED = (
    *("campaign_performance", "unknown_campaigns", "messages"),
    *("campaign_list", "campaign_order", "mailbox_list", "domain_list", "mailbox_health", "link_list"),
    *("campaign_previous_period", "campaign_change"),
    *("campaign_link_totals", "campaign_links"),
)
# an id that does not exist
NOBODY = "nobody"
# about builds, sources and events, not about mail
NOT_OF_MAIL = {"freshness", "data_quality", "left_out", "mail_sources", "received_events", "received_rejections"}

Arriving = TypeVar("Arriving", Event, MailEvent)


class Batch(NamedTuple):
    """A build, and the messages that are visible as of it."""

    batch_id: int
    messages: dict[tuple[str, str], Message]


@dataclass(frozen=True)
class History:
    """A warehouse after RUNS builds, what was loaded into it, and what differed from plain Python after each build."""

    settings: Settings
    seed: int
    now: datetime
    apps: dict[str, App]
    # of the workspaces with apps
    zones: dict[str, str]
    first_days: dict[str, date]
    loaded: list[Event]
    mail_loaded: list[MailEvent]
    batches: list[Batch]
    differences: list[list[str]]
    # the current rows of core
    rows: dict[str, list[tuple[Any, ...]]]

    @property
    def chance(self) -> random.Random:
        """Random choices that do not depend on those of the mail."""
        return random.Random(self.seed + 1)


@pytest.fixture(scope="module")
def history(empty_warehouse: Settings, seed: int) -> History:
    chance = random.Random(seed)
    now = datetime.now(UTC)
    start = (now - timedelta(days=20)).replace(hour=0, minute=0, second=0, microsecond=0)
    apps = {f"a{number}": random_app(chance, f"a{number}", now) for number in range(APPS)}
    load_app(empty_warehouse, apps.values())
    zones = {workspace: chance.choice(CHANGING_ZONES) for workspace in apps}
    waiting = {workspace: _random_mail(chance, workspace, zones[workspace], now) for workspace in apps}
    first_days = {
        workspace: min((event.occurred_at for event in events if event.occurred_at), default=now).date()
        for workspace, events in waiting.items()
    }
    waiting |= {f"w{number}": random_events(chance, f"w{number}", chance.randint(1, 12), start) for number in range(WORKSPACES)}
    mail_waiting = {workspace: second_ids.random_mail(chance, workspace, start) for workspace in MAIL_WORKSPACES}
    loaded: list[Event] = []
    mail_loaded: list[MailEvent] = []
    batches: list[Batch] = []
    differences: list[list[str]] = []
    for run in range(RUNS):
        is_last = run == RUNS - 1
        # loaded an hour apart
        loaded_at = now - timedelta(hours=RUNS - run)
        arriving = _take(chance, waiting, is_last=is_last)
        load_events(empty_warehouse, arriving, loaded_at)
        loaded += arriving
        mail_arriving = _take(chance, mail_waiting, at_most=2, is_last=is_last)
        second_ids.load_mail(empty_warehouse, mail_arriving, loaded_at)
        mail_loaded += mail_arriving
        run_dbt(empty_warehouse, *ROWS)
        batches.append(Batch(_last_batch(empty_warehouse), reference.messages(loaded, now)))
        differences.append(
            current_rows.differences(empty_warehouse, loaded, now, MAIL_WORKSPACES)
            + [
                workspace
                for workspace in MAIL_WORKSPACES
                if second_ids.messages_found(empty_warehouse, workspace) != second_ids.messages(mail_loaded, workspace)
            ]
        )
    rows = current_rows.everything(empty_warehouse)
    publish_unfinished_build(empty_warehouse)
    return History(empty_warehouse, seed, now, apps, zones, first_days, loaded, mail_loaded, batches, differences, rows)


def _take(
    chance: random.Random, waiting: dict[str, list[Arriving]], *, is_last: bool, at_most: int | None = None
) -> list[Arriving]:
    """Removes a random number of the first ones of each list, in the last run all of them, and returns them."""
    taken: list[Arriving] = []
    for items in waiting.values():
        number = len(items) if is_last else chance.randint(0, min(len(items), at_most or len(items)))
        taken += items[:number]
        del items[:number]
    return taken


def test_each_incremental_build_equals_plain_python(history: History) -> None:
    assert history.differences == [[]] * RUNS, f"seed {history.seed}"


def test_every_mart_for_random_requests(history: History) -> None:
    settings, chance = history.settings, history.chance
    latest = history.batches[-1]
    undelivered = Counter(
        (message.workspace_id, "engagement_without_delivery")
        for message in latest.messages.values()
        if message.is_engaged_undelivered
    )
    _compare_data_quality(settings, reference.rejected(history.loaded, history.now) + undelivered, history.apps, history.seed)
    # a connection of the API reads for many tenants, too, with plans that are kept
    with connect(settings, "mailmart_api") as connection:
        for workspace, app in history.apps.items():
            for _ in range(REQUESTS):
                # mostly the current rows, sometimes those of an earlier batch
                batch = chance.choice((*history.batches, latest, latest, latest))
                of_workspace = [message for message in batch.messages.values() if message.workspace_id == workspace]
                first_day, zone = history.first_days[workspace], history.zones[workspace]
                request = _random_request(chance, workspace, of_workspace, app, first_day, history.now.date(), zone)
                _compare(connection, request, batch.batch_id, of_workspace, app, history.now, history.seed)


def test_random_queries(history: History) -> None:
    """POST /analytics/query as the API answers it: rows, their order, intervals, totals and comparisons."""
    settings, chance = history.settings, history.chance
    latest = history.batches[-1]
    events = reference.first_copies(history.loaded, history.now).values()
    service = WsgiApp(settings)
    rows_compared = 0
    try:
        callers = {
            workspace: QueryCaller(Client(service), workspace, create_key(settings, workspace, name="queries"))
            for workspace in history.apps
        }
        counted = {workspace: _counted(workspace, app, latest, events) for workspace, app in history.apps.items()}
        while rows_compared < MIN_ROWS_COMPARED:
            for workspace, caller in callers.items():
                of_basis = counted[workspace]
                counted_as, body = random_query(
                    chance, of_basis, history.first_days[workspace], history.now.date(), history.zones[workspace]
                )
                first, last = date.fromisoformat(body["start_date"]), date.fromisoformat(body["end_date"])
                rows, totals = reference_query.answer(body, of_basis[counted_as], first, last)
                found_rows, found_totals = caller.all_pages(body)
                where = f"seed {history.seed}: {workspace} {json.dumps(body)}"
                assert found_rows == reference_query.as_json(rows), where
                assert found_totals == reference_query.as_json(totals), where
                rows_compared += len(rows) + 1
    finally:
        service.close()
    print(f"seed {history.seed}: {rows_compared:,} rows compared")


def _counted(workspace: str, app: App, batch: Batch, events: Iterable[Event]) -> dict[str, list[reference_query.Counted]]:
    messages = [mail for mail in batch.messages.values() if mail.workspace_id == workspace]
    return {
        "sent": reference_query.counted_messages(messages, app),
        "clicks": reference_query.counted_clicks(messages),
        "mail by event": reference_query.counted_messages_by_event(messages, app),
        "event": reference_query.counted_events(event for event in events if event.workspace_id == workspace),
    }


def test_one_build_from_nothing_makes_the_same_rows(history: History, make_database: Callable[[], Settings]) -> None:
    fresh = make_database()
    load_app(fresh, history.apps.values())
    load_events(fresh, history.loaded, history.now - timedelta(hours=1))
    second_ids.load_mail(fresh, history.mail_loaded, history.now - timedelta(hours=1))
    run_dbt(fresh, *WITHOUT_TESTS, "--exclude", "path:models/marts")
    assert current_rows.everything(fresh) == history.rows, f"seed {history.seed}"
    written = current_rows.written_by_last_batch(fresh)
    inserted = {model: (len(rows), 0) for model, rows in history.rows.items()}
    assert {model: written[model] for model in inserted} == inserted, f"seed {history.seed}"


def test_the_same_log_again_and_a_recomputation_write_nothing(history: History) -> None:
    settings = history.settings
    load_events(settings, history.loaded, history.now)
    run_dbt(settings, *ROWS)
    # except for more rejected copies
    written = current_rows.written_by_last_batch(settings)
    assert {model for model, rows in written.items() if rows != (0, 0)} == {"fct_rejected_events"}, f"seed {history.seed}"

    # a recomputation writes only differences: nothing
    run_dbt(settings, *ROWS, "--vars", "recompute: true")
    assert set(current_rows.written_by_last_batch(settings).values()) == {(0, 0)}, f"seed {history.seed}"


def test_a_recomputation_expires_deleted_events_and_keeps_those_before_the_first_loaded_one(built_empty: Settings) -> None:
    now = datetime.now(UTC)

    def sent(event_id: str, message_id: str, campaign_id: str = "c") -> Event:
        return Event(event_id, "w", message_id, "sent", now - timedelta(days=3), campaign_id=campaign_id)

    load_events(built_empty, [sent("old", "m1"), sent("twice", "m4")], now - timedelta(days=2))
    load_events(built_empty, [sent("wrong", "m2"), sent("right", "m3"), sent("twice", "m4", "other")], now - timedelta(days=1))
    run_dbt(built_empty, *ROWS)
    assert current_rows.campaign_days(built_empty)[("w", "c", "", "", (now - timedelta(days=3)).date())]["sent"] == 4

    with connect(built_empty, "mailmart_owner") as connection:
        # one event is older than all loaded ones, another was loaded by mistake and deleted
        connection.execute(
            "delete from raw.email_events where event_id in ('old', 'right') or (event_id = 'twice' and campaign_id = 'c')"
        )
        connection.execute(
            "insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at, campaign_id,"
            " loaded_at) values ('right', 'w', 'm3', 'sent', %s, 'c', %s)",
            (now - timedelta(days=3), now - timedelta(days=1, seconds=1)),
        )
        connection.execute("delete from raw.email_events where event_id = 'wrong'")
    run_dbt(built_empty, *ROWS, "--vars", "recompute: true")
    assert {message for _, message in current_rows.messages(built_empty)} == {"m1", "m3", "m4"}
    # the first copy of an event still counts, although only the second one is left, which stays rejected
    assert current_rows.campaign_days(built_empty)[("w", "c", "", "", (now - timedelta(days=3)).date())]["sent"] == 3
    with connect(built_empty, "mailmart_owner") as connection:
        rejected = connection.execute("select problem, event_id from core.fct_rejected_events where valid_to > 1000").fetchall()
    assert rejected == [("conflicting_duplicate", "twice")]


def test_every_mart_has_a_reference() -> None:
    marts = {path.stem for path in (PROJECT_ROOT / "models" / "marts").glob("*/*.sql")}
    # test_random_queries compares what they answer
    of_queries = {mart for mart in marts if mart.startswith("query_")}
    assert marts - NOT_OF_MAIL - of_queries == set(MARTS)


def _last_batch(settings: Settings) -> int:
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute("select max(batch_id) from app.batches").fetchone()
    assert row is not None
    batch: int = row[0]
    return batch


def _random_mail(chance: random.Random, workspace: str, zone: str, now: datetime) -> list[Event]:
    """Few messages with many accidents, or many over weeks, so that scores change; around a change of clocks, or recent."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if chance.random() < 0.2:
        return random_events(chance, workspace, 600, midnight - timedelta(days=40), days=40, plain=0.85)
    start = start_before_clock_change(zone, now) if chance.random() < 0.6 else midnight - timedelta(days=6)
    return random_events(chance, workspace, chance.randint(1, 60), start)


def _random_request(
    chance: random.Random, workspace: str, messages: list[Message], app: App, first_day: date, today: date, zone: str
) -> Request:
    campaigns = sorted(
        {message.campaign_id for message in messages if message.campaign_id and message.sent_at}
        | {campaign.campaign_id for campaign in app.campaigns}
    )
    domains = sorted({message.domain_id for message in messages if message.domain_id and message.sent_at} | set(app.domains))
    start = chance.choice((first_day, first_day + timedelta(days=1), first_day - timedelta(days=20), today - timedelta(days=30)))
    compared = chance.sample(campaigns, k=min(len(campaigns), chance.randint(0, 4)))
    campaign_ids = tuple(compared) if chance.random() < 0.8 else (*compared, NOBODY)
    return Request(
        workspace_id=workspace,
        start=start,
        end=start + timedelta(days=chance.choice((0, 1, 6, 30, 89))),
        campaign_id=chance.choice((None, None, *campaigns[:3], *campaigns[:3], NOBODY)),
        domain_id=chance.choice((None, None, None, *domains[:2], *domains[:2], NOBODY)),
        status=chance.choice((None, None, "sending", "nowhere")),
        campaign_ids=campaign_ids,
        expected_shares=tuple(chance.choice((0.5, 1, 2)) for _ in campaign_ids) if chance.random() < 0.7 else (),
        metrics=tuple(chance.sample(sorted(RATES), k=chance.randint(0, len(RATES)))),
        # half of them the zone whose clocks change during the mail
        timezone=chance.choice((None, zone, zone, chance.choice(ZONES))),
        granularity=chance.choice(("period", "hour")),
        group_by=chance.choice(("day", "week", "month")),
    )


def _compare_data_quality(settings: Settings, expected: Counter[tuple[str, str]], workspaces: Collection[str], seed: int) -> None:
    found: Counter[tuple[str, str]] = Counter()
    with connect(settings, "mailmart_api") as connection:
        for workspace in workspaces:
            to_query = begin_reading(connection, {WORKSPACE_ID: workspace})
            # those of the app's tables: test_odd_app_tables.py
            query = (
                f"select workspace_id, problem, events from {_view(connection, 'data_quality')} where provider not like 'app.%'"
            )
            for owner, problem, events in connection.execute(to_query(query).encode()):
                found[owner, problem] = events
    assert found == +Counter({key: count for key, count in expected.items() if key[0] in workspaces}), f"seed {seed}"


def _compare(
    connection: Connection, request: Request, batch_id: int, messages: list[Message], app: App, now: datetime, seed: int
) -> None:
    # in a transaction of the request's own, whose settings end with it
    with connection.transaction(force_rollback=True):
        context = {**_context(request), "as_of": str(batch_id)}
        to_query = begin_reading(connection, {f"mailmart.{name}": value for name, value in context.items()})
        for mart, plain in MARTS.items():
            expected = plain(request, messages, app, now)
            found = _read(connection, mart, expected, to_query)
            if mart in UNORDERED:
                expected, found = sorted(expected, key=repr), sorted(found, key=repr)
            assert _rounded(found) == _rounded(expected), f"seed {seed}: {mart} for {request} as of {batch_id}"


def _context(request: Request) -> dict[str, str]:
    settings = {
        "workspace_id": request.workspace_id,
        "range_start": request.start.isoformat(),
        "range_end": request.end.isoformat(),
        "campaign_id": request.campaign_id,
        "domain_id": request.domain_id,
        "campaign_status": request.status,
        "campaign_ids": json.dumps(request.campaign_ids) if request.campaign_ids else None,
        "expected_shares": json.dumps(request.expected_shares) if request.expected_shares else None,
        "metrics": json.dumps(request.metrics) if request.metrics else None,
        "timezone": request.timezone,
        "granularity": request.granularity,
        "group_by": request.group_by,
    }
    return {name: value for name, value in settings.items() if value}


def _read(connection: Connection, mart: str, expected: list[Row], to_query: Callable[[str], str]) -> list[Row]:
    columns: Iterable[sql.Composable] = map(sql.Identifier, expected[0]) if expected else [sql.SQL("*")]
    query = sql.SQL("select {} from ").format(sql.SQL(", ").join(columns)).as_string(connection) + _view(connection, mart)
    return connection.cursor(row_factory=dict_row).execute(to_query(query).encode()).fetchall()


def _view(connection: Connection, mart: str) -> str:
    """The view of a mart; on Citus, the one that is served, as the API reads it."""
    if not is_distributed(connection):
        return f"marts.{mart}"
    row = connection.execute(
        "select view_schema || '.' || view_name from app.served_queries where view_name ~ %s", (f"^{mart[:49]}__[0-9a-f]{{12}}$",)
    ).fetchone()
    assert row is not None, mart
    return str(row[0])


def _rounded(rows: list[Row]) -> list[dict[str, Any]]:
    """Numbers as a response has them; p-values rounded to ten digits, because two implementations differ in the last ones."""
    return [
        {
            column: round(value, 10) if isinstance(value, float) else float(value) if isinstance(value, Decimal) else value
            for column, value in row.items()
        }
        for row in rows
    ]
