"""The servers of one benchmark: embedded ones in a temporary home folder, or a scratch database of another server."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from api.contract.publication import Publication, PublicationCache
from api.db.connection import connect
from api.db.migrate import migrate
from api.db.pool import ConnectionPool
from api.embedded import servers
from api.embedded.paths import find_folders, has_servers
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.other_server import OPTION, OtherServer, scratch_database
from api.tools.demo.build import build
from api.tools.synthetic.generate import GenerateOptions, generate

CAMPAIGNS = 15
PRODUCTION = "production"


@contextmanager
def scratch_servers(
    settings: Settings, other: OtherServer | None = None, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Settings]:
    """Settings of new, migrated, empty embedded servers. Servers and data are deleted after the block.

    With `other`, PostgreSQL is that one, and its scratch database is migrated and deleted.

    Raises:
        ServerError: a server does not start.
        MailmartError: the other server cannot have the database.
    """
    home = settings.home / "bench"
    shutil.rmtree(home, ignore_errors=True)
    url = other.url if other else None
    scratch = dataclasses.replace(
        settings,
        home=home,
        database_url=url,
        database_url_variable=OPTION,
        redis_url=None,
        read_database_url=None,
        # whatever this shell builds: the benchmarks read the schemas of production
        target=PRODUCTION,
    )
    home.mkdir(parents=True)
    # the servers are processes of their own: without this, a bench that is ended leaves them
    before = signal.signal(signal.SIGTERM, _exit)
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, before)
        if other is not None:
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            stack.enter_context(scratch_database(other))
        stack.enter_context(_started(scratch))
        migrate(scratch)
        if other is not None:
            other.prepare(scratch, progress)
        yield scratch


@contextmanager
def _started(scratch: Settings) -> Iterator[None]:
    """The embedded servers that the settings need."""
    home = scratch.home
    try:
        servers.start(scratch)
        yield
    finally:
        servers.stop(scratch)
        if has_servers(home):
            # they may be outside of the home folder
            folders = find_folders(home, scratch.server_user)
            shutil.rmtree(folders.servers, ignore_errors=True)
            shutil.rmtree(folders.sockets, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def build_warehouse(
    scratch: Settings, messages: int, days: int, progress: Callable[[str], None], campaigns: int = CAMPAIGNS
) -> Publication:
    """Makes flat mail of one workspace, builds it, and returns what is published.

    Raises:
        MailmartError: the build fails.
    """
    progress(f"making {messages:,} messages of {campaigns:,} campaigns over {days} days")
    generate(scratch, GenerateOptions(workspaces=1, campaigns=campaigns, messages=messages, days=days, is_flat=True))
    progress("dbt build")
    build(scratch)
    vacuum_analyze(scratch)
    return current_publication(scratch)


def vacuum_analyze(scratch: Settings) -> None:
    """Does now what autovacuum would do within minutes, in the middle of a measurement."""
    with connect(scratch, "mailmart_owner") as connection:
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze")


def current_publication(scratch: Settings) -> Publication:
    """The publication that a service would serve.

    Raises:
        MailmartError: nothing is published.
    """
    pool = ConnectionPool(scratch)
    pool.open()
    try:
        publication = PublicationCache(pool, scratch.target).current()
    finally:
        pool.close()
    if publication is None:
        raise MailmartError("the build published nothing")
    return publication


def _exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)
