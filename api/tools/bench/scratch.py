"""Embedded servers for one benchmark, in a temporary home folder."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.contract.publication import Publication, PublicationCache
from api.db.connection import connect
from api.db.migrate import migrate
from api.db.pool import ConnectionPool
from api.embedded import servers
from api.embedded.paths import find_folders, has_servers
from api.errors import MailmartError
from api.settings import Settings
from api.tools.demo.build import build
from api.tools.synthetic.generate import GenerateOptions, generate

CAMPAIGNS = 15


@contextmanager
def scratch_servers(settings: Settings) -> Iterator[Settings]:
    """Settings of new, migrated, empty embedded servers. Servers and data are deleted after the block.

    Raises:
        ServerError: a server does not start.
    """
    home = settings.home / "bench"
    shutil.rmtree(home, ignore_errors=True)
    scratch = dataclasses.replace(settings, home=home, database_url=None, redis_url=None)
    home.mkdir(parents=True)
    # the servers are processes of their own: without this, a bench that is ended leaves them
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        servers.start(scratch)
        migrate(scratch)
        yield scratch
    finally:
        servers.stop(scratch)
        if has_servers(home):
            # they may be outside of the home folder
            folders = find_folders(home, scratch.server_user)
            shutil.rmtree(folders.servers, ignore_errors=True)
            shutil.rmtree(folders.sockets, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)


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
