"""Worker processes: killed, stopped and frozen; and the order of exports."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.db.connection import connect
from tests.integration.api.serving import serving
from tests.integration.exports.conftest import EMPTY_WORKSPACE, OTHER_WORKSPACE, Exporter
from tests.integration.exports.test_attempts import files, row
from tests.integration.exports.worker_process import environment, running_worker, wait_for

WAITING_QUERIES = (
    "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and application_name = 'mailmart'"
)


@contextmanager
def messages_locked(exporter: Exporter) -> Iterator[None]:
    """While the block runs, exports of messages start and wait for a lock."""
    with connect(exporter.settings, "mailmart_owner") as connection:
        connection.execute("lock table core.fct_messages in access exclusive mode")
        yield
        connection.rollback()


def has_started(exporter: Exporter, export_id: str, attempts: int = 1) -> Callable[[], bool]:
    return lambda: bool(row(exporter, export_id)["attempts"] == attempts)


def waits_for_a_lock(exporter: Exporter) -> Callable[[], bool]:
    """Whether one query of a worker waits for a lock: it starts some time after its attempt is counted."""

    def waits() -> bool:
        with connect(exporter.settings, None) as connection:
            return connection.execute(f"select count(*) {WAITING_QUERIES}").fetchone() == (1,)

    return waits


def database_time(exporter: Exporter) -> datetime:
    with connect(exporter.settings, None) as connection:
        found = connection.execute("select clock_timestamp()").fetchone()
    assert found is not None
    moment: datetime = found[0]
    return moment


def is_completed(exporter: Exporter, export_id: str) -> Callable[[], bool]:
    return lambda: bool(exporter.status(export_id)["status"] == "completed")


@pytest.fixture(autouse=True)
def _empty_queue(exporter: Exporter) -> None:
    """Cancels the exports of other tests."""
    with connect(exporter.settings, "mailmart_worker") as connection:
        connection.execute("set local search_path = procrastinate, app")
        connection.execute("delete from procrastinate_jobs")
        connection.execute("update exports set status = 'canceled', completed_at = now() where status = 'processing'")


@pytest.mark.timeout(900)
def test_a_killed_workers_export_is_recovered_within_a_minute(exporter: Exporter, tmp_path: Path) -> None:
    export_id = exporter.request(export_type="messages", format="csv")["export_id"]
    log = tmp_path / "log"
    with running_worker(exporter.settings, log) as first:
        with messages_locked(exporter):
            wait_for(waits_for_a_lock(exporter), 60, log.read_text)
            first.send_signal(signal.SIGKILL)
            first.wait()
        killed_at = database_time(exporter)
        with running_worker(exporter.settings, log):
            wait_for(is_completed(exporter, export_id), 300, log.read_text)
    # how long the export itself takes depends on the machine
    assert row(exporter, export_id)["started_at"] - killed_at < timedelta(minutes=1)
    (file,) = files(exporter, export_id)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == exporter.status(export_id)["sha256"]
    assert row(exporter, export_id)["attempts"] == 2


def job(exporter: Exporter, export_id: str) -> tuple[str, int] | None:
    """The state of an export's job, and its worker."""
    with connect(exporter.settings, "mailmart_worker") as connection:
        return connection.execute(
            "select status::text, worker_id from procrastinate.procrastinate_jobs where id = %s",
            (row(exporter, export_id)["job_id"],),
        ).fetchone()


def terminate_waiting_queries(exporter: Exporter) -> None:
    """Terminates the connections that wait for a lock."""
    with connect(exporter.settings, None) as connection:
        ended = connection.execute(f"select pg_terminate_backend(pid) {WAITING_QUERIES}").fetchall()
    assert ended == [(True,)]


@pytest.mark.timeout(900)
def test_a_frozen_worker_does_not_touch_its_successors_job(exporter: Exporter, tmp_path: Path) -> None:
    export_id = exporter.request(export_type="messages", format="csv")["export_id"]
    log, other_log = tmp_path / "frozen", tmp_path / "other"
    with running_worker(exporter.settings, log) as frozen, ExitStack() as until_completed:
        with messages_locked(exporter):
            wait_for(waits_for_a_lock(exporter), 60, log.read_text)
            frozen.send_signal(signal.SIGSTOP)
            # when it continues, its attempt has failed
            terminate_waiting_queries(exporter)
            until_completed.enter_context(running_worker(exporter.settings, other_log))
            wait_for(has_started(exporter, export_id, 2), 90, other_log.read_text)
            recovered = job(exporter, export_id)
            frozen.send_signal(signal.SIGCONT)
            wait_for(lambda: f"at {export_id} failed" in log.read_text(), 60, log.read_text)
            time.sleep(2)
            assert recovered is not None
            assert recovered[0] == "doing"
            assert job(exporter, export_id) == recovered, log.read_text()
        wait_for(is_completed(exporter, export_id), 60, other_log.read_text)
        wait_for(lambda: job(exporter, export_id) is None, 90)
    assert len(files(exporter, export_id)) == 1
    assert row(exporter, export_id)["attempts"] == 2


SHORT_TIMEOUTS = """
from api.worker.main import run_worker
from api.jobs import runner as worker
from api.settings import Settings

worker.GRACEFUL_SHUTDOWN_SECONDS = worker.RESTART_TIMEOUT_SECONDS = 2.0
run_worker(Settings.from_environment(), 1)
"""


