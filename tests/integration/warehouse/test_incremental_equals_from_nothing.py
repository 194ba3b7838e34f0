"""Any number of incremental runs, in any order of arrival, with duplicates, equal one build from nothing.

A dbt start costs seconds, so many random cases, each a workspace of its own, go through the same runs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse import current_rows, second_ids
from tests.integration.warehouse.events import Event, random_events
from tests.integration.warehouse.loading import load_events
from tests.integration.warehouse.second_ids import MailEvent
from tests.support.dbt import WITHOUT_TESTS, run_dbt

WORKSPACES = 60
RUNS = 4
# their mail has webhooks of SendGrid, whose messages have two ids
MAIL_WORKSPACES = tuple(f"two ids {number}" for number in range(30))


@pytest.mark.timeout(900)
def test_incremental_runs_equal_one_build_and_plain_python(
    settings: Settings, make_database: Callable[[], Settings], seed: int
) -> None:
    chance = random.Random(seed)
    now = datetime.now(UTC)
    start = (now - timedelta(days=20)).replace(hour=0, minute=0, second=0, microsecond=0)

    mail_loaded: list[MailEvent] = []
    mail_waiting = {workspace: second_ids.random_mail(chance, workspace, start) for workspace in MAIL_WORKSPACES}
    loaded: list[Event] = []
    waiting = {f"w{number}": random_events(chance, f"w{number}", chance.randint(1, 12), start) for number in range(WORKSPACES)}
    for run in range(RUNS):
        arriving: list[Event] = []
        for events in waiting.values():
            share = len(events) if run == RUNS - 1 else chance.randint(0, len(events))
            arriving += events[:share]
            del events[:share]
        # loaded an hour apart, all within what a run looks at again
        load_events(settings, arriving, now - timedelta(hours=RUNS - run))
        loaded += arriving
        mail_arriving: list[MailEvent] = []
        for mail in mail_waiting.values():
            share = len(mail) if run == RUNS - 1 else chance.randint(0, min(2, len(mail)))
            mail_arriving += mail[:share]
            del mail[:share]
        second_ids.load_mail(settings, mail_arriving, now - timedelta(hours=RUNS - run))
        mail_loaded += mail_arriving
        run_dbt(settings, *WITHOUT_TESTS)

        assert current_rows.differences(settings, loaded, now, MAIL_WORKSPACES) == [], f"seed {seed}, run {run}"
        for workspace in MAIL_WORKSPACES:
            found, expected = second_ids.messages_found(settings, workspace), second_ids.messages(mail_loaded, workspace)
            assert found == expected, f"seed {seed}, run {run}"

    incremental = current_rows.everything(settings)

    # the same log again: nothing is written, except for more rejected copies
    load_events(settings, loaded, now)
    run_dbt(settings, *WITHOUT_TESTS)
    written = current_rows.written_by_last_batch(settings)
    assert {model for model, rows in written.items() if rows != (0, 0)} == {"fct_rejected_events"}

    # a recomputation writes only differences: nothing
    run_dbt(settings, *WITHOUT_TESTS, "--vars", "recompute: true")
    assert set(current_rows.written_by_last_batch(settings).values()) == {(0, 0)}

    fresh = make_database()
    load_events(fresh, loaded, now - timedelta(hours=1))
    second_ids.load_mail(fresh, mail_loaded, now - timedelta(hours=1))
    run_dbt(fresh, *WITHOUT_TESTS)
    assert current_rows.everything(fresh) == incremental


@pytest.mark.timeout(360)
def test_a_recomputation_expires_deleted_events_and_keeps_those_before_the_first_loaded_one(settings: Settings) -> None:
    now = datetime.now(UTC)

    def sent(event_id: str, message_id: str, campaign_id: str = "c") -> Event:
        return Event(event_id, "w", message_id, "sent", now - timedelta(days=3), campaign_id=campaign_id)

    load_events(settings, [sent("old", "m1"), sent("twice", "m4")], now - timedelta(days=2))
    load_events(settings, [sent("wrong", "m2"), sent("right", "m3"), sent("twice", "m4", "other")], now - timedelta(days=1))
    run_dbt(settings, *WITHOUT_TESTS)
    assert current_rows.campaign_days(settings)[("w", "c", "", "", (now - timedelta(days=3)).date())]["sent"] == 4

    with connect(settings, "mailmart_owner") as connection:
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
    run_dbt(settings, *WITHOUT_TESTS, "--vars", "recompute: true")
    assert {message for _, message in current_rows.messages(settings)} == {"m1", "m3", "m4"}
    # the first copy of an event still counts, although only the second one is left, which stays rejected
    assert current_rows.campaign_days(settings)[("w", "c", "", "", (now - timedelta(days=3)).date())]["sent"] == 3
    with connect(settings, "mailmart_owner") as connection:
        rejected = connection.execute("select problem, event_id from core.fct_rejected_events where valid_to > 1000").fetchall()
    assert rejected == [("conflicting_duplicate", "twice")]
