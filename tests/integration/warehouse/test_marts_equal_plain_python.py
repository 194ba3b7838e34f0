"""Every section of every response, for random mail and random requests, equals a plain count in Python."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from psycopg import Connection, sql
from psycopg.rows import dict_row

from api.db.connection import connect
from api.settings import PROJECT_ROOT, Settings
from tests.integration.warehouse import current_rows, reference
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
from tests.integration.warehouse.reference import Message
from tests.integration.warehouse.reference_marts import MARTS, RATES, Request, Row
from tests.support.dbt import WITHOUT_TESTS, run_dbt

WORKSPACES = 30
RUNS = 3
REQUESTS = 6
# marts whose rows have no defined order
UNORDERED = ("campaign_performance", "unknown_campaigns", "messages")
# an id that does not exist
NOBODY = "nobody"
# about builds, sources and events, not about mail
NOT_OF_MAIL = {"freshness", "data_quality", "left_out", "mail_sources", "received_events", "received_rejections"}


class Batch(NamedTuple):
    """A build, and the messages that are visible as of it."""

    batch_id: int
    messages: dict[tuple[str, str], Message]


@pytest.mark.timeout(900)
def test_every_mart_for_random_requests(settings: Settings, make_database: Callable[[], Settings], seed: int) -> None:
    chance = random.Random(seed)
    now = datetime.now(UTC)
    apps = {f"w{number}": random_app(chance, f"w{number}", now) for number in range(WORKSPACES)}
    load_app(settings, apps.values())
    zones = {workspace: chance.choice(CHANGING_ZONES) for workspace in apps}
    mail = {workspace: _random_mail(chance, workspace, zones[workspace], now) for workspace in apps}
    batches: list[Batch] = []
    waiting = {workspace: list(events) for workspace, events in mail.items()}
    loaded: list[Event] = []
    for run in range(RUNS):
        arriving: list[Event] = []
        for events in waiting.values():
            share = len(events) if run == RUNS - 1 else chance.randint(0, len(events))
            arriving += events[:share]
            del events[:share]
        load_events(settings, arriving, now - timedelta(hours=RUNS - run))
        loaded += arriving
        run_dbt(settings, *WITHOUT_TESTS)
        batches.append(Batch(_last_batch(settings), reference.messages(loaded, now)))

    assert current_rows.differences(settings, loaded, now) == [], f"seed {seed}"
    undelivered = Counter(
        (message.workspace_id, "engagement_without_delivery")
        for message in batches[-1].messages.values()
        if message.is_engaged_undelivered
    )
    _compare_data_quality(settings, reference.rejected(loaded, now) + undelivered, apps, seed)
    for workspace, app in apps.items():
        first_day = min((event.occurred_at for event in mail[workspace] if event.occurred_at), default=now).date()
        for _ in range(REQUESTS):
            # mostly the current rows, sometimes those of an earlier batch
            batch = batches[chance.choice((0, 1, 2, 2, 2, 2))]
            of_workspace = [message for message in batch.messages.values() if message.workspace_id == workspace]
            request = _random_request(chance, workspace, of_workspace, app, first_day, now.date(), zones[workspace])
            _compare(settings, request, batch.batch_id, of_workspace, app, now, seed)

    fresh = make_database()
    load_app(fresh, apps.values())
    load_events(fresh, loaded, now - timedelta(hours=1))
    run_dbt(fresh, *WITHOUT_TESTS)
    assert current_rows.everything(fresh) == current_rows.everything(settings)


def test_every_mart_has_a_reference() -> None:
    marts = {path.stem for path in (PROJECT_ROOT / "models" / "marts").glob("*/*.sql")}
    assert marts - NOT_OF_MAIL == set(MARTS)


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
    return Request(
        workspace_id=workspace,
        start=start,
        end=start + timedelta(days=chance.choice((0, 1, 6, 30, 89))),
        campaign_id=chance.choice((None, None, *campaigns[:3], *campaigns[:3], NOBODY)),
        domain_id=chance.choice((None, None, None, *domains[:2], *domains[:2], NOBODY)),
        campaign_ids=tuple(compared) if chance.random() < 0.8 else (*compared, NOBODY),
        metrics=tuple(chance.sample(sorted(RATES), k=chance.randint(0, len(RATES)))),
        # half of them the zone whose clocks change during the mail
        timezone=chance.choice((None, zone, zone, chance.choice(ZONES))),
        granularity=chance.choice(("period", "hour")),
        group_by=chance.choice(("day", "week", "month")),
    )


def _compare_data_quality(settings: Settings, expected: Counter[tuple[str, str]], workspaces: Iterable[str], seed: int) -> None:
    found: Counter[tuple[str, str]] = Counter()
    with connect(settings, "mailmart_api") as connection:
        for workspace in workspaces:
            connection.execute("select set_config('mailmart.workspace_id', %s, true)", (workspace,))
            for owner, problem, events in connection.execute(
                # those of the app's tables: test_odd_app_tables.py
                "select workspace_id, problem, events from marts.data_quality where provider not like 'app.%'"
            ):
                found[owner, problem] = events
    # an event without a workspace is visible to no tenant
    assert found == +Counter({key: count for key, count in expected.items() if key[0]}), f"seed {seed}"


def _compare(
    settings: Settings, request: Request, batch_id: int, messages: list[Message], app: App, now: datetime, seed: int
) -> None:
    with connect(settings, "mailmart_api") as connection:
        for name, value in {**_context(request), "as_of": str(batch_id)}.items():
            connection.execute("select set_config(%s, %s, true)", (f"mailmart.{name}", value))
        for mart, plain in MARTS.items():
            expected = plain(request, messages, app, now)
            found = _read(connection, mart, expected)
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
        "campaign_ids": json.dumps(request.campaign_ids) if request.campaign_ids else None,
        "metrics": json.dumps(request.metrics) if request.metrics else None,
        "timezone": request.timezone,
        "granularity": request.granularity,
        "group_by": request.group_by,
    }
    return {name: value for name, value in settings.items() if value}


def _read(connection: Connection, mart: str, expected: list[Row]) -> list[Row]:
    columns: Iterable[sql.Composable] = map(sql.Identifier, expected[0]) if expected else [sql.SQL("*")]
    query = sql.SQL("select {} from marts.{}").format(sql.SQL(", ").join(columns), sql.Identifier(mart))
    return connection.cursor(row_factory=dict_row).execute(query).fetchall()


def _rounded(rows: list[Row]) -> list[dict[str, Any]]:
    """Numbers as a response has them; p-values rounded to ten digits, because two implementations differ in the last ones."""
    return [
        {
            column: round(value, 10) if isinstance(value, float) else float(value) if isinstance(value, Decimal) else value
            for column, value in row.items()
        }
        for row in rows
    ]