def test_a_worker_exits_if_its_job_cannot_be_aborted(exporter: Exporter, tmp_path: Path) -> None:
    exporter.request(export_type="messages", format="csv")
    log = tmp_path / "log"
    with messages_locked(exporter), log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", SHORT_TIMEOUTS], env=environment(exporter.settings), stderr=output)
        try:
            wait_for(waits_for_a_lock(exporter), 60, log.read_text)
            # the worker notices that it was considered dead, while its job waits in a query
            with connect(exporter.settings, "mailmart_worker") as connection:
                connection.execute("delete from procrastinate.procrastinate_workers")
            assert process.wait(60) == 1
        finally:
            process.kill()
            process.wait()
    assert "cannot be aborted" in log.read_text()


@pytest.mark.timeout(900)
def test_a_stopped_worker_releases_its_jobs_at_once(exporter: Exporter, tmp_path: Path) -> None:
    ids = [exporter.request(export_type="messages", format="xlsx")["export_id"] for _ in range(3)]
    log = tmp_path / "log"
    with running_worker(exporter.settings, log, concurrency=3):
        wait_for(lambda: any(row(exporter, export_id)["attempts"] for export_id in ids), 60, log.read_text)
    with running_worker(exporter.settings, log):
        for export_id in ids:
            wait_for(is_completed(exporter, export_id), 90, log.read_text)
    assert [row(exporter, export_id)["attempts"] for export_id in ids] == [1, 1, 1]


@pytest.mark.timeout(900)
def test_a_workspace_does_not_wait_for_the_queue_of_another(
    exporter: Exporter, exporter_of: Callable[[str], Exporter], tmp_path: Path
) -> None:
    many = [exporter.request(format="ndjson")["export_id"] for _ in range(40)]
    # requested last
    one = exporter_of(OTHER_WORKSPACE).request(format="ndjson", export_type="messages")["export_id"]
    # an export that has no data is in the same queue
    none = exporter_of(EMPTY_WORKSPACE).request(format="ndjson", export_type="messages")["export_id"]
    log = tmp_path / "log"
    with running_worker(exporter.settings, log):
        wait_for(lambda: all(row(exporter, export_id)["status"] == "completed" for export_id in many), 120, log.read_text)
    began = {export_id: row(exporter, export_id)["started_at"] for export_id in [*many, one, none]}
    order = sorted(began, key=lambda export_id: began[export_id])
    assert order.index(one) <= 1
    assert order.index(none) <= 2
    assert [row(exporter, export_id)["attempts"] for export_id in many] == [1] * 40


@pytest.mark.timeout(900)
def test_an_export_from_request_to_download(exporter: Exporter, tmp_path: Path) -> None:
    log = tmp_path / "worker"
    with serving(exporter.settings, tmp_path / "server") as service, running_worker(exporter.settings, log):
        export = exporter.request(export_type="messages", format="csv")
        wait_for(is_completed(exporter, export["export_id"]), 60, log.read_text)
        status = exporter.status(export["export_id"])
        # the service has another address than the settings of this process
        url = status["download_url"].replace(exporter.settings.public_url, service.address)
        with urllib.request.urlopen(url) as response:
            content = response.read()
            assert response.headers["Content-Disposition"] == f"attachment; filename=messages-{export['export_id']}.csv"
            assert response.headers["Cache-Control"] == "private, no-store"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert hashlib.sha256(content).hexdigest() == status["sha256"]
        # the csv reader, because a campaign name contains a line break
        assert len(list(csv.reader(io.StringIO(content.decode(), newline="")))) == status["row_count"] + 1
        part = urllib.request.Request(url, headers={"Range": "bytes=10-19"})
        with urllib.request.urlopen(part) as response:
            assert response.status == 206
            assert response.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
            assert response.read() == content[10:20]
        assert datetime.fromisoformat(status["completed_at"]) >= datetime.fromisoformat(status["created_at"])
    # no log contains a valid link
    assert "signature" not in (tmp_path / "server").read_text() + log.read_text()


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
@pytest.mark.timeout(900)
def test_a_wrong_clock_of_the_worker_does_not_matter(exporter: Exporter, tmp_path: Path) -> None:
    """The worker's clock is two days ahead and 60 times too fast. Times come from the database, waits use a monotonic clock."""
    export_id = exporter.request(export_type="messages", format="parquet")["export_id"]
    log = tmp_path / "log"
    preloaded = subprocess.run(
        ["faketime", "-f", "+2d x60", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with running_worker(exporter.settings, log, LD_PRELOAD=preloaded, FAKETIME="+2d x60", FAKETIME_DONT_FAKE_MONOTONIC="1"):
        wait_for(is_completed(exporter, export_id), 90, log.read_text)
    status = exporter.status(export_id)
    now = datetime.now(UTC)
    assert abs(datetime.fromisoformat(status["completed_at"]) - now) < timedelta(minutes=3)
    assert timedelta(days=6, hours=23) < datetime.fromisoformat(status["file_expires_at"]) - now < timedelta(days=7, minutes=1)
    assert row(exporter, export_id)["attempts"] == 1
