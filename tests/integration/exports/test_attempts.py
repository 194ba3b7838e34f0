"""Attempts that die, are broken off, or are taken for dead: a file is whole and the export's own, or there is none."""

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
from api.exports import cleanup as expiry
from api.exports import repository as books
from api.exports import run as attempt
from api.exports.cleanup import clean_up
from api.exports.run import run_attempt
from api.exports.storage import Storage, Upload
from tests.integration.exports.conftest import WORKSPACE, Exporter


@pytest.fixture(autouse=True)
def _noted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "SECONDS_BETWEEN_NOTES", 0.0)


class Paused:
    """A storage whose first upload waits, before it takes any bytes, until it is let on."""

    def __init__(self, storage: Storage, problem: Exception | None = None) -> None:
        self.storage = storage
        self.problem = problem
        self.has_begun = threading.Event()
        self.should_continue = threading.Event()

    @contextlib.contextmanager
    def create(self, key: str, content_type: str) -> Iterator[Upload]:
        with self.storage.create(key, content_type) as upload:
            self.has_begun.set()
            assert self.should_continue.wait(60)
            if self.problem:
                raise self.problem
            yield upload

    def delete(self, key: str) -> None:
        self.storage.delete(key)

    def delete_leftovers(self, prefix: str, *, but: Collection[str] = ()) -> None:
        self.storage.delete_leftovers(prefix, but=but)

    def open(self, key: str) -> BinaryIO:
        return self.storage.open(key)

    def url(self, key: str, file_name: str, content_type: str, seconds: int) -> str | None:
        return self.storage.url(key, file_name, content_type, seconds)


def files(exporter: Exporter, export_id: str) -> list[Path]:
    return sorted(path for path in (exporter.settings.home / "exports").glob(f"{export_id}/*"))


def begun(exporter: Exporter, export_id: str, storage: Storage) -> threading.Thread:
    """An attempt that is under way."""

    def run() -> None:
        with contextlib.suppress(ExportUnfinished):
            run_attempt(exporter.settings, storage, export_id, lambda: False)

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


def test_one_that_was_taken_for_dead_changes_nothing(exporter: Exporter) -> None:
    export_id = exporter.ask(export_type="messages", format="ndjson")["export_id"]
    slow = Paused(exporter.storage)
    thread = begun(exporter, export_id, slow)
    assert slow.has_begun.wait(60)
    exporter.attempt(export_id)
    completed = exporter.status(export_id)
    assert completed["status"] == "completed"
    slow.should_continue.set()
    thread.join(60)
    assert exporter.status(export_id) | {"download_url": "", "expires_at": ""} == completed | {
        "download_url": "",
        "expires_at": "",
    }
    (file,) = files(exporter, export_id)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == completed["sha256"]
    assert row(exporter, export_id)["attempts"] == 2


