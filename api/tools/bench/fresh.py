"""Measures the time from a committed row to its number in an answer, with continuous builds and events that keep coming."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from psycopg import Connection

from api.builds.continuous import Turn, run_continuous_builds
from api.db.connection import connect
from api.db.request_context import CAMPAIGN_ID, apply_settings, tenant_settings
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.measured import percentile
from api.tools.bench.scratch import CAMPAIGNS, scratch_servers
from api.tools.demo.build import build
from api.tools.synthetic.generate import GenerateOptions, generate

WORKSPACE, CAMPAIGN = "bench", "fresh"
POLL_SECONDS = 0.25
SECONDS_BETWEEN_COMMITS = 0.1
# after the last row was committed
MAX_SECONDS_TO_PUBLISH = 600.0
EVENTS_PER_MESSAGE = 2
# a message is sent and delivered
INSERT = """
    insert into raw.email_events (event_id, workspace_id, message_id, campaign_id, event_type, occurred_at)
    select format('%%s_%%s', message, event_type), %(workspace)s, message::text, %(campaign)s, event_type, clock_timestamp()
    from generate_series(%(first)s::bigint, %(last)s::bigint) as message
    cross join unnest(array['sent', 'delivered']) as event_type
"""
CAMPAIGN_ROWS = """
    insert into raw.workspaces (workspace_id, tenant_id, name) values (%(workspace)s, %(workspace)s, 'bench');
    insert into raw.campaigns (campaign_id, workspace_id, name) values (%(campaign)s, %(workspace)s, 'bench')
"""


@dataclass(frozen=True)
class Freshness:
    """What was measured.

    Attributes:
        seconds: for each message, from the commit of its events until the mart of its campaign counted it; sorted.
        builds: seconds between the turn that began a build and its publication, in order.
    """

    seconds: list[float]
    builds: list[float]

    def percentile(self, share: float) -> float:
        """The time within which that share of the messages was counted."""
        return percentile(self.seconds, share)


def bench_fresh(
    settings: Settings, messages: int, days: int, every: int, rate: int, seconds: float, progress: Callable[[str], None]
) -> Freshness:
    """Loads a history on new embedded servers and builds it. Then `rate` events a second come in for `seconds`.

    Raises:
        MailmartError: the events were not published within ten minutes.
    """
    with scratch_servers(settings) as scratch:
        progress(f"generating {messages:,} messages")
        generate(scratch, GenerateOptions(workspaces=1, campaigns=CAMPAIGNS, messages=messages, days=days, is_flat=True))
        with connect(scratch, "mailmart_owner") as connection:
            for statement in CAMPAIGN_ROWS.split(";"):
                connection.execute(statement.encode(), {"workspace": WORKSPACE, "campaign": CAMPAIGN})
        progress("first build")
        build(scratch)
        committed: list[float] = []
        counted: list[float] = []
        with _building(dataclasses.replace(scratch, build_every=every)) as turns:
            progress(f"{rate} events a second for {timedelta(seconds=round(seconds))}")
            with ThreadPoolExecutor(1) as pool:
                loader = pool.submit(_load, scratch, rate, seconds, committed)
                _watch(scratch, loader, committed, counted)
                loader.result()
        return Freshness(sorted(after - before for before, after in zip(committed, counted, strict=True)), turns)


@contextmanager
def _building(scratch: Settings) -> Iterator[list[float]]:
    """Takes turns of continuous builds; yields the list that gets the seconds of each build."""
    stopping = threading.Event()
    seconds: list[float] = []

    def note(turn: Turn) -> None:
        if turn.outcome == "published":
            seconds.append(turn.seconds)

    thread = threading.Thread(target=run_continuous_builds, args=(scratch, stopping, note), daemon=True)
    thread.start()
    try:
        yield seconds
    finally:
        stopping.set()
        thread.join(timeout=30)


def _load(scratch: Settings, rate: int, seconds: float, committed: list[float]) -> None:
    """Commits the messages of a tenth of a second together. `committed` gets the time of each message."""
    started = time.monotonic()
    with connect(scratch, "mailmart_owner", autocommit=True) as connection:
        elapsed = 0.0
        # those of the last tenth of a second, too: a few seconds have only a few
        while elapsed < seconds:
            time.sleep(SECONDS_BETWEEN_COMMITS)
            elapsed = min(time.monotonic() - started, seconds)
            due = int(elapsed * rate / EVENTS_PER_MESSAGE)
            if due > len(committed):
                first = len(committed) + 1
                parameters = {"workspace": WORKSPACE, "campaign": CAMPAIGN, "first": first, "last": due}
                connection.execute(INSERT.encode(), parameters)
                committed += [time.monotonic()] * (due - len(committed))


def _watch(scratch: Settings, loader: Future[None], committed: list[float], counted: list[float]) -> None:
    """Reads the campaign's number as a request does. Messages are counted in the order in which they were committed."""
    deadline = None
    with connect(scratch, "mailmart_api") as connection:
        while not loader.done() or len(counted) < len(committed):
            if loader.done():
                deadline = deadline or time.monotonic() + MAX_SECONDS_TO_PUBLISH
                if time.monotonic() > deadline:
                    raise MailmartError(f"{len(committed) - len(counted):,} messages were not published in ten minutes")
            number = _sent(connection)
            counted += [time.monotonic()] * (number - len(counted))
            time.sleep(POLL_SECONDS)


def _sent(connection: Connection) -> int:
    with connection.transaction():
        current = connection.execute("select batch_id from app.current_publication where target = 'production'").fetchone()
        apply_settings(connection, {**tenant_settings(WORKSPACE, current[0] if current else 0), CAMPAIGN_ID: CAMPAIGN})
        row = connection.execute("select emails_sent from marts.campaign_performance").fetchone()
    return int(row[0]) if row else 0
