"""Does one export or one COPY in a process of its own, and prints its rows, bytes, time and memory as JSON."""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import orjson
import psycopg

from api.db.connection import connect, conninfo
from api.db.request_context import apply_settings
from api.exports.attempt import run_attempt
from api.exports.storage import storage_of
from api.settings import Settings
from api.tools.bench.export import COPY_MESSAGES, MeasuredExport, copy_settings


def main(home: str, what: str, which: str) -> None:
    """`export ID` or `copy DATE`."""
    settings = dataclasses.replace(Settings.from_environment(), home=Path(home), database_url=None, redis_url=None)
    work: Callable[[], tuple[int, int]] = {
        "export": lambda: _export(settings, which),
        "copy": lambda: _copy(settings, date.fromisoformat(which)),
    }[what]
    started = time.perf_counter()
    rows, size = work()
    seconds = time.perf_counter() - started
    sys.stdout.buffer.write(orjson.dumps(MeasuredExport(rows, size, seconds, _peak())))


def _peak() -> int:
    """Peak memory of this process in bytes. getrusage starts with the memory of the parent, so /proc is better."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _export(settings: Settings, export_id: str) -> tuple[int, int]:
    run_attempt(settings, storage_of(settings), export_id, lambda: False, lambda connection, export_id: None)
    with connect(settings, "mailmart_worker") as connection:
        row = connection.execute(
            "select row_count, file_size_bytes, error from app.exports where export_id = %s", (export_id,)
        ).fetchone()
    if row is None or row[0] is None:
        raise SystemExit(f"the export failed: {row}")
    storage_of(settings).delete_leftovers(f"{export_id}/")
    return row[0], row[1]


def _copy(settings: Settings, first: date) -> tuple[int, int]:
    rows = size = 0
    with psycopg.connect(conninfo(settings, "mailmart_worker")) as connection:
        apply_settings(connection, copy_settings(first))
        with connection.cursor() as cursor, cursor.copy(COPY_MESSAGES) as copy:
            for line in copy:
                rows += 1
                size += len(line)
    return rows, size


if __name__ == "__main__":
    main(*sys.argv[1:])
