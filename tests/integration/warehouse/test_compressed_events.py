"""The same random mail in two warehouses, of which one compresses its old events between the builds: all of core stays equal."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.conftest import MakeDatabase
from tests.integration.warehouse import current_rows, second_ids
from tests.integration.warehouse.events import Event, random_events
from tests.integration.warehouse.loading import load_events
from tests.integration.warehouse.second_ids import MailEvent
from tests.support.compression import compress, compressed_events, publish
from tests.support.dbt import ROWS, run_dbt

pytestmark = pytest.mark.timeout(900)

RUNS = 3
WORKSPACES = 25
MAIL_WORKSPACES = 10
# the mail is a month old, so that a day is long enough
NOW = datetime.now(UTC) - timedelta(days=30)


def everything(settings: Settings) -> dict[str, list[str]]:
    """All rows of core in all versions, with their batches."""
    found: dict[str, list[str]] = {}
    with connect(settings, "mailmart_owner") as connection:
        for model in current_rows.VERSIONED:
            relation = f"core.{model}"
            if model == "fct_email_events" and _exists(settings, "core.all_email_events"):
                relation = "core.all_email_events"
            # by the names of the columns: the view has another order
            rows = connection.execute(f"select to_jsonb(rows)::text from {relation} as rows".encode()).fetchall()
            found[model] = sorted(row for (row,) in rows)
    return found


def _exists(settings: Settings, relation: str) -> bool:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute("select to_regclass(%s) is not null", (relation,)).fetchone() == (True,)


def _differences(plain: Settings, compressed: Settings) -> dict[str, Any]:
    expected, found = everything(plain), everything(compressed)
    return {
        model: (set(rows) - set(found[model]), set(found[model]) - set(rows))
        for model, rows in expected.items()
        if found[model] != rows
    }


def _build(plain: Settings, compressed: Settings, *arguments: str) -> int:
    """Builds both, compresses the events of one, and returns how many it has taken out of blocks before."""
    before = compressed_events(compressed)
    for settings in (plain, compressed):
        run_dbt(settings, *ROWS, *arguments)
        publish(settings)
    taken = before - compressed_events(compressed)
    compress(compressed)
    return taken


def test_every_build_writes_the_same_rows(make_built_database: MakeDatabase, seed: int) -> None:
    chance = random.Random(seed)
    plain, compressed = make_built_database(), make_built_database()
    start = (NOW - timedelta(days=20)).replace(hour=0, minute=0, second=0, microsecond=0)
    waiting: list[list[Event]] = [
        random_events(chance, f"w{number}", 400 if number == 0 else chance.randint(1, 20), start) for number in range(WORKSPACES)
    ]
    mail_waiting: list[list[MailEvent]] = [
        second_ids.random_mail(chance, f"two ids {number}", start) for number in range(MAIL_WORKSPACES)
    ]
    loaded: list[Event] = []
    taken: list[int] = []
    for run in range(RUNS):
        loaded_at = NOW - timedelta(hours=RUNS - run)
        arriving = [event for events in waiting for event in _some(chance, events, is_last=run == RUNS - 1)]
        mail_arriving = [event for mail in mail_waiting for event in _some(chance, mail, is_last=run == RUNS - 1)]
        for settings in (plain, compressed):
            load_events(settings, arriving, loaded_at)
            second_ids.load_mail(settings, mail_arriving, loaded_at)
        loaded += arriving
        taken.append(_build(plain, compressed))
        assert _differences(plain, compressed) == {}, f"seed {seed}, run {run}"
        # many are, and those with a second id are not
        assert compressed_events(compressed) > 100, f"seed {seed}"
    assert min(taken[1:]) > 0, f"seed {seed}"

    # a domain gets another provider: the messages to it are read again, and no others
    for settings in (plain, compressed):
        with connect(settings, "mailmart_owner") as connection:
            connection.execute(
                "insert into raw.recipient_domain_mx (domain, mx_host, status)"
                " values ('acme.example', 'aspmx.l.google.com', 'found')"
            )
    before = compressed_events(compressed)
    assert 0 < _build(plain, compressed) < before, f"seed {seed}"
    assert _differences(plain, compressed) == {}, f"seed {seed}"
    assert current_rows.written_by_last_batch(compressed)["fct_messages"][1] > 0

    # the same log again, late events of every workspace, and a recomputation
    late = [replace(event, event_id=f"late {event.event_id}", event_type="clicked") for event in chance.sample(loaded, 20)]
    for settings in (plain, compressed):
        load_events(settings, [*loaded, *late], NOW)
    assert _build(plain, compressed) > 0
    assert _differences(plain, compressed) == {}, f"seed {seed}"
    for settings in (plain, compressed):
        run_dbt(settings, *ROWS, "--vars", "recompute: true")
    assert compressed_events(compressed) == 0
    assert _differences(plain, compressed) == {}, f"seed {seed}"
    written = current_rows.written_by_last_batch
    assert written(compressed) == written(plain)


def _some(chance: random.Random, waiting: list[Any], *, is_last: bool) -> list[Any]:
    """Removes some of the first ones, in the last run all, and returns them."""
    number = len(waiting) if is_last else chance.randint(0, len(waiting))
    taken = waiting[:number]
    del waiting[:number]
    return taken