@pytest.mark.parametrize("step", ["create", "delete_leftovers"])
def test_one_that_was_frozen_takes_no_file_away(exporter: Exporter, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    export_id = exporter.ask()["export_id"]
    storage = exporter.storage
    should_continue = getattr(storage, step)

    def after_another_attempt(*args: Any, **options: Any) -> Any:
        exporter.attempt(export_id)
        return should_continue(*args, **options)

    monkeypatch.setattr(storage, step, after_another_attempt)
    run_attempt(exporter.settings, storage, export_id, lambda: False)
    (file,) = files(exporter, export_id)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == exporter.status(export_id)["sha256"]


def test_what_dead_attempts_left_goes_with_the_one_that_completes(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    export_id = exporter.ask()["export_id"]
    folder = exporter.settings.home / "exports" / export_id
    folder.mkdir(parents=True)
    for name in ("dead.csv", "dying.csv.partial"):
        (folder / name).write_text("nothing")
    exporter.attempt(export_id)
    assert [file.name for file in files(exporter, export_id)] == [row(exporter, export_id)["storage_key"].partition("/")[2]]
    # that they cannot be removed is no failure of the export
    other_id = exporter.ask()["export_id"]
    storage = exporter.storage

    def refuse(prefix: str, *, but: Collection[str] = ()) -> None:
        raise StorageError("Not now.", is_lasting=False)

    monkeypatch.setattr(storage, "delete_leftovers", refuse)
    assert run_attempt(exporter.settings, storage, other_id, lambda: False) is not None
    assert exporter.status(other_id)["status"] == "completed"


def test_one_that_is_canceled_leaves_nothing(exporter: Exporter) -> None:
    export_id = exporter.ask(export_type="messages", format="csv")["export_id"]
    slow = Paused(exporter.storage)
    thread = begun(exporter, export_id, slow)
    assert slow.has_begun.wait(60)
    assert exporter.call("DELETE", f"exports/{export_id}").status_code == 204
    assert exporter.status(export_id)["status"] == "canceled"
    slow.should_continue.set()
    thread.join(60)
    assert exporter.status(export_id)["status"] == "canceled"
    assert files(exporter, export_id) == []


@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "xlsx", "parquet"])
def test_one_that_fails_is_tried_three_times(exporter: Exporter, form: str) -> None:
    export_id = exporter.ask(format=form)["export_id"]
    broken = Paused(exporter.storage, StorageError("The disk is on fire.", is_lasting=False))
    broken.should_continue.set()
    for wait in attempt.WAITS:
        with pytest.raises(ExportUnfinished) as raised:
            run_attempt(exporter.settings, broken, export_id, lambda: False)
        assert raised.value.seconds == wait
        assert exporter.status(export_id)["status"] == "processing"
    run_attempt(exporter.settings, broken, export_id, lambda: False)
    status = exporter.status(export_id)
    assert status["status"] == "failed"
    assert status["error"]["message"] == "Failed to generate export: The disk is on fire."
    assert files(exporter, export_id) == []


def test_what_lasts_is_not_tried_again(exporter: Exporter) -> None:
    export_id = exporter.ask()["export_id"]
    broken = Paused(exporter.storage, StorageError("The bucket is gone.", is_lasting=True))
    broken.should_continue.set()
    run_attempt(exporter.settings, broken, export_id, lambda: False)
    assert exporter.status(export_id)["error"]["message"] == "Failed to generate export: The bucket is gone."


def test_attempts_that_all_died_are_a_failure(exporter: Exporter) -> None:
    export_id = exporter.ask()["export_id"]
    with psycopg.connect(str(exporter.settings.database_url), options="-c role=mailmart_worker", autocommit=True) as connection:
        for number in range(3):
            assert books.claim(connection, export_id, f"died-{number}") is not None
    exporter.attempt(export_id)
    status = exporter.status(export_id)
    assert status["status"] == "failed"
    assert "three times" in status["error"]["message"]
    # and nothing more becomes of it
    exporter.attempt(export_id)
    assert exporter.status(export_id) == status


def test_a_worker_that_is_told_to_end_hands_back(exporter: Exporter) -> None:
    export_id = exporter.ask(export_type="messages", format="csv")["export_id"]
    for _ in range(5):
        with pytest.raises(ExportUnfinished):
            run_attempt(exporter.settings, exporter.storage, export_id, lambda: True)
    assert row(exporter, export_id)["attempts"] == 0
    assert files(exporter, export_id) == []
    exporter.attempt(export_id)
    assert exporter.status(export_id)["status"] == "completed"


def test_a_connection_that_dies_is_no_end(exporter: Exporter) -> None:
    export_id = exporter.ask(export_type="messages", format="csv")["export_id"]
    slow = Paused(exporter.storage)
    thread = begun(exporter, export_id, slow)
    assert slow.has_begun.wait(60)
    with connect(exporter.settings, None) as connection:
        killed = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and state = 'idle in transaction'"
        ).fetchall()
    assert killed
    slow.should_continue.set()
    thread.join(60)
    assert exporter.status(export_id)["status"] == "processing"
    exporter.attempt(export_id)
    assert exporter.status(export_id)["status"] == "completed"


