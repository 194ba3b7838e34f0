"""After a build that died, the next one brings the warehouse to the right state."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import Event, random_events
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_TESTS, dbt_process, run_dbt
from tests.support.waiting import wait_for_waiting

KILLS = int(os.environ.get("MAILMART_TEST_KILLS", "3"))


@pytest.mark.timeout(600 + 120 * KILLS)
def test_killed_at_random_moments_and_run_again(built_empty: Settings, make_database: Callable[[], Settings], seed: int) -> None:
    chance = random.Random(seed)
    now = datetime.now(UTC)
    start = (now - timedelta(days=20)).replace(hour=0, minute=0, second=0, microsecond=0)
    loaded: list[Event] = []

    # not a first build, which makes tables and views
    began = time.monotonic()
    run_dbt(built_empty, *WITHOUT_TESTS)
    whole_run = time.monotonic() - began

    killed = 0
    # some builds end before they are killed
    for attempt in range(4 * KILLS):
        arriving = random_events(chance, f"w{attempt % 4}", 200, start)
        load_events(built_empty, arriving, now - timedelta(minutes=4 * KILLS - attempt))
        loaded += arriving
        process = dbt_process(built_empty, *WITHOUT_TESTS)
        try:
            process.wait(timeout=chance.uniform(0.2, 1.0) * whole_run)
            # the machine was slower when a build was timed
            whole_run *= 0.7
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        if killed == KILLS:
            break
    assert killed == KILLS, "too few builds were killed: they ended before"

    run_dbt(built_empty, *WITHOUT_TESTS)
    assert current_rows.differences(built_empty, loaded, now) == [], f"seed {seed}"
    never_killed = make_database()
    load_events(never_killed, loaded, now - timedelta(minutes=4 * KILLS))
    run_dbt(never_killed, *WITHOUT_TESTS)
    assert current_rows.everything(built_empty) == current_rows.everything(never_killed), f"seed {seed}"
    with connect(built_empty, "mailmart_owner") as connection:
        overlapping = connection.execute(
            "select count(*) from core.fct_messages as older inner join core.fct_messages as newer"
            " using (workspace_id, message_id) where older.valid_from < newer.valid_from"
            " and older.valid_to > newer.valid_from"
        ).fetchone()
        ends = connection.execute("select status, count(*) from app.batches group by status").fetchall()
    assert overlapping == (0,)
    assert "running" not in dict(ends)


@pytest.mark.timeout(900)
def test_a_second_build_is_refused_while_the_first_runs(built_empty: Settings) -> None:
    with connect(built_empty, "mailmart_owner") as lock:
        # the first build waits here, in the middle of its work
        lock.execute("lock table core.fct_messages in access exclusive mode")
        first = dbt_process(built_empty, *WITHOUT_TESTS, target_path="first")
        wait_for_waiting(built_empty)
        second = run_dbt(built_empty, *WITHOUT_TESTS, target_path="second", check=False)
        assert second.returncode != 0
        assert "is running since" in second.stdout
        # and has started no node
        assert "START" not in second.stdout
        lock.rollback()
    assert first.wait(timeout=300) == 0
    run_dbt(built_empty, *WITHOUT_TESTS)


@pytest.mark.timeout(900)
def test_an_abandoned_build_writes_nothing(built_empty: Settings) -> None:
    load_events(built_empty, [Event("e", "w", "m", "sent", datetime.now(UTC), "c")], datetime.now(UTC))
    with connect(built_empty, "mailmart_owner") as lock:
        # it waits at a staging view that it has to replace: outside of a transaction that locks its batch
        lock.execute("delete from app.view_definitions where view_name = 'stg_native_events'")
        lock.commit()
        lock.execute("lock table raw.email_events in access exclusive mode")
        first = dbt_process(built_empty, *WITHOUT_TESTS, target_path="first")
        wait_for_waiting(built_empty)
        with connect(built_empty, "mailmart_owner") as successor:
            successor.execute("update app.batches set status = 'abandoned' where status = 'running'")
        lock.rollback()
    assert first.wait(timeout=300) != 0
    assert current_rows.campaign_days(built_empty) == {}
    run_dbt(built_empty, *WITHOUT_TESTS)
    assert len(current_rows.campaign_days(built_empty)) == 1
