"""Measures an erase of a workspace of millions of messages, and what sessions beside it notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import Connection

from api.db.connection import connect
from api.erasure.erase import erase_workspace
from api.settings import Settings
from api.tools.bench.processor_time import processor_seconds

SECONDS_BETWEEN = 0.02
WORKSPACE = "select workspace_id from core.fct_campaign_days limit 1"
READ = "select count(*) from core.fct_campaign_days where workspace_id = %(workspace)s"
# of another workspace, which is loaded on
LOAD = """
    insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at)
    values (%(event)s, 'bench_other', %(event)s, 'sent', now())
"""
LSN = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"


@dataclass(frozen=True)
class MeasuredErase:
    """An erase, with the vacuum after it, which removes what it has deleted from the files.

    Attributes:
        rows: rows that were deleted.
        seconds: wall time.
        processor: processor time of PostgreSQL, that of the sessions beside the erase among it.
        wal_bytes: write-ahead log written meanwhile, also by those sessions.
        reads: rows of the workspace in core.fct_campaign_days as another session saw them, in order, without repetitions.
        slowest_read: seconds of the slowest of those reads.
        loaded: rows of another workspace loaded meanwhile, each in a transaction of its own.
        slowest_load: seconds of the slowest of those transactions.
    """

    rows: int
    seconds: float
    processor: float
    wal_bytes: int
    reads: tuple[int, ...]
    slowest_read: float
    loaded: int
    slowest_load: float


@dataclass
class _Session:
    """What a session beside the erase has noticed."""

    count: int = 0
    slowest: float = 0.0
    values: list[int] = field(default_factory=list)
    error: Exception | None = None


def bench_erase(scratch: Settings) -> MeasuredErase:
    """Erases the workspace of a warehouse that has one.

    Raises:
        MailmartError, psycopg.Error: the erase fails, or a session beside it.
    """
    with connect(scratch, "mailmart_owner") as connection:
        workspace = str(_value(connection, WORKSPACE))
        lsn = _value(connection, LSN)
    reading, loading = _Session(), _Session()

    def read(connection: Connection) -> None:
        row = connection.execute(READ, {"workspace": workspace}).fetchone()
        value = int(row[0]) if row else 0
        if reading.values[-1:] != [value]:
            reading.values.append(value)

    def load(connection: Connection) -> None:
        connection.execute(LOAD, {"event": f"bench_other_{loading.count}"})

    before = processor_seconds(scratch)
    with _repeated(scratch, read, reading), _repeated(scratch, load, loading):
        started = time.monotonic()
        erasure = erase_workspace(scratch, workspace, is_dry_run=False, report=lambda _: None)
        seconds = time.monotonic() - started
    with connect(scratch, "mailmart_owner") as connection:
        wal_bytes = int(_value(connection, LSN)) - int(lsn)
    return MeasuredErase(
        rows=sum(erasure.rows.values()),
        seconds=seconds,
        processor=processor_seconds(scratch) - before,
        wal_bytes=wal_bytes,
        reads=tuple(reading.values),
        slowest_read=reading.slowest,
        loaded=loading.count,
        slowest_load=loading.slowest,
    )


@contextmanager
def _repeated(scratch: Settings, work: Callable[[Connection], None], session: _Session) -> Iterator[None]:
    """Does the work again and again in a session of its own, each time in a transaction, while the block runs."""
    stop = threading.Event()
    begun = threading.Event()

    def repeat() -> None:
        try:
            with connect(scratch, "mailmart_owner") as connection:
                while not stop.is_set():
                    started = time.monotonic()
                    work(connection)
                    connection.commit()
                    session.slowest = max(session.slowest, time.monotonic() - started)
                    session.count += 1
                    begun.set()
                    stop.wait(SECONDS_BETWEEN)
        # in the thread, nobody would see it, and the numbers of before would be taken for all
        except Exception as error:  # noqa: BLE001
            session.error = error
        finally:
            begun.set()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        begun.wait()
        yield
    finally:
        stop.set()
        thread.join()
    if session.error is not None:
        raise session.error


def _value(connection: Connection, query: str) -> int | str:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else ""
