"""Peak disk usage of a build, with the temporary files that are deleted when it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from api.settings import Settings, embedded_database_url
from api.tools.bench.statement_log import superuser

# a sample takes about a millisecond of processor time, which the measurement of the build contains
SAMPLE_INTERVAL_SECONDS = 1.0
SIZE = "select pg_database_size(%s) + (select coalesce(sum(size), 0) from pg_ls_tmpdir())::bigint"


@contextmanager
def watch_disk_usage(scratch: Settings) -> Iterator[Callable[[], int]]:
    """Yields a function that returns the peak size of database and temporary files in bytes, among the samples so far."""
    database = conninfo_to_dict(embedded_database_url(scratch.home))["dbname"]
    stop = threading.Event()
    peak = 0

    with psycopg.connect(superuser(scratch), autocommit=True) as connection:

        def sample() -> int:
            nonlocal peak
            row = connection.execute(SIZE, (database,)).fetchone()
            peak = max(peak, row[0] if row else 0)
            return peak

        def keep_sampling() -> None:
            while not stop.wait(SAMPLE_INTERVAL_SECONDS):
                sample()

        thread = threading.Thread(target=keep_sampling)
        thread.start()
        try:
            yield sample
        finally:
            stop.set()
            thread.join()
