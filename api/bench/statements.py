"""What the server itself says of the time of dbt's statements: the clock of a client has dbt in it."""

from __future__ import annotations

import re
from collections import defaultdict

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.embedded.address import embedded_database_url
from api.embedded.folders import find_folders
from api.settings import Settings

# of a statement sent as one message; dbt's carry the node that they are for in a comment
ENTRY = re.compile(r"duration: (\d+\.\d+) ms  statement: /\* (\{.*?\}) \*/", re.DOTALL)
NODE = re.compile(r'"node_id": "([^"]+)"')


def log_every_statement(scratch: Settings) -> None:
    """Has the embedded server of the scratch home write each statement with its time."""
    superuser = make_conninfo(
        host="127.0.0.1",
        port=conninfo_to_dict(embedded_database_url(scratch.home))["port"],
        user="postgres",
        password=(scratch.home / "superuser_password").read_text(),
        dbname="postgres",
    )
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("alter system set log_min_duration_statement = 0")
        connection.execute("select pg_reload_conf()")


def log_length(scratch: Settings) -> int:
    """Bytes that the log has by now."""
    return (find_folders(scratch.home).servers / "postgres.log").stat().st_size


def seconds_by_node(scratch: Settings, since: int) -> dict[str, float]:
    """Seconds in statements, by dbt's node (model.mailmart.fct_messages), of what was logged after so many bytes."""
    with (find_folders(scratch.home).servers / "postgres.log").open("rb") as log:
        log.seek(since)
        text = log.read().decode(errors="replace")
    taken: dict[str, float] = defaultdict(float)
    for milliseconds, comment in ENTRY.findall(text):
        node = NODE.search(comment)
        taken[node.group(1) if node else "hooks"] += float(milliseconds) / 1000
    return dict(taken)
