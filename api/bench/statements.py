"""What the server itself says of the time of dbt's statements: the clock of a client has dbt in it."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.embedded.address import embedded_database_url
from api.embedded.folders import find_folders
from api.settings import Settings

# of a statement sent as one message; dbt's carry the node that they are for in a comment
ENTRY = re.compile(r"duration: (\d+\.\d+) ms  statement: /\* (\{.*?\}) \*/", re.DOTALL)
# the lines of an entry after its first begin with a tab
TRANSACTION = re.compile(r"  statement: (begin read only;.*?)\n(?!\t)", re.DOTALL)
NODE = re.compile(r'"node_id": "([^"]+)"')
# the moment at which a statement ended, and how long it had taken
ENDED = re.compile(r"^(\S+ \S+) UTC \[\d+\] LOG:  duration: (\d+\.\d+) ms", re.MULTILINE)


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


def seconds_by_node(scratch: Settings, since: int) -> dict[str, float]:
    """Seconds in statements, by dbt's node (model.mailmart.fct_messages), of what was logged after so many bytes."""
    taken: dict[str, float] = defaultdict(float)
    for milliseconds, comment in ENTRY.findall(_logged(scratch, since)):
        node = NODE.search(comment)
        taken[node.group(1) if node else "hooks"] += float(milliseconds) / 1000
    return dict(taken)


def busy_seconds(scratch: Settings, since: int) -> float:
    """Seconds in which any statement ran, of what was logged after so many bytes: two at the same time count once."""
    busy = 0.0
    until = 0.0
    ended = [
        (datetime.fromisoformat(moment).timestamp(), float(taken) / 1000)
        for moment, taken in ENDED.findall(_logged(scratch, since))
    ]
    for began, end in sorted((end - taken, end) for end, taken in ended):
        busy += max(0.0, end - max(began, until))
        until = max(until, end)
    return busy


def transactions_since(scratch: Settings, since: int) -> list[str]:
    """The reading transactions that were sent as one message each, word by word, of what was logged after so many bytes."""
    return [text.replace("\n\t", "\n") for text in TRANSACTION.findall(_logged(scratch, since))]


def _logged(scratch: Settings, since: int) -> str:
    with (find_folders(scratch.home).servers / "postgres.log").open("rb") as log:
        log.seek(since)
        return log.read().decode(errors="replace")
