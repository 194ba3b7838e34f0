"""What the server itself says of the time of dbt's statements: the clock of a client has dbt in it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.embedded.database_url import embedded_database_url
from api.embedded.paths import find_folders
from api.settings import Settings

# the lines of an entry after its first begin with a tab
TRANSACTION = re.compile(r"  statement: (begin read only;.*?)\n(?!\t)", re.DOTALL)
# dbt's: the moment at which it ended, how long it had taken, and the node that it is for, in a comment before it
ENDED = re.compile(
    r'^(\S+ \S+) UTC \[\d+\] LOG:  duration: (\d+\.\d+) ms  statement: /\* \{"app": "dbt", [^\n]*"node_id": "([^"\n]+)"',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Statement:
    """One of dbt's: when it began and ended, in seconds since 1970, and its node (model.mailmart.fct_messages; None: of none)."""

    began: float
    ended: float
    node: str


def log_every_statement(scratch: Settings) -> None:
    """Has the embedded server of the scratch home write each statement with its time."""
    _configure(scratch, "alter system set log_min_duration_statement = 0")


def log_no_statement(scratch: Settings) -> None:
    """Takes that back."""
    _configure(scratch, "alter system reset log_min_duration_statement")


def superuser(scratch: Settings) -> str:
    """A connection string of the scratch server's superuser."""
    return make_conninfo(
        host="127.0.0.1",
        port=conninfo_to_dict(embedded_database_url(scratch.home))["port"],
        user="postgres",
        password=(scratch.home / "superuser_password").read_text(),
        dbname="postgres",
    )


def _configure(scratch: Settings, change: LiteralString) -> None:
    with psycopg.connect(superuser(scratch), autocommit=True) as connection:
        connection.execute(change)
        connection.execute("select pg_reload_conf()")


def log_length(scratch: Settings) -> int:
    """Bytes that the log has by now."""
    return (find_folders(scratch.home).servers / "postgres.log").stat().st_size


def statements_since(scratch: Settings, since: int) -> list[Statement]:
    """What of dbt's was logged after so many bytes."""
    found = []
    for moment, milliseconds, node in ENDED.findall(_logged(scratch, since)):
        ended = datetime.fromisoformat(moment).timestamp()
        found.append(Statement(ended - float(milliseconds) / 1000, ended, node))
    return found


def seconds_by_node(statements: Iterable[Statement]) -> dict[str, float]:
    """Seconds in statements of each node; of two at the same time, both count."""
    taken: dict[str, float] = defaultdict(float)
    for statement in statements:
        taken[statement.node] += statement.ended - statement.began
    return dict(taken)


def busy_seconds(statements: Iterable[Statement]) -> float:
    """Seconds in which any of them ran: two at the same time count once."""
    busy = 0.0
    until = 0.0
    for began, ended in sorted((statement.began, statement.ended) for statement in statements):
        busy += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return busy


def transactions_since(scratch: Settings, since: int) -> list[str]:
    """The reading transactions that were sent as one message each, word by word, of what was logged after so many bytes."""
    return [text.replace("\n\t", "\n") for text in TRANSACTION.findall(_logged(scratch, since))]


def _logged(scratch: Settings, since: int) -> str:
    with (find_folders(scratch.home).servers / "postgres.log").open("rb") as log:
        log.seek(since)
        return log.read().decode(errors="replace")
