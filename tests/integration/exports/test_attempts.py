"""Attempts that die, are stopped or are superseded: an export has either its complete file or none."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
import pytest

from api.db.connection import connect
from api.errors import ExportUnfinished, StorageError
from api.exports import attempt, cleanup
from api.exports.attempt import run_attempt
from api.exports.cleanup import clean_up
from api.exports.storage import Storage, Upload
from tests.integration.exports.conftest import WORKSPACE, Exporter


@pytest.fixture(autouse=True)
def _no_progress_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "PROGRESS_INTERVAL_SECONDS", 0.0)


class PausedStorage:
    """A storage whose uploads wait for the test before they accept bytes, and then fail if there is a problem."""

    def __init__(self, storage: Storage, problem: Exception | None = None) -> None:
        self.storage = storage
        self.problem = problem
        self.has_started = threading.Event()
        self.may_continue = threading.Event()

    @contextlib.contextmanager
    def create(self, key: str, content_type: str) -> Iterator[Upload]:
        with self.storage.create(key, content_type) as upload:
            self.has_started.set()
            assert self.may_continue.wait(60)
            if self.problem:
                raise self.problem
            yield upload

    def delete(self, key: str) -> None:
        self.storage.delete(key)

    def delete_leftovers(self, prefix: str, *, but: Collection[str] = ()) -> None:
        self.storage.delete_leftovers(prefix, but=but)

    def erase(self, prefix: str, *, but: Collection[str] = ()) -> None:
        self.storage.erase(prefix, but=but)

    def open(self, key: str) -> BinaryIO:
        return self.storage.open(key)

    def url(self, key: str, file_name: str, content_type: str, seconds: int) -> str | None:
        return self.storage.url(key, file_name, content_type, seconds)


def files(exporter: Exporter, export_id: str) -> list[Path]:
    return sorted(path for path in (exporter.settings.home / "exports").glob(f"{export_id}/*"))


def start_attempt(exporter: Exporter, export_id: str, storage: Storage) -> threading.Thread:
    """Starts an attempt in a thread."""

    def run() -> None:
        with contextlib.suppress(ExportUnfinished):
            exporter.attempt(export_id, storage)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def row(exporter: Exporter, export_id: str) -> dict[str, Any]:
    with connect(exporter.settings, "mailmart_worker") as connection:
        return (
            connection.cursor(row_factory=psycopg.rows.dict_row)
            .execute("select * from app.exports where export_id = %s", (export_id,))
            .fetchone()
            or {}
        )


def test_a_superseded_attempt_changes_nothing(exporter: Exporter) -> None:
    export_id = exporter.request(export_type="messages", format="ndjson")["export_id"]
    slow = PausedStorage(exporter.storage)
    thread = start_attempt(exporter, export_id, slow)
    assert slow.has_started.wait(60)
    exporter.attempt(export_id)
    completed = exporter.status(export_id)
    assert completed["status"] == "completed"
    slow.may_continue.set()
    thread.join(60)
    assert exporter.status(export_id) | {"download_url": "", "expires_at": ""} == completed | {
        "download_url": "",
        "expires_at": "",
    }
    (file,) = files(exporter, export_id)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == completed["sha256"]
    assert row(exporter, export_id)["attempts"] == 2


@pytest.mark.parametrize("step", ["create", "delete_leftovers"])
def test_a_frozen_attempt_does_not_delete_its_successors_file(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    export_id = exporter.request()["export_id"]
    storage = exporter.storage
    original = getattr(storage, step)

    def after_another_attempt(*args: Any, **options: Any) -> Any:
        exporter.attempt(export_id)
        return original(*args, **options)

    monkeypatch.setattr(storage, step, after_another_attempt)
    exporter.attempt(export_id, storage)
    (file,) = files(exporter, export_id)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == exporter.status(export_id)["sha256"]


def test_a_completed_attempt_deletes_the_files_of_dead_attempts(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    export_id = exporter.request()["export_id"]
    folder = exporter.settings.home / "exports" / export_id
    folder.mkdir(parents=True)
    for name in ("dead.csv", "dying.csv.partial"):
        (folder / name).write_text("nothing")
    exporter.attempt(export_id)
    assert [file.name for file in files(exporter, export_id)] == [row(exporter, export_id)["storage_key"].partition("/")[2]]
    # an error of the deletion does not fail the export
    other_id = exporter.request()["export_id"]
    storage = exporter.storage

    def refuse(prefix: str, *, but: Collection[str] = ()) -> None:
        raise StorageError("Not now.", is_lasting=False)

    monkeypatch.setattr(storage, "delete_leftovers", refuse)
    assert exporter.attempt(other_id, storage) is not None
    assert exporter.status(other_id)["status"] == "completed"


def test_a_canceled_export_leaves_no_file(exporter: Exporter) -> None:
    export_id = exporter.request(export_type="messages", format="csv")["export_id"]
    slow = PausedStorage(exporter.storage)
    thread = start_attempt(exporter, export_id, slow)
    assert slow.has_started.wait(60)
    assert exporter.call("DELETE", f"exports/{export_id}").status_code == 204
    assert exporter.status(export_id)["status"] == "canceled"
    slow.may_continue.set()
    thread.join(60)
    assert exporter.status(export_id)["status"] == "canceled"
    assert files(exporter, export_id) == []


@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "xlsx", "parquet"])
def test_a_failing_attempt_is_retried_twice(exporter: Exporter, form: str) -> None:
    export_id = exporter.request(format=form)["export_id"]
    broken = PausedStorage(exporter.storage, StorageError("The disk is on fire.", is_lasting=False))
    broken.may_continue.set()
    for wait in attempt.RETRY_SECONDS:
        with pytest.raises(ExportUnfinished) as raised:
            exporter.attempt(export_id, broken)
        assert raised.value.seconds == wait
        assert exporter.status(export_id)["status"] == "processing"
    exporter.attempt(export_id, broken)
    status = exporter.status(export_id)
    assert status["status"] == "failed"
    assert status["error"]["message"] == "Failed to generate export: The disk is on fire."
    assert files(exporter, export_id) == []


def test_a_permanent_error_is_not_retried(exporter: Exporter) -> None:
    export_id = exporter.request()["export_id"]
    broken = PausedStorage(exporter.storage, StorageError("The bucket was deleted.", is_lasting=True))
    broken.may_continue.set()
    exporter.attempt(export_id, broken)
    assert exporter.status(export_id)["error"]["message"] == "Failed to generate export: The bucket was deleted."


def test_an_export_fails_after_three_dead_attempts(exporter: Exporter) -> None:
    export_id = exporter.request()["export_id"]
    for number in range(3):
        assert exporter.claim(export_id, f"died-{number}")
    exporter.attempt(export_id)
    status = exporter.status(export_id)
    assert status["status"] == "failed"
    assert "three attempts" in status["error"]["message"]
    # another attempt changes nothing
    exporter.attempt(export_id)
    assert exporter.status(export_id) == status


def test_a_stopping_worker_releases_its_attempt(exporter: Exporter) -> None:
    export_id = exporter.request(export_type="messages", format="csv")["export_id"]
    for _ in range(5):
        with pytest.raises(ExportUnfinished):
            exporter.attempt(export_id, is_stopping=lambda: True)
    assert row(exporter, export_id)["attempts"] == 0
    assert files(exporter, export_id) == []
    exporter.attempt(export_id)
    assert exporter.status(export_id)["status"] == "completed"


def test_an_attempt_that_loses_its_connection_is_retried(exporter: Exporter) -> None:
    export_id = exporter.request(export_type="messages", format="csv")["export_id"]
    slow = PausedStorage(exporter.storage)
    thread = start_attempt(exporter, export_id, slow)
    assert slow.has_started.wait(60)
    with connect(exporter.settings, None) as connection:
        killed = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and state = 'idle in transaction'"
        ).fetchall()
    assert killed
    slow.may_continue.set()
    thread.join(60)
    assert exporter.status(export_id)["status"] == "processing"
    exporter.attempt(export_id)
    assert exporter.status(export_id)["status"] == "completed"


def test_files_of_expired_and_removed_exports_are_deleted(exporter: Exporter) -> None:
    expired, removed, kept = (exporter.request()["export_id"] for _ in range(3))
    for export_id in (expired, removed, kept):
        exporter.attempt(export_id)
    link = exporter.status(expired)["download_url"].removeprefix(exporter.settings.public_url)
    assert exporter.client.get(link, buffered=True).status_code == 200
    with connect(exporter.settings, "mailmart_worker") as connection:
        connection.execute("update app.exports set file_expires_at = now() where export_id = %s", (expired,))
    # even before the cleanup
    assert exporter.client.get(link).status_code == 404
    assert exporter.status(expired)["download_url"] is None
    assert exporter.call("DELETE", f"exports/{removed}").status_code == 204
    assert exporter.call("GET", f"exports/{removed}").status_code == 404
    clean_up(exporter.settings, exporter.storage)
    assert exporter.status(expired)["status"] == "expired"
    assert files(exporter, expired) == files(exporter, removed) == []
    assert row(exporter, removed) == {}
    assert len(files(exporter, kept)) == 1
    assert exporter.status(kept)["status"] == "completed"


def test_a_file_that_cannot_be_deleted_does_not_block_others(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "PAGE_SIZE", 1)
    ids = [exporter.request()["export_id"] for _ in range(4)]
    for export_id in ids:
        exporter.attempt(export_id)
        assert exporter.call("DELETE", f"exports/{export_id}").status_code == 204
    storage = exporter.storage
    delete = storage.delete_leftovers

    def fail_for_the_first_two(prefix: str, *, but: Collection[str] = ()) -> None:
        if prefix.rstrip("/") in ids[:2]:
            raise StorageError("The disk is on fire.", hint="Put it out.", is_lasting=False)
        delete(prefix, but=but)

    monkeypatch.setattr(storage, "delete_leftovers", fail_for_the_first_two)
    with pytest.raises(StorageError, match=r"2 exports .* on fire") as raised:
        clean_up(exporter.settings, storage)
    assert raised.value.hint == "Put it out."
    assert [bool(row(exporter, export_id)) for export_id in ids] == [True, True, False, False]
    clean_up(exporter.settings, exporter.storage)
    assert [row(exporter, export_id) for export_id in ids] == [{}] * 4


def test_files_of_a_canceled_export_are_deleted_after_an_hour(exporter: Exporter) -> None:
    export_id = exporter.request(export_type="messages", format="csv")["export_id"]
    slow = PausedStorage(exporter.storage)
    thread = start_attempt(exporter, export_id, slow)
    assert slow.has_started.wait(60)
    # canceled, and then removed
    for _ in range(2):
        assert exporter.call("DELETE", f"exports/{export_id}").status_code == 204
    clean_up(exporter.settings, exporter.storage)
    assert len(files(exporter, export_id)) == 1
    slow.may_continue.set()
    thread.join(60)
    assert files(exporter, export_id) == []
    # a file that a dying attempt leaves
    folder = exporter.settings.home / "exports" / export_id
    folder.mkdir()
    (folder / "dead.csv").touch()
    with connect(exporter.settings, "mailmart_worker") as connection:
        connection.execute(
            "update app.exports set completed_at = completed_at - interval '61 minutes' where export_id = %s", (export_id,)
        )
    clean_up(exporter.settings, exporter.storage)
    assert files(exporter, export_id) == []
    assert row(exporter, export_id) == {}


def test_an_export_without_a_job_is_enqueued_again(exporter: Exporter) -> None:
    export_id = exporter.request()["export_id"]
    with connect(exporter.settings, "mailmart_owner") as connection:
        before = row(exporter, export_id)["job_id"]
        connection.execute("set local search_path = procrastinate")
        connection.execute("delete from procrastinate_jobs where id = %s", (before,))
        connection.execute("update app.exports set created_at = now() - interval '2 minutes' where export_id = %s", (export_id,))
    clean_up(exporter.settings, exporter.storage)
    after = row(exporter, export_id)["job_id"]
    assert after != before
    with connect(exporter.settings, "mailmart_worker") as connection:
        (args,) = connection.execute("select args from procrastinate.procrastinate_jobs where id = %s", (after,)).fetchone() or ()
    assert args == {"export_id": export_id}


def test_a_worker_sees_no_rows_without_a_workspace(exporter: Exporter) -> None:
    with connect(exporter.settings, "mailmart_worker") as connection:
        assert connection.execute("select count(*) from marts.messages").fetchone() == (0,)
        connection.execute(psycopg.sql.SQL("set local mailmart.workspace_id = {}").format(psycopg.sql.Literal(WORKSPACE)))
        assert connection.execute("select count(*) from marts.messages").fetchone() == (600,)


def test_a_superseded_attempt_that_fails_is_not_retried(exporter: Exporter) -> None:
    export_id = exporter.request(export_type="messages", format="csv")["export_id"]
    slow = PausedStorage(exporter.storage, StorageError("The disk is on fire.", is_lasting=False))
    with ThreadPoolExecutor(1) as executor:
        ended = executor.submit(exporter.attempt, export_id, slow)
        assert slow.has_started.wait(60)
        assert exporter.claim(export_id, "second")
        slow.may_continue.set()
        assert ended.result(60) is None
    assert row(exporter, export_id)["attempt_token"] == "second"


def test_a_superseded_attempt_that_is_stopped_releases_nothing(exporter: Exporter) -> None:
    export_id = exporter.request(export_type="messages", format="csv")["export_id"]

    def is_stopping() -> bool:
        exporter.claim(export_id, "second")
        return True

    assert exporter.attempt(export_id, is_stopping=is_stopping) is None
    assert row(exporter, export_id)["attempts"] == 2


def test_an_export_ends_in_one_transaction_with_the_callback(exporter: Exporter) -> None:
    export_id = exporter.request()["export_id"]

    def fail_to_enqueue(connection: psycopg.Connection, ended_id: str) -> None:
        raise LookupError("the deliveries cannot be enqueued")

    with pytest.raises(ExportUnfinished):
        run_attempt(exporter.settings, exporter.storage, export_id, lambda: False, fail_to_enqueue)
    assert exporter.status(export_id)["status"] == "processing"
    ended: list[tuple[str, bool]] = []

    def record(connection: psycopg.Connection, ended_id: str) -> None:
        ended.append((ended_id, connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS))

    run_attempt(exporter.settings, exporter.storage, export_id, lambda: False, record)
    assert ended == [(export_id, True)]
    assert exporter.status(export_id)["status"] == "completed"
    assert len(files(exporter, export_id)) == 1
