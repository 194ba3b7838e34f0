"""Builds measured against the same work in plain SQL: a first build, and nightly runs on histories of several lengths."""

from __future__ import annotations

import dataclasses
import importlib.resources
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg import Connection, sql

from api.db.connection import connect
from api.dbt.runner import run_dbt
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.disk import watched_size
from api.tools.bench.scratch import scratch_servers, settle
from api.tools.bench.statements import busy_seconds, log_every_statement, log_length, seconds_by_node, statements_since
from api.tools.synthetic.generate import GenerateOptions, generate

NEW_SHARE = 0.01
LATE_SHARE = 0.1
EVENTS_OF_A_MESSAGE = 2.52


@dataclass(frozen=True)
class Run:
    """One build and its plain control, in seconds.

    Attributes:
        models: how long any model's statement ran: the control's clock. The data tests run beside them.
        sql: what the server spent on each model's statements; what two models do at the same time counts twice.
        tests: what it spent on the data tests' statements, in the same way.
        plain: the control's steps.
        whole: the build's wall time, with dbt's own.
        busy: how much of it the server was at any statement of it.
        rows: rows opened and closed.
        database_bytes: the database's size after the build.
        peak_bytes: the most that it had while it was built, with temporary files.
    """

    models: float
    sql: dict[str, float]
    tests: float
    plain: dict[str, float]
    whole: float
    busy: float
    rows: int
    database_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class History:
    """A warehouse of so many days: its first build, and nightly runs after it."""

    days: int
    messages: int
    first: Run
    nightly: tuple[Run, ...]


