"""Continuous builds: only if something is new, only the models that hold rows, one build at a time, and again after a failure."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.builds.continuous import SELECTION, Turn, delay_after_failure, run_continuous_builds
from api.builds.continuous_repository import ContinuousBuildRepository
from api.builds.metrics import continuous_build_metrics
from api.builds.repository import published_since, rollback
from api.builds.run_repository import NightlyRunRepository
from api.db.connection import connect
from api.observability.posthog import Telemetry
from api.settings import Settings
from tests.integration.builds.project import build, load_campaign, make_test_fail, make_tests_pass
from tests.integration.builds.queries import builds, published_batch, rows
from tests.support.command import mailmart
from tests.support.dbt import dbt_process
from tests.support.waiting import wait_for_waiting, wait_until

pytestmark = pytest.mark.timeout(300)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def news(settings: Settings) -> str:
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        return ContinuousBuildRepository(connection, settings.target).look_for_news()


def load_event(settings: Settings, event: str, loaded_at: str = "now") -> None:
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at, loaded_at)"
            " values (%s, 'w', 'm', 'sent', now(), %s)",
            (event, loaded_at),
        )


def metrics(settings: Settings) -> dict[str, list[float]]:
    """The values of each metric, read as Prometheus does."""
    with connect(settings, "mailmart_api") as connection:
        return {
            metric.name.removeprefix("mailmart_"): [value for _, value in metric.values]
            for metric in continuous_build_metrics(connection)
        }


@contextmanager
def building(settings: Settings) -> Iterator[list[Turn]]:
    """Takes turns every second in a thread; yields the list that gets them."""
    turns: list[Turn] = []
    stopping = threading.Event()
    every_second = dataclasses.replace(settings, build_every=1)
    thread = threading.Thread(target=run_continuous_builds, args=(every_second, stopping, turns.append))
    thread.start()
    try:
        yield turns
    finally:
        stopping.set()
        thread.join(timeout=90)
        assert not thread.is_alive()


def test_what_is_new_is_built_and_published(
    project: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    events: list[tuple[str, Any]] = []
    monkeypatch.setattr(Telemetry, "capture", lambda self, event, properties: events.append((event, properties)))

    def outcomes() -> list[str]:
        return [turn.outcome for turn in turns]

    with building(project) as turns:
        # nothing was published before: the first build is a whole one, and is a nightly run's work
        wait_until(lambda: outcomes()[:2] == ["published", "nothing"], "the first build is published")
        assert rows(project, "select current_until > data_as_of from app.publications") == [(True,)]
        assert published_batch(project) == 1
        # whatever the settings of this command are
        assert "continuous builds: every 1s, last turn at " in mailmart(project, "batch", "status").output
        load_campaign(project, "c1")
        wait_until(lambda: outcomes().count("published") == 2, "the new campaign is published")
        assert rows(project, "select campaign_id, valid_from from core.first") == [("c1", 2)]
        assert rows(project, "select is_continuous from app.batches order by batch_id") == [(False,), (True,)]
        # what the API may show is that of the whole build
        assert rows(project, "select count(distinct contract::text), count(*) from app.publications") == [(1, 2)]

        load_campaign(project, "c2")
        make_test_fail(project, "second")
        wait_until(lambda: outcomes().count("failed") == 2, "a failed build is tried again")
        assert published_batch(project) == 2
        assert [turn.delay for turn in turns if turn.outcome == "failed"] == [2.0, 4.0]
        assert metrics(project)["continuous_build_failures"] == [2.0]
        status = mailmart(project, "batch", "status").output
        for text in ("continuous builds: 2 failed in a row", "second_is_valid: Got 1 result"):
            assert text in status
        make_tests_pass(project)
        wait_until(lambda: outcomes().count("published") == 3, "the next one is published")
        assert metrics(project)["continuous_build_failures"] == [0.0]

        # a build that is killed is begun again
        with connect(project, "mailmart_owner") as lock:
            lock.execute("lock table core.first in access exclusive mode")
            load_campaign(project, "c3")
            wait_for_waiting(project)
            os.kill(_running_dbt(), signal.SIGKILL)
            wait_until(lambda: outcomes().count("failed") == 3, "the killed build has failed")
            lock.rollback()
        wait_until(lambda: outcomes().count("published") == 4, "the next build is published")
    assert rows(project, "select count(*) from core.second where valid_to > 1000 and campaigns = 3") == [(1,)]
    failures = [properties["failures"] for event, properties in events if event == "continuous_build_failed"]
    assert failures == [1, 2, 1]
    assert [record.levelname for record in caplog.records if "continuous build failed" in record.getMessage()] == ["ERROR"] * 3


def _running_dbt() -> int:
    """The process in which dbt runs now: a child of the process that stays ready, with the same command line."""
    pids = {
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.read_bytes().split(b"\0")[1:4] == [b"-m", b"api.dbt.warm_server", str(os.getpid()).encode()]
    }
    (child,) = (pid for pid in pids if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) in pids)
    return child


def test_one_build_at_a_time_and_a_continuous_one_is_waited_for(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_continuous_build() -> subprocess.Popen[bytes]:
        with monkeypatch.context() as patch:
            patch.setenv("MAILMART_DBT_CONTINUOUS", "1")
            return dbt_process(project, "build", "--select", *SELECTION, target_path="continuous")

    def build_continuously() -> int:
        return start_continuous_build().wait(timeout=60)

    # nothing is published yet
    assert build_continuously() != 0
    assert build(project).status == "published"
    load_campaign(project, "c1")
    with connect(project, "mailmart_owner") as lock:
        lock.execute("lock table core.first in access exclusive mode")
        continuous = start_continuous_build()
        wait_for_waiting(project)
        # a second continuous build is refused; another one waits its turn
        assert rows(project, "select is_continuous from app.batches where status = 'running'") == [(True,)]
        whole = dbt_process(project, "build", target_path="whole")
        wait_until(lambda: _waits_to_begin(project), "the whole build waits")
        lock.rollback()
        assert (continuous.wait(timeout=60), whole.wait(timeout=60)) == (0, 0)
    assert builds(project) == [("build", "published")] * 3
    # the whole build had nothing left to write
    assert rows(project, "select sum(rows_inserted + rows_expired) from app.model_runs where batch_id = 3") == [(0,)]
    with connect(project, "mailmart_owner") as connection:
        runs = NightlyRunRepository(connection, project.target)
        assert not runs.is_open(LONG_AGO)
        assert published_since(connection, project.target, LONG_AGO) == 3
        # a continuous build is no nightly run
        connection.execute("update app.batches set is_continuous = true")
        assert runs.is_open(LONG_AGO)
        assert published_since(connection, project.target, LONG_AGO) is None

    # a model that changed changes more than rows
    second = project.project_root / "models/core/second.sql"
    second.write_text(second.read_text().replace("group by name", "group by 1"))
    assert build_continuously() != 0
    assert len(builds(project)) == 3


def _waits_to_begin(settings: Settings) -> bool:
    # only the login itself sees what its sessions run
    with connect(settings, None) as connection:
        waiting = connection.execute(
            "select from pg_stat_activity where query like '%app.begin_batch(%' and wait_event = 'PgSleep'"
            " and datname = current_database()"
        )
        return waiting.fetchone() is not None


def test_what_is_new(project: Settings) -> None:
    assert news(project) == "new"
    assert metrics(project)["oldest_unpublished_row_age_seconds"] == []
    assert build(project).status == "published"
    assert news(project) == "nothing"
    ((until, loaded),) = rows(project, "select current_until, app.oldest_unpublished_row('production') from app.publications")
    assert loaded is None
    assert metrics(project)["oldest_unpublished_row_age_seconds"] == [0.0]

    # a row of the platform that was changed back is not news
    load_campaign(project, "c1")
    assert news(project) == "new"
    rows(project, "delete from raw.campaigns returning 1")
    assert news(project) == "nothing"

    # the model of the raw log would record that it has read them
    rows(
        project,
        "insert into app.model_runs (target, model, batch_id, raw_batch_id, started_at)"
        " values ('production', 'fct_email_events', 1, 1, now()) returning 1",
    )
    assert news(project) == "nothing"
    # what a loader says is no excuse: it came after the publication, and not in the future
    load_event(project, "old", "2001-01-01")
    assert news(project) == "new"
    ((since,),) = rows(project, "select app.oldest_unpublished_row('production')")
    assert since >= until
    rows(project, "delete from raw.email_events returning 1")
    load_event(project, "future", "infinity")
    assert metrics(project)["oldest_unpublished_row_age_seconds"][0] < 60
    rows(project, "delete from raw.email_events returning 1")

    assert build(project).status == "published"
    rollback(project)
    load_event(project, "e")
    assert news(project) == "rolled_back"

    # what the scheduler is configured to is recorded, for the mart freshness and for commands
    assert "continuous builds: off" in mailmart(project, "batch", "status").output
    with connect(project, "mailmart_owner", autocommit=True) as connection:
        ContinuousBuildRepository(connection, project.target).begin_turn(90)
    assert "continuous builds: every 90s, last turn at " in mailmart(project, "batch", "status").output
    run_continuous_builds(dataclasses.replace(project, build_every=None), threading.Event())
    assert "continuous builds: off" in mailmart(project, "batch", "status").output


def test_a_clock_that_is_set_back_does_not_pause_builds(settings: Settings) -> None:
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        repository = ContinuousBuildRepository(connection, settings.target)
        repository.begin_turn(60)
        repository.record_failure()
        connection.execute("update app.continuous_builds set failed_at = failed_at + interval '1 hour'")
        failed = repository.begin_turn(60)
        assert failed.number == 1
        assert 0 <= failed.seconds_since < 60
        assert rows(settings, "select failed_at <= clock_timestamp() from app.continuous_builds") == [(True,)]


def test_the_delay_after_failures_grows() -> None:
    assert [delay_after_failure(60, failures) for failures in (1, 2, 5, 6, 1000)] == [120, 240, 1920, 3600, 3600]
    # never sooner than without a failure
    assert delay_after_failure(7200, 1) == 7200