def test_files_go_after_their_time_and_with_their_exports(exporter: Exporter) -> None:
    expired, removed, kept = (exporter.ask()["export_id"] for _ in range(3))
    for export_id in (expired, removed, kept):
        exporter.attempt(export_id)
    link = exporter.status(expired)["download_url"].removeprefix(exporter.settings.public_url)
    assert exporter.client.get(link).status_code == 200
    with connect(exporter.settings, "mailmart_worker") as connection:
        connection.execute("update app.exports set file_expires_at = now() where export_id = %s", (expired,))
    # before anybody cleans up
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


def test_one_file_that_cannot_be_removed_keeps_no_other(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "AT_A_TIME", 1)
    ids = [exporter.ask()["export_id"] for _ in range(4)]
    for export_id in ids:
        exporter.attempt(export_id)
        assert exporter.call("DELETE", f"exports/{export_id}").status_code == 204
    storage = exporter.storage
    delete = storage.delete_leftovers

    def fail_of_the_first_two(prefix: str, *, but: Collection[str] = ()) -> None:
        if prefix.rstrip("/") in ids[:2]:
            raise StorageError("The disk is on fire.", hint="Put it out.", is_lasting=False)
        delete(prefix, but=but)

    monkeypatch.setattr(storage, "delete_leftovers", fail_of_the_first_two)
    with pytest.raises(StorageError, match=r"2 exports .* on fire") as raised:
        clean_up(exporter.settings, storage)
    assert raised.value.hint == "Put it out."
    assert [bool(row(exporter, export_id)) for export_id in ids] == [True, True, False, False]
    clean_up(exporter.settings, exporter.storage)
    assert [row(exporter, export_id) for export_id in ids] == [{}] * 4


def test_what_is_removed_while_an_attempt_may_write_goes_an_hour_later(exporter: Exporter) -> None:
    export_id = exporter.ask(export_type="messages", format="csv")["export_id"]
    slow = Paused(exporter.storage)
    thread = begun(exporter, export_id, slow)
    assert slow.has_begun.wait(60)
    # canceled, and then removed
    for _ in range(2):
        assert exporter.call("DELETE", f"exports/{export_id}").status_code == 204
    clean_up(exporter.settings, exporter.storage)
    assert len(files(exporter, export_id)) == 1
    slow.should_continue.set()
    thread.join(60)
    assert files(exporter, export_id) == []
    # as one leaves it that dies now
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


def test_an_export_that_lost_its_job_gets_another(exporter: Exporter) -> None:
    export_id = exporter.ask()["export_id"]
    with connect(exporter.settings, "mailmart_worker") as connection:
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


def test_a_worker_reads_nothing_of_a_workspace_that_it_is_not_at(exporter: Exporter) -> None:
    with connect(exporter.settings, "mailmart_worker") as connection:
        assert connection.execute("select count(*) from marts.messages").fetchone() == (0,)
        connection.execute(psycopg.sql.SQL("set local mailmart.workspace_id = {}").format(psycopg.sql.Literal(WORKSPACE)))
        assert connection.execute("select count(*) from marts.messages").fetchone() == (600,)


def test_one_that_fails_after_another_was_begun_asks_for_no_third(exporter: Exporter) -> None:
    export_id = exporter.ask(export_type="messages", format="csv")["export_id"]
    slow = Paused(exporter.storage, StorageError("The disk is on fire.", is_lasting=False))
    with ThreadPoolExecutor(1) as executor:
        ended = executor.submit(run_attempt, exporter.settings, slow, export_id, lambda: False)
        assert slow.has_begun.wait(60)
        with psycopg.connect(
            str(exporter.settings.database_url), options="-c role=mailmart_worker", autocommit=True
        ) as connection:
            assert books.claim(connection, export_id, "second") is not None
        slow.should_continue.set()
        assert ended.result(60) is None
    assert row(exporter, export_id)["attempt_token"] == "second"


def test_one_that_is_stopped_after_another_was_begun_hands_nothing_back(exporter: Exporter) -> None:
    export_id = exporter.ask(export_type="messages", format="csv")["export_id"]

    def is_stopping() -> bool:
        with connect(exporter.settings, "mailmart_worker") as connection:
            books.claim(connection, export_id, "second")
        return True

    assert run_attempt(exporter.settings, exporter.storage, export_id, is_stopping) is None
    assert row(exporter, export_id)["attempts"] == 2
