"""`mailmart bench batch` and `bench marts` print their results and leave nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from api.db.connection import connect
from api.settings import PROJECT_ROOT, Settings
from api.tools.bench.batch import script
from tests.support.command import mailmart
from tests.support.forked_dbt import forked_build_command


@pytest.mark.timeout(900)
def test_a_build_is_measured_beside_plain_sql(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.tools.bench.batch.build_command", forked_build_command)
    arguments = [
        "bench",
        "batch",
        "--messages",
        "2000",
        "--days",
        "30",
        "--history",
        "30",
        "--runs",
        "1",
        "--built-empty",
        "--erase",
    ]
    result = mailmart(Settings(None, None, home), *arguments)
    assert result.exit_code == 0, result.output
    for line in (
        r"30 days, 2,000 messages; database \d\.\d\d GiB, peak during the first build \d\.\d\d GiB",
        r"  first build: models [\d.]+ s, plain SQL [\d.]+ s, ratio [\d.]+",
        r"    [\d,]+ messages and [\d,]+ rows a second",
        r"  first mail of a warehouse that was built empty: models [\d.]+ s, ratio [\d.]+",
        r"  nightly run \(median of 1\): models [\d.]+ s, plain SQL [\d.]+ s, ratio [\d.]+",
        r"    dbt build, wall time [\d.]+ s: data tests [\d.]+ s, dbt itself \(no statement runs\) [\d.]+ s",
        r"    sum of all models, of which two can run at the same time: [\d.]+ s, ratio [\d.]+",
        r"    processor time of PostgreSQL: [\d.]+ s with data tests, plain SQL [\d.]+ s, ratio ([\d.]+|unknown)",
        r"    processor time of PostgreSQL: [\d.]+ s with data tests, ratio ([\d.]+|unknown)",
        r"  the first of them, \d+ s after 2,000 messages were loaded: models [\d.]+ s, processor time [\d.]+ s",
        r"  erase of the workspace, with the vacuum after it: [\d,]+ rows in [\d.]+ s, processor time of PostgreSQL [\d.]+ s,.*",
        # all of its rows, or none of them
        r"    beside it: its rows in fct_campaign_days were [\d,]+, then 0, slowest read \d+ ms; [\d,]+ loads of another .*",
        r"    fct_messages +[\d.]+ s",
        r"    dim_campaigns +[\d.]+ s",
        r"    views, seeds, hooks +[\d.]+ s",
    ):
        assert re.search(f"^{line}$", result.output, re.MULTILINE), f"{line}\n{result.output}"
    assert list(home.iterdir()) == []


def test_each_nightly_run_has_late_events_of_its_own(settings: Settings) -> None:
    """An event that comes again is a repeated one: it changes no aggregate, and a run with it is cheaper."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at)"
            " select 'e' || number, 'w', 'm' || number, 'delivered', now() from generate_series(1, 1000) as number"
        )
        for number in (0, 1):
            connection.execute(script("late_events.sql").encode(), {"events": 100, "number": number})
        found = connection.execute(
            "select count(*), count(distinct event_id), count(distinct message_id) from raw.email_events"
            " where event_type = 'opened'"
        ).fetchone()
    assert found is not None
    events, ids, messages = found
    assert events == ids == 200
    # chosen at random, so a few messages are chosen twice
    assert messages > 150


@pytest.mark.timeout(900)
def test_every_mart_is_measured(home: Path) -> None:
    arguments = ["bench", "marts", "--messages", "2000", "--days", "30", "--rounds", "1", "--plans"]
    result = mailmart(Settings(None, None, home), *arguments)
    assert result.exit_code == 0, result.output
    measured = set(re.findall(r"^\w+ +(\w+) +(\w[\w ,]*\w) +[\d.]+ ms of +(\d+)", result.output, re.MULTILINE))
    # no endpoint reads the marts of exports; a view that sorts a list is measured with it; those of buckets are a part of queries
    # by time, names are looked up for a page, and the calendar is MetricFlow's
    not_alone = {"campaign_order", "query_days", "query_hours", "query_calendar", "query_names"}
    marts = [path for path in (PROJECT_ROOT / "models" / "marts").glob("*/*.sql") if path.parent.name != "exports"]
    assert {mart for mart, _, _ in measured} == {path.stem for path in marts} - not_alone
    assert {("campaign_series", "one campaign", "15"), ("deliverability", "one campaign", "15")} <= measured
    assert {("deliverability", "all mail", "40"), ("deliverability", "one domain", "40")} <= measured
    assert "Buffers: shared hit" in result.output
    assert list(home.iterdir()) == []


def test_a_bench_that_is_ended_leaves_nothing(home: Path) -> None:
    command = [sys.executable, "-m", "api", "bench", "marts", "--messages", "1000000"]
    with subprocess.Popen(command, env={**os.environ, "MAILMART_HOME": str(home)}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # the servers run by then
        assert "making 1,000,000 messages" in process.stderr.readline()
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert list(home.iterdir()) == []
