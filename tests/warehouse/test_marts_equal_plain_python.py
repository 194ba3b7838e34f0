"""Every section of every response, for random mail and random requests, equals a plain count in Python."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg import Connection, sql
from psycopg.rows import dict_row

from api.database import connect
from api.settings import Settings
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.warehouse import reference, standing
from tests.warehouse.events import ZONES, App, Event, random_app, random_events, start_before_clock_change
from tests.warehouse.landing import land, land_app
from tests.warehouse.reference import Message
from tests.warehouse.reference_marts import MARTS, RATES, Request, Row

WORKSPACES = 30
RUNS = 3
REQUESTS = 6
# columns whose order of rows is none of the mart's promises
UNORDERED = ("campaign_performance",)


@pytest.mark.timeout(300)
def test_every_mart_for_random_requests(settings: Settings, another_database: Callable[[], Settings], seed: int) -> None:
    chance = random.Random(seed)
    now = datetime.now(UTC)
    apps = {f"w{number}": random_app(chance, f"w{number}", now) for number in range(WORKSPACES)}
    land_app(settings, apps.values())
    mail = {workspace: _random_mail(chance, workspace, now) for workspace in apps}
    waiting = {workspace: list(events) for workspace, events in mail.items()}
    landed: list[Event] = []
    for run in range(RUNS):
        arriving: list[Event] = []
        for events in waiting.values():
            share = len(events) if run == RUNS - 1 else chance.randint(0, len(events))
            arriving += events[:share]
            del events[:share]
        land(settings, arriving, now - timedelta(hours=RUNS - run))
        landed += arriving
        run_dbt(settings, *WITHOUT_TESTS)

    messages = reference.messages(landed, now)
    assert standing.messages(settings) == messages, f"seed {seed}"
    for workspace, app in apps.items():
        of_workspace = [message for message in messages.values() if message.workspace_id == workspace]
        first_day = min((event.occurred_at for event in mail[workspace] if event.occurred_at), default=now).date()
        for _ in range(REQUESTS):
            request = _random_request(chance, workspace, of_workspace, app, first_day, now.date())
            _compare(settings, request, of_workspace, app, now, seed)

    fresh = another_database()
    land_app(fresh, apps.values())
    land(fresh, landed, now - timedelta(hours=1))
    run_dbt(fresh, *WITHOUT_TESTS)
    assert standing.everything(fresh) == standing.everything(settings)


def _random_mail(chance: random.Random, workspace: str, now: datetime) -> list[Event]:
    """Few messages with many accidents; or a lot over weeks, so that scores move; around a change of clocks, or of late."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if chance.random() < 0.2:
        return random_events(chance, workspace, 600, midnight - timedelta(days=40), days=40, plain=0.85)
    zone = chance.choice([zone for zone in ZONES if zone not in ("UTC", "Asia/Kathmandu", "Asia/Kolkata")])
    start = start_before_clock_change(zone, now) if chance.random() < 0.6 else midnight - timedelta(days=6)
    return random_events(chance, workspace, chance.randint(1, 60), start)


def _random_request(
    chance: random.Random, workspace: str, messages: list[Message], app: App, first_day: date, today: date
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
        campaign_id=chance.choice((None, *campaigns[:3])),
        domain_id=chance.choice((None, None, *domains[:2])),
        campaign_ids=tuple(compared),
        metrics=tuple(chance.sample(sorted(RATES), k=chance.randint(0, len(RATES)))),
        timezone=chance.choice((None, *ZONES)),
        granularity=chance.choice(("period", "hour")),
        group_by=chance.choice(("day", "week", "month")),
    )


def _compare(settings: Settings, request: Request, messages: list[Message], app: App, now: datetime, seed: int) -> None:
    with connect(settings, "mailmart_api") as connection:
        for name, value in _context(request).items():
            connection.execute("select set_config(%s, %s, true)", (f"mailmart.{name}", value))
        for mart, plain in MARTS.items():
            expected = plain(request, messages, app, now)
            found = _read(connection, mart, expected)
            if mart in UNORDERED:
                expected, found = sorted(expected, key=repr), sorted(found, key=repr)
            assert _shown(found) == _shown(expected), f"seed {seed}: {mart} for {request}"


def _context(request: Request) -> dict[str, str]:
    given = {
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
    return {name: value for name, value in given.items() if value}


def _read(connection: Connection, mart: str, expected: list[Row]) -> list[Row]:
    columns: Iterable[sql.Composable] = map(sql.Identifier, expected[0]) if expected else [sql.SQL("*")]
    query = sql.SQL("select {} from marts.{}").format(sql.SQL(", ").join(columns), sql.Identifier(mart))
    return connection.cursor(row_factory=dict_row).execute(query).fetchall()


def _shown(rows: list[Row]) -> list[dict[str, Any]]:
    """Numbers as an answer shows them; a p-value, which two ways of computing bring to different last digits, to ten."""
    return [
        {
            column: round(value, 10) if isinstance(value, float) else float(value) if isinstance(value, Decimal) else value
            for column, value in row.items()
        }
        for row in rows
    ]
