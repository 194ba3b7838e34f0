"""One attempt at an export: either the whole file is written and the export is completed, or neither.

Each attempt has a token, which is part of its file's name and a condition of all its updates. If an attempt was taken for dead
but is still alive, it writes to its own file. Its updates then change nothing, and it deletes the file.

A failed attempt is retried: `retry_or_fail` decides, the limit is in attempt_repository.py, and jobs/tasks.py puts the job back.
The job of a worker that died is put back by jobs/recovery.py.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg.types.numeric import FloatLoader

from api.contract.publication import Publication, read_publication
from api.db.connection import connect
from api.db.replica import replica_settings
from api.errors import ExportUnfinished, SessionError, StorageError
from api.exports.attempt_repository import MAX_ATTEMPTS, AttemptRepository, OnEnded
from api.exports.formats import FORMATS
from api.exports.formats.base import Sink
from api.exports.outcome import (
    ATTEMPTS_EXHAUSTED,
    DATABASE_UNAVAILABLE,
    INSUFFICIENT_DATA,
    INTERNAL_ERROR,
    MESSAGE_PREFIX,
    UNKNOWN_TYPE,
    CannotExport,
    ExportOutcome,
    FailureReason,
    WrittenFile,
)
from api.exports.query.snapshot import QuerySnapshot
from api.exports.repository import Export
from api.exports.snapshot import Snapshot
from api.exports.storage import Storage
from api.settings import Settings

LOG = logging.getLogger(__name__)
PROGRESS_INTERVAL_SECONDS = 1.0
# after the first and the second attempt
RETRY_SECONDS = (5, 30)
# one snapshot for the whole file, and dates as JSON has them
READ_OPTIONS = "-c datestyle=ISO -c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on"


class _Superseded(Exception):
    """The export was canceled, or another attempt has started."""


class _Stopped(Exception):
    """The worker is stopping."""


class _ReplicaIsBehind(Exception):
    """The replica does not have the publication, or not all of its erasures."""


def run_attempt(
    settings: Settings, storage: Storage, export_id: str, is_stopping: Callable[[], bool], on_ended: OnEnded
) -> ExportOutcome | None:
    """Claims an export, writes its file and ends it.

    Args:
        settings: of this installation.
        storage: where the file goes.
        export_id: the export.
        is_stopping: whether the worker is stopping; called while the file is written.
        on_ended: called in the transaction in which the export ends.

    Returns:
        How the export ended; None if it had already ended, or another attempt took over.

    Raises:
        ExportUnfinished: the export needs another attempt.
        psycopg.Error: app.exports cannot be updated; the job's next run tries again.
    """
    token = secrets.token_hex(8)
    with connect(settings, "mailmart_worker", autocommit=True) as connection:
        attempts = AttemptRepository(connection, on_ended)
        export = attempts.claim(export_id, token)
        if export is None:
            exhausted = attempts.fail_exhausted(export_id, ATTEMPTS_EXHAUSTED.message)
            return ExportOutcome(exhausted, 0.0, reason=ATTEMPTS_EXHAUSTED) if exhausted else None
        attempt = _Attempt(settings, storage, attempts, export, token, is_stopping, connection)
        try:
            return attempt.run()
        except _Superseded:
            LOG.info("an attempt at %s was superseded", export_id)
            return None
        except _Stopped:
            if attempts.release(token):
                raise ExportUnfinished(seconds=0) from None
            return None
        except CannotExport as error:
            return attempt.fail(error.reason)
        except Exception as error:  # noqa: BLE001 - after any error the export either ends or is retried
            return attempt.retry_or_fail(error)


@dataclass
class _Attempt:
    settings: Settings
    storage: Storage
    attempts: AttemptRepository
    export: Export
    token: str
    is_stopping: Callable[[], bool]
    connection: psycopg.Connection
    _progress_reported_at: float = 0.0
    _started_at: float = field(default_factory=time.monotonic)

    def run(self) -> ExportOutcome:
        """Writes the file and completes the export; from the replica, if one is configured and has the publication."""
        if self.settings.read_database_url is not None:
            try:
                return self._write(replica_settings(self.settings))
            except _ReplicaIsBehind:
                LOG.info("%s is read from the primary: the replica does not have the publication", self.export.export_id)
            except (psycopg.Error, SessionError) as error:
                # the replay can remove what a long query reads: hot standby cancels the query
                LOG.warning("%s is read from the primary: %s", self.export.export_id, str(error).strip())
        return self._write(self.settings)

    def _write(self, source_settings: Settings) -> ExportOutcome:
        export = self.export
        form = FORMATS[export.format]
        key = f"{export.export_id}/{self.token}.{form.extension}"
        with self._open_source(source_settings) as source, self.storage.create(key, form.content_type) as upload:
            sink = _HashingSink(upload)
            form.write(source.snapshot, sink)
            if source.snapshot.row_count == 0:
                raise CannotExport(INSUFFICIENT_DATA)
            file = WrittenFile(source.snapshot.row_count, sink.size, sink.digest.hexdigest(), key, source.publication.data_as_of)
        if not self.attempts.complete(export.export_id, self.token, file):
            self.storage.delete(key)
            raise _Superseded
        self._delete_other_files(key)
        return ExportOutcome(export, self._seconds(), file)

    def _delete_other_files(self, key: str) -> None:
        # not at the start of an attempt: one that was paused there could wake later and delete its successor's file
        try:
            self.storage.delete_leftovers(f"{self.export.export_id}/", but=[key])
        except StorageError as error:
            # they are deleted with the file, at the latest
            LOG.warning("files of other attempts at %s cannot be deleted: %s %s", self.export.export_id, error, error.hint)

    def fail(self, reason: FailureReason) -> ExportOutcome | None:
        """Fails the export; None if this attempt was superseded."""
        is_current = self.attempts.fail(self.export.export_id, self.token, reason.message)
        return ExportOutcome(self.export, self._seconds(), reason=reason) if is_current else None

    def retry_or_fail(self, error: Exception) -> ExportOutcome | None:
        """Fails the export if the error is permanent or no attempts are left; None if this attempt was superseded.

        Raises:
            ExportUnfinished: the export needs another attempt.
        """
        LOG.warning(
            "attempt %s at %s failed: %s", self.export.attempts, self.export.export_id, error, exc_info=_is_unexpected(error)
        )
        if not self.attempts.is_current_attempt(self.token):
            return None
        is_permanent = isinstance(error, StorageError) and error.is_lasting
        if self.export.attempts < MAX_ATTEMPTS and not is_permanent:
            raise ExportUnfinished(seconds=RETRY_SECONDS[self.export.attempts - 1]) from error
        return self.fail(_failure_reason(error))

    def _seconds(self) -> float:
        return time.monotonic() - self._started_at

    @contextmanager
    def _open_source(self, source_settings: Settings) -> Iterator[_ExportSource]:
        is_replica = source_settings.database_url_variable != self.settings.database_url_variable
        with connect(source_settings, "mailmart_worker", options=READ_OPTIONS) as connection:
            connection.adapters.register_loader("numeric", FloatLoader)
            publication = read_publication(connection, self.settings.target)
            if is_replica:
                self._check_replica(publication)
                LOG.info("%s is read from the replica", self.export.export_id)
            catalogue = publication.contract.catalogue if publication else None
            if publication is None or catalogue is None or self.export.export_type not in catalogue.types:
                raise CannotExport(UNKNOWN_TYPE)
            snapshot: Snapshot | QuerySnapshot
            if catalogue.types[self.export.export_type].is_query:
                snapshot = QuerySnapshot(connection, self.export, publication, self._on_progress)
            else:
                snapshot = Snapshot(connection, self.export, publication, catalogue, self._on_progress)
            yield _ExportSource(publication, snapshot)

    def _check_replica(self, replicated: Publication | None) -> None:
        """
        Raises:
            _ReplicaIsBehind: the primary has published another batch, or has erased something of it.
        """
        published = read_publication(self.connection, self.settings.target)
        if published is None or replicated is None or not published.is_same(replicated):
            raise _ReplicaIsBehind

    def _on_progress(self, units_written: int) -> None:
        now = time.monotonic()
        if now - self._progress_reported_at < PROGRESS_INTERVAL_SECONDS:
            return
        self._progress_reported_at = now
        if self.is_stopping():
            raise _Stopped
        if not self.attempts.report_progress(self.token, units_written):
            raise _Superseded


@dataclass(frozen=True)
class _ExportSource:
    publication: Publication
    snapshot: Snapshot | QuerySnapshot


class _HashingSink:
    """Passes bytes on, and counts and hashes them (SHA-256)."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self.digest.update(data)
        self.size += len(data)
        self._sink.write(data)
        return len(data)


def _failure_reason(error: Exception) -> FailureReason:
    if isinstance(error, StorageError):
        return FailureReason("storage", f"{MESSAGE_PREFIX}: {error.message}")
    return DATABASE_UNAVAILABLE if isinstance(error, psycopg.OperationalError) else INTERNAL_ERROR


def _is_unexpected(error: Exception) -> bool:
    # the message of an expected error is enough, without a stack trace
    return not isinstance(error, StorageError | psycopg.OperationalError)
