"""Finds the webhook bodies that keep a build from ending, so that they are excluded and reported, and the next build succeeds.

A model that reads the raw logs reads all new bodies in one statement. If that fails or runs into its timeout, the bodies are read
again here, in groups and with a short timeout; a group that fails is divided, until the body that fails alone is found.

What is read is the view that the model reads, so this holds for every provider. The group is marked in a transaction that is
rolled back: its rows get the transaction's id as loaded_xid, by which the view finds new rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from api.builds.repository import latest_build
from api.db.connection import connect
from api.settings import Settings

LOG = logging.getLogger(__name__)
# the models of core that read the raw logs
MODELS = ("fct_email_events", "fct_rejected_events")
GROUP_SIZE = 1000
SECONDS_PER_GROUP = 60.0
# the search ends then, at the next group: a build is waiting for it
MAX_SECONDS = 3600.0

# What the server says if a model failed for another reason than a body. A search would be in vain, and leaves dead rows, which a
# disk that is full has no space for.
NOT_OF_A_BODY = (
    "No space left on device",
    "Disk quota exceeded",
    "temporary file size exceeds",
    "out of memory",
    "lock timeout",
    "terminating connection",
    "server closed the connection",
    "the database system is",
)

# not read by the model yet, the largest first
NEW_BODIES = """
    select payloads.payload_id
    from raw.webhook_payloads as payloads
    cross join app.raw_states_of_run(%s, 'fct_email_events', %s) as states
    where
        (
            states.since is null
            or payloads.loaded_xid >= pg_snapshot_xmin(states.since)
            and not pg_visible_in_snapshot(payloads.loaded_xid, states.since)
        )
        and payloads.payload_id <> all((select app.slow_payload_ids())::bigint[])
    order by pg_column_size(payloads.payload) desc, payloads.payload_id
"""
MARK = "update raw.webhook_payloads set loaded_xid = pg_current_xact_id() where payload_id = any(%s)"
# a row as text: every column of the view is computed
READ = """
    select count(events::text), (select count(*) from {}.stg_rejected_payloads where loaded_xid = pg_current_xact_id())
    from {}.int_loaded_events as events
    where events.loaded_xid = pg_current_xact_id()
"""


@dataclass(frozen=True)
class SlowPayload:
    """A body that was excluded, and why."""

    payload_id: int
    reason: str


def needs_search(connection: psycopg.Connection, target: str) -> bool:
    """Whether the last build of the target failed in a model that reads the raw logs, and a body can be why."""
    build = latest_build(connection, target)
    if build is None or build.status != "failed":
        return False
    failures = [line.partition(":") for line in (build.failure_summary or "").splitlines()]
    return any(model in MODELS and not any(text in error for text in NOT_OF_A_BODY) for model, _, error in failures)


def exclude_slow_payloads(
    settings: Settings, *, seconds: float | None = None, should_continue: Callable[[], bool] = lambda: True
) -> list[SlowPayload]:
    """Reads each body that is new to the last build, and excludes those that cannot be read in `seconds`, or at all.

    A body is not changed: builds no longer read it, and data quality reports it as `unreadable_body`. `should_continue` is called
    before each group; the search ends as soon as it returns false.

    Raises:
        psycopg.OperationalError: the database is unavailable.
    """
    limit = SECONDS_PER_GROUP if seconds is None else seconds
    deadline = time.monotonic() + MAX_SECONDS
    found: list[SlowPayload] = []
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        read = _read_statement(connection, settings)
        build = latest_build(connection, settings.target)
        if read is None or build is None:
            return []
        checked = 0
        for new in _new_bodies(connection, settings.target, build.batch_id):
            groups: list[Sequence[int]] = [new]
            while groups:
                if not should_continue():
                    return found
                if time.monotonic() > deadline:
                    LOG.warning("only the %d largest of the new bodies were checked in %g s", checked, MAX_SECONDS)
                    return found
                group = groups.pop()
                problem = _problem(connection, read, group, limit)
                if problem is not None and len(group) > 1:
                    groups += _halves(group)
                    continue
                checked += len(group)
                if problem is not None:
                    reason = f"webhook_payloads {group[0]}: {problem}"
                    connection.execute("select app.set_payload_aside(%s, %s)", (group[0], reason))
                    LOG.warning("a body is excluded from builds: %s", reason)
                    found.append(SlowPayload(group[0], reason))
    return found


def _new_bodies(connection: psycopg.Connection, target: str, batch_id: int) -> Iterator[list[int]]:
    """The ids of bodies that are new to a build, the largest first, in groups.

    The server keeps them: the first build of a warehouse can have a hundred million. The cursor outlives the transactions that
    read bodies.
    """
    with connection.cursor(name="new_bodies", withhold=True) as cursor:
        cursor.execute(NEW_BODIES, (target, batch_id))
        while rows := cursor.fetchmany(GROUP_SIZE):
            yield [payload_id for (payload_id,) in rows]


def _read_statement(connection: psycopg.Connection, settings: Settings) -> sql.Composed | None:
    """None if the views were never built."""
    schema = settings.schema("staging")
    names = [f"{schema}.int_loaded_events", f"{schema}.stg_rejected_payloads"]
    row = connection.execute(
        "select bool_and(to_regclass(name) is not null) from unnest(%s::text[]) as name", (names,)
    ).fetchone()
    return sql.SQL(READ).format(sql.Identifier(schema), sql.Identifier(schema)) if row == (True,) else None


def _problem(connection: psycopg.Connection, read: sql.Composed, group: Sequence[int], seconds: float) -> str | None:
    """Why a group cannot be read; None if it can."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(MARK, (list(group),))
            connection.execute(sql.SQL("set local statement_timeout = {}").format(sql.Literal(f"{round(seconds * 1000)}ms")))
            connection.execute(read)
    except psycopg.errors.QueryCanceled:
        return f"reading it takes longer than {seconds:g} s"
    except (psycopg.DataError, psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex) as error:
        return f"PostgreSQL cannot read it: {error.diag.message_primary}"
    return None


def _halves(group: Sequence[int]) -> list[Sequence[int]]:
    """The second half, and the first one, which is read before it."""
    middle = len(group) // 2
    return [group[middle:], group[:middle]]