def bench_batch(
    settings: Settings, messages: int, days: int, histories: Sequence[int], nights: int, say: Callable[[str], None]
) -> list[History]:
    """Measures each history in a database of its own, on a server of its own, and removes both.

    `messages` over `days` is the volume of a day, which all histories have; so a night brings the same to each.

    Raises:
        MailmartError: a build fails.
    """
    return [_history(settings, messages, messages * length // days, length, nights, say) for length in histories]


def _history(settings: Settings, volume: int, messages: int, days: int, nights: int, say: Callable[[str], None]) -> History:
    with scratch_servers(settings) as scratch:
        log_every_statement(scratch)
        say(f"{days} days: making {messages:,} messages")
        with _landing_long_ago(scratch):
            generate(scratch, GenerateOptions(workspaces=1, campaigns=15, messages=messages, days=days))
        say(f"{days} days: first build")
        first = _measured(scratch)
        settle(scratch)
        say(f"{days} days: the same in plain SQL")
        first = dataclasses.replace(first, plain=_plain(scratch, "plain_first.sql"))
        _plain(scratch, "plain_indexes.sql")
        nightly = []
        for night in range(nights):
            say(f"{days} days: night {night + 1}")
            _let_a_day_pass(scratch)
            since = _land_night(scratch, volume, night)
            run = _measured(scratch)
            nightly.append(dataclasses.replace(run, plain=_plain(scratch, "plain_nightly.sql", {"since": since})))
        _same_result(scratch)
        return History(days, messages, first, tuple(nightly))


@contextmanager
def _landing_long_ago(scratch: Settings) -> Iterator[None]:
    """A night looks again at the last hours of what has landed: history is not among them."""
    change = "alter table raw.email_events alter column loaded_at set default clock_timestamp()"
    with connect(scratch, "mailmart_owner") as connection:
        connection.execute(f"{change} - interval '1 day'")
    yield
    with connect(scratch, "mailmart_owner") as connection:
        connection.execute(change)
        # the newest landing decides how far back a night looks
        connection.execute(
            "insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at)"
            " values ('newest', 'ws_demo_1', 'newest', 'sent', now())"
        )
    settle(scratch)


def _let_a_day_pass(scratch: Settings) -> None:
    """A night looks again at the last hours before the one before it, not at all that this brought minutes ago."""
    with connect(scratch, "mailmart_owner") as connection:
        connection.execute(
            "update raw.email_events set loaded_at = loaded_at - interval '1 day' where loaded_at > now() - interval '1 day'"
        )
    settle(scratch)


def _land_night(scratch: Settings, volume: int, night: int) -> datetime:
    """Lands 1 % of the volume's events, a tenth of them late; returns when that began."""
    events = int(volume * EVENTS_OF_A_MESSAGE * NEW_SHARE)
    late = int(events * LATE_SHARE)
    with connect(scratch, "mailmart_owner") as connection:
        since = _row(connection, "select clock_timestamp()")
        connection.execute(_text("late_events.sql"), {"events": late})
    # a day of mail, whole: it ends yesterday
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    made = GenerateOptions(
        workspaces=1,
        campaigns=15,
        messages=int((events - late) / EVENTS_OF_A_MESSAGE),
        days=1,
        seed=1000 + night,
        until=yesterday,
    )
    generate(scratch, made)
    moment: datetime = since[0]
    return moment


def _measured(scratch: Settings) -> Run:
    logged = log_length(scratch)
    began = time.monotonic()
    with watched_size(scratch) as peak:
        built = run_dbt(scratch, ["--no-use-colors", "build", "--exclude-resource-type", "unit_test"], quiet=True)
        whole = time.monotonic() - began
        peak_bytes = peak()
    if built.returncode != 0:
        raise MailmartError("dbt build failed", hint="\n".join(built.stdout.splitlines()[-40:]))
    statements = statements_since(scratch, logged)
    of_models = [statement for statement in statements if not statement.node.startswith("test.")]
    with connect(scratch, "mailmart_owner") as connection:
        rows = _row(
            connection,
            "select sum(rows_inserted + rows_expired)::bigint, pg_database_size(current_database())"
            " from app.model_runs where batch_id = (select max(batch_id) from app.batches)",
        )
    return Run(
        models=busy_seconds(of_models),
        sql={node.split(".")[-1]: taken for node, taken in seconds_by_node(of_models).items()},
        tests=sum(taken for node, taken in seconds_by_node(statements).items() if node.startswith("test.")),
        plain={},
        whole=whole,
        busy=busy_seconds(statements),
        rows=rows[0],
        database_bytes=rows[1],
        peak_bytes=peak_bytes,
    )


def _plain(scratch: Settings, name: str, parameters: dict[str, Any] | None = None) -> dict[str, float]:
    taken: dict[str, float] = {}
    with connect(scratch, None) as connection:
        connection.execute("set role mailmart_owner")
        # as a build plans
        connection.execute("set random_page_cost = 1.1")
        connection.execute("set work_mem = '128MB'")
        _, *steps = _text(name).split("-- step: ") if "-- step: " in _text(name) else ("", f"all\n{_text(name)}")
        for step in steps:
            title, body = step.split("\n", 1)
            began = time.monotonic()
            for statement in body.split(";\n"):
                if statement.strip():
                    connection.execute(statement, parameters)
            taken[title] = time.monotonic() - began
        connection.commit()
    return taken


def _same_result(scratch: Settings) -> None:
    """The control is one only if it comes to the same.

    Raises:
        MailmartError: it does not.
    """
    engaged = ["sent", "delivered", "opened", "clicked", "replied"]
    pairs = {
        "fct_campaign_days": ("campaign_days", [*engaged, "bounced", "complained", "unsubscribed"]),
        "fct_send_slots": ("send_slots", engaged),
        "fct_bounce_days": ("bounce_days", ["bounced"]),
    }
    with connect(scratch, "mailmart_owner") as connection:
        for fact, (plain, counts) in pairs.items():
            sums = sql.SQL(", ").join(sql.SQL("sum({})").format(sql.Identifier(count)) for count in counts)
            ours = _row(
                connection,
                sql.SQL("select count(*), {} from core.{} where valid_to = 9223372036854775807").format(
                    sums, sql.Identifier(fact)
                ),
            )
            theirs = _row(connection, sql.SQL("select count(*), {} from plain.{}").format(sums, sql.Identifier(plain)))
            if ours != theirs:
                raise MailmartError(f"{fact} has {ours}, the plain script {theirs}")


def _row(connection: Connection, statement: LiteralString | sql.Composed) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(statement).fetchall()[0]
    return row


def _text(name: str) -> str:
    return importlib.resources.files("api.tools.bench").joinpath(name).read_text()
