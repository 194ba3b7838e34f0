"""How much room a build takes while it runs: sorts and temporary tables are gone when it has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from api.embedded.database_url import embedded_database_url
from api.settings import Settings
from api.tools.bench.statements import superuser

SECONDS_BETWEEN = 0.2
SIZE = "select pg_database_size(%s) + (select coalesce(sum(size), 0) from pg_ls_tmpdir())::bigint"


@contextmanager
def watched_size(scratch: Settings) -> Iterator[Callable[[], int]]:
    """Gives a function for the most bytes that database and temporary files have had since, at the moments looked at."""
    database = conninfo_to_dict(embedded_database_url(scratch.home))["dbname"]
    stop = threading.Event()
    most = 0

    with psycopg.connect(superuser(scratch), autocommit=True) as connection:

        def look() -> int:
            nonlocal most
            row = connection.execute(SIZE, (database,)).fetchone()
            most = max(most, row[0] if row else 0)
            return most

        def keep_looking() -> None:
            while not stop.wait(SECONDS_BETWEEN):
                look()

        watching = threading.Thread(target=keep_looking)
        watching.start()
        try:
            yield look
        finally:
            stop.set()
            watching.join()
