"""One attempt at an export: the file is written whole and the books say so, or neither.

An attempt has a token of its own, in the name of its file and in every write to the books. Whoever was taken for dead, and was
not, writes to its own file, finds that the books are another's, and takes the file away.
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
from api.db.connection import conninfo
from api.errors import ExportUnfinished, StorageError
from api.exports import repository as books
from api.exports.formats import FORMATS
from api.exports.formats.base import Sink
from api.exports.repository import Export, Written
from api.exports.snapshot import Snapshot
from api.exports.storage import Storage
from api.settings import Settings

LOG = logging.getLogger(__name__)
SECONDS_BETWEEN_NOTES = 1.0
WAITS = (5, 30)
SORRY = "Failed to generate export"
# a snapshot, and rows as JSON has them
OPTIONS = "-c datestyle=ISO -c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on"


class _Ended(Exception):
    """The attempt is not the one that counts any more."""


class _Stopped(Exception):
    """The worker is told to end."""


@dataclass(frozen=True)
class Reason:
    """Why there is no file: a word for programs, and what its user reads."""

    word: str
    message: str


NOTHING = Reason("insufficient_data", f"{SORRY}: insufficient data")
NO_LONGER = Reason("unknown_type", f"{SORRY}: nothing is exported under this type any more")
OUR_FAULT = Reason("internal_error", f"{SORRY}: something went wrong on our side")
DATABASE_AWAY = Reason("database_away", f"{SORRY}: the database was away")
DIED = Reason("died", f"{SORRY}: it was begun three times and never finished")


@dataclass(frozen=True)
class End:
    """How an export ended: with a file, or for a reason without."""

    export: Export
    seconds: float
    written: Written | None = None
    reason: Reason | None = None


class _NoFile(Exception):
    """There is nothing to write."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


def run_attempt(settings: Settings, storage: Storage, export_id: str, is_stopping: Callable[[], bool]) -> End | None:
    """Takes an export up, and ends it; None where there was nothing to do, or somebody else does it.

    Raises:
        ExportUnfinished: it has to be taken up again.
        psycopg.Error: the books cannot be written; whoever runs this job next takes it up again.
    """
    token = secrets.token_hex(8)
    with psycopg.connect(conninfo(settings, "mailmart_worker"), autocommit=True, connect_timeout=10) as connection:
        export = books.claim(connection, export_id, token)
        if export is None:
            died = books.fail_exhausted(connection, export_id, DIED.message)
            return End(died, 0.0, reason=DIED) if died else None
        attempt = _Attempt(settings, storage, connection, export, token, is_stopping)
        try:
            return attempt.run()
        except _Ended:
            LOG.info("an attempt at %s is not the one that counts any more", export_id)
            return None
        except _Stopped:
            if books.release(connection, token):
                raise ExportUnfinished(seconds=0) from None
            return None
        except _NoFile as nothing:
            return attempt.fail(nothing.reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, the export ends or is tried again
            return attempt.failed(error)


@dataclass
class _Attempt:
    settings: Settings
    storage: Storage
    connection: psycopg.Connection
    export: Export
    token: str
    is_stopping: Callable[[], bool]
    _noted_at: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def run(self) -> End:
        """Writes the file."""
        export = self.export
        form = FORMATS[export.format]
        key = f"{export.export_id}/{self.token}.{form.extension}"
        with self._snapshot() as snapshot, self.storage.create(key, form.content_type) as upload:
            counted = _Counted(upload)
            form.write(snapshot.source, counted)
            if snapshot.source.row_count == 0:
                raise _NoFile(NOTHING)
            written = Written(
                snapshot.source.row_count, counted.size, counted.digest.hexdigest(), key, snapshot.publication.data_as_of
            )
        if not books.complete(self.connection, export, self.token, written):
            self.storage.delete(key)
            raise _Ended
        self._delete_others(key)
        return End(export, self._seconds(), written)

    def _delete_others(self, key: str) -> None:
        # only now: an attempt that was frozen before it began would take its successor's file away
        try:
            self.storage.delete_leftovers(f"{self.export.export_id}/", but=[key])
        except StorageError as error:
            # they go with the file at the latest
            LOG.warning("what other attempts at %s left is still there: %s %s", self.export.export_id, error, error.hint)

    def fail(self, reason: Reason) -> End | None:
        """Ends the export without a file; None where somebody else has ended it."""
        is_ours = books.fail(self.connection, self.export, self.token, reason.message)
        return End(self.export, self._seconds(), reason=reason) if is_ours else None

    def failed(self, error: Exception) -> End | None:
        """Ends the export, or leaves it to another attempt; None where there is one already.

        Raises:
            ExportUnfinished: there is to be another one.
        """
        LOG.warning("attempt %s at %s failed: %s", self.export.attempts, self.export.export_id, error, exc_info=_trace(error))
        if not books.is_current_attempt(self.connection, self.token):
            return None
        is_lasting = isinstance(error, StorageError) and error.is_lasting
        if self.export.attempts < books.MAX_ATTEMPTS and not is_lasting:
            raise ExportUnfinished(seconds=WAITS[self.export.attempts - 1]) from error
        return self.fail(_reason(error))

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    @contextmanager
    def _snapshot(self) -> Iterator[_Read]:
        string = conninfo(self.settings, "mailmart_worker", options=OPTIONS)
        with psycopg.connect(string, connect_timeout=10) as reading:
            reading.adapters.register_loader("numeric", FloatLoader)
            publication = read_publication(reading, self.settings.target)
            catalogue = publication.contract.catalogue if publication else None
            if publication is None or catalogue is None or self.export.export_type not in catalogue.types:
                raise _NoFile(NO_LONGER)
            yield _Read(publication, Snapshot(reading, self.export, publication, catalogue, self._tick))

    def _tick(self, done: int) -> None:
        now = time.monotonic()
        if now - self._noted_at < SECONDS_BETWEEN_NOTES:
            return
        self._noted_at = now
        if self.is_stopping():
            raise _Stopped
        if not books.note_progress(self.connection, self.token, done):
            raise _Ended


@dataclass(frozen=True)
class _Read:
    publication: Publication
    source: Snapshot


class _Counted:
    """Passes bytes on, and knows how many there were and their SHA-256."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self.digest.update(data)
        self.size += len(data)
        self._sink.write(data)
        return len(data)


def _reason(error: Exception) -> Reason:
    if isinstance(error, StorageError):
        return Reason("storage", f"{SORRY}: {error.message}")
    return DATABASE_AWAY if isinstance(error, psycopg.OperationalError) else OUR_FAULT


def _trace(error: Exception) -> bool:
    # of what is foreseen, the message says it all
    return not isinstance(error, StorageError | psycopg.OperationalError)
