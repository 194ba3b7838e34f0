"""Statements from the server's log: durations of dbt's, without dbt's own time, and the transactions of the service."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg

from api.db.prepared_statements import Statement as PreparedStatement
from api.embedded.paths import find_folders
from api.embedded.postgres import superuser_conninfo
from api.errors import MailmartError
from api.settings import Settings

LOG_TIMEOUT_SECONDS = 10
# further lines of an entry begin with a tab
ENTRY_END = re.compile(r"\n(?!\t)")
# the run of a prepared statement: session and text. The values of its parameters are the next entry.
EXECUTED = re.compile(r"\S+ \S+ UTC \[(\d+)\] LOG:  duration: \S+ ms  execute mailmart_\w+: (.*)", re.DOTALL)
PARAMETERS = re.compile(r"\S+ \S+ UTC \[\d+\] DETAIL:  [Pp]arameters: (.*)", re.DOTALL)
VALUE = re.compile(r"\$\d+ = '((?:[^']|'')*)'")
# what a transaction of the service begins with: see api/db/request_context.py
FIRST = "select set_config("
# a statement of dbt: its end, its duration, and dbt's node in the comment before it
DBT_STATEMENT = re.compile(
    r'^(\S+ \S+) UTC \[\d+\] LOG:  duration: (\d+\.\d+) ms  statement: /\* \{"app": "dbt", [^\n]*"node_id": "([^"\n]+)"',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Statement:
    """One statement of dbt: start and end in seconds since 1970, and its node, for example model.mailmart.fct_messages."""

    started: float
    ended: float
    node: str


def log_all_statements(scratch: Settings) -> None:
    """Lets the embedded server log each statement with its duration."""
    _configure(scratch, "alter system set log_min_duration_statement = 0")


def stop_logging_statements(scratch: Settings) -> None:
    """Reverts `log_all_statements`."""
    _configure(scratch, "alter system reset log_min_duration_statement")


def superuser(scratch: Settings) -> str:
    """Connection string of the server's superuser."""
    return superuser_conninfo(find_folders(scratch.home, scratch.server_user))


def _configure(scratch: Settings, change: LiteralString) -> None:
    with psycopg.connect(superuser(scratch), autocommit=True) as connection:
        connection.execute(change)
        connection.execute("select pg_reload_conf()")


def log_size(scratch: Settings) -> int:
    """Size of the log in bytes."""
    return (find_folders(scratch.home, scratch.server_user).servers / "postgres.log").stat().st_size


def statements_since(scratch: Settings, since: int) -> list[Statement]:
    """The statements of dbt in the log, from byte `since` on."""
    statements = []
    for logged_at, milliseconds, node in DBT_STATEMENT.findall(_logged(scratch, since)):
        ended = datetime.fromisoformat(logged_at).timestamp()
        statements.append(Statement(ended - float(milliseconds) / 1000, ended, node))
    return statements


def seconds_by_node(statements: Iterable[Statement]) -> dict[str, float]:
    """Seconds in statements of each node. Two statements at the same time both count."""
    seconds: dict[str, float] = defaultdict(float)
    for statement in statements:
        seconds[statement.node] += statement.ended - statement.started
    return dict(seconds)


def busy_seconds(statements: Iterable[Statement]) -> float:
    """Seconds in which at least one statement ran: two statements at the same time count once."""
    busy = 0.0
    until = 0.0
    for started, ended in sorted((statement.started, statement.ended) for statement in statements):
        busy += max(0.0, ended - max(started, until))
        until = max(until, ended)
    return busy


def transactions_since(scratch: Settings, since: int) -> list[list[PreparedStatement]]:
    """The transactions of prepared statements in the log, from byte `since` on."""
    return prepared_transactions(_logged(scratch, since))


@contextmanager
def statements_logged(scratch: Settings) -> Iterator[None]:
    """Lets the server log each statement during the block."""
    log_all_statements(scratch)
    try:
        yield
    finally:
        stop_logging_statements(scratch)


def sent_transaction(scratch: Settings, name: str, send: Callable[[], object]) -> list[PreparedStatement]:
    """The transaction that the service sends for a request, while statements are logged. `send` sends the request.

    Raises:
        MailmartError: it is not in the log.
    """
    deadline = time.monotonic() + LOG_TIMEOUT_SECONDS
    # a session applies a new setting with a delay
    while time.monotonic() <= deadline:
        since = log_size(scratch)
        send()
        time.sleep(0.05)
        sent = transactions_since(scratch, since)
        if sent:
            return sent[-1]
    raise MailmartError(f"the transaction of {name} is not in the server's log")


def prepared_transactions(log: str) -> list[list[PreparedStatement]]:
    """The transactions of prepared statements in a log, by their begin."""
    transactions: list[list[PreparedStatement]] = []
    # by session
    current: dict[str, list[PreparedStatement]] = {}
    entries = [entry.replace("\n\t", "\n") for entry in ENTRY_END.split(log)]
    for entry, following in zip(entries, [*entries[1:], ""], strict=True):
        executed = EXECUTED.fullmatch(entry)
        if executed is None:
            continue
        session, text = executed.groups()
        parameters = PARAMETERS.fullmatch(following)
        values = VALUE.findall(parameters.group(1)) if parameters else []
        if text.startswith(FIRST):
            current[session] = []
            transactions.append(current[session])
        if session in current:
            current[session].append(PreparedStatement(text, tuple(value.replace("''", "'") for value in values)))
    return transactions


def _logged(scratch: Settings, since: int) -> str:
    with (find_folders(scratch.home, scratch.server_user).servers / "postgres.log").open("rb") as log:
        log.seek(since)
        return log.read().decode(errors="replace")
