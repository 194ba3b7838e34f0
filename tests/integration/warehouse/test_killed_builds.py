"""After a build that died, the next one brings the warehouse to the right state."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.conftest import MakeDatabase
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import Event, random_events
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import ROWS, WITHOUT_TESTS, dbt_process, run_dbt
from tests.support.waiting import wait_for_waiting, wait_until

KILLS = int(os.environ.get("MAILMART_TEST_KILLS", "3"))
# what is refused or abandoned does not depend on what is selected
ONE_MODEL = (*WITHOUT_TESTS, "--select", "dim_bounce_reasons")
CAMPAIGN_DAYS = (*WITHOUT_TESTS, "--select", "+fct_campaign_days")


@pytest.mark.timeout(600 + 120 * KILLS)
def test_killed_at_random_moments_and_run_again(built_empty: Settings, make_built_database: MakeDatabase, seed: int) -> None:
    chance = random.Random(seed)
    now = datetime.now(UTC)
    start = (now - timedelta(days=20)).replace(hour=0, minute=0, second=0, microsecond=0)
    loaded: list[Event] = []
    killed = 0
    # if the machine stops this process for long, a build can end before it is killed
    for attempt in range(4 * KILLS):
        arriving = random_events(chance, f"w{attempt % 4}", 200, start)
        load_events(built_empty, arriving, now - timedelta(minutes=4 * KILLS - attempt))
        loaded += arriving
        before = _last_batch(built_empty)
        process = dbt_process(built_empty, *ROWS)
        _wait_for_models(built_empty, before, chance.randrange(len(current_rows.VERSIONED) - 1))
        # anywhere in the model that follows, and in those beside it
        time.sleep(chance.uniform(0, 0.1))
        os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if killed == KILLS:
            break
    assert killed == KILLS

    run_dbt(built_empty, *ROWS)
    assert current_rows.differences(built_empty, loaded, now) == [], f"seed {seed}"
    never_killed = make_built_database()
    load_events(never_killed, loaded, now - timedelta(minutes=4 * KILLS))
    run_dbt(never_killed, *ROWS)
    assert current_rows.everything(built_empty) == current_rows.everything(never_killed), f"seed {seed}"
    with connect(built_empty, "mailmart_owner") as connection:
        overlapping = connection.execute(
            "select count(*) from core.fct_messages as older inner join core.fct_messages as newer"
            " using (workspace_id, message_id) where older.valid_from < newer.valid_from"
            " and older.valid_to > newer.valid_from"
        ).fetchone()
        ends: dict[str, int] = dict(connection.execute("select status, count(*) from app.batches group by status").fetchall())
    assert overlapping == (0,)
    assert ends["abandoned"] == KILLS
    assert "running" not in ends


def _last_batch(settings: Settings) -> int:
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute("select max(batch_id) from app.batches").fetchone()
    assert row is not None
    return int(row[0])


def _wait_for_models(settings: Settings, before: int, number: int) -> None:
    """Waits until the build after `before` has written so many models: a moment that does not depend on the machine's speed."""
    written = """
        select from app.batches where batch_id > %s and %s <= (
            select count(*) from app.model_runs where model_runs.batch_id = batches.batch_id
        )
    """
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        wait_until(lambda: connection.execute(written, (before, number)).fetchone() is not None, f"{number} models are written")


@pytest.mark.timeout(900)
def test_a_second_build_is_refused_while_the_first_runs(built_empty: Settings) -> None:
    with connect(built_empty, "mailmart_owner") as lock:
        # the first build waits here, in the middle of its work
        lock.execute("lock table core.fct_messages in access exclusive mode")
        first = dbt_process(built_empty, *WITHOUT_TESTS, "--select", "fct_messages+", target_path="first")
        wait_for_waiting(built_empty)
        second = run_dbt(built_empty, *ONE_MODEL, target_path="second", check=False)
        assert second.returncode != 0
        assert "is running since" in second.stdout
        # and has started no node
        assert "START" not in second.stdout
        lock.rollback()
    assert first.wait(timeout=300) == 0
    run_dbt(built_empty, *ONE_MODEL)


@pytest.mark.timeout(900)
def test_an_abandoned_build_writes_nothing(built_empty: Settings) -> None:
    load_events(built_empty, [Event("e", "w", "m", "sent", datetime.now(UTC), "c")], datetime.now(UTC))
    with connect(built_empty, "mailmart_owner") as lock:
        # it waits at a staging view that it has to replace: outside of a transaction that locks its batch
        lock.execute("delete from app.view_definitions where view_name = 'stg_native_events'")
        lock.commit()
        lock.execute("lock table raw.email_events in access exclusive mode")
        first = dbt_process(built_empty, *CAMPAIGN_DAYS, target_path="first")
        wait_for_waiting(built_empty)
        with connect(built_empty, "mailmart_owner") as successor:
            successor.execute("update app.batches set status = 'abandoned' where status = 'running'")
        lock.rollback()
    assert first.wait(timeout=300) != 0
    assert current_rows.campaign_days(built_empty) == {}
    run_dbt(built_empty, *CAMPAIGN_DAYS)
    assert len(current_rows.campaign_days(built_empty)) == 1
