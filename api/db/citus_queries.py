"""On Citus, the query of a served view in place of its name, with the request's workspace as a literal.

Citus sends a query to the one node that has a workspace only if each table of the query has the workspace as a literal: not if a
view reads it from a setting. So a build keeps the query of each view with marks (macros/platform/citus.sql), and here the literal
is written between them. Row-level security of the nodes' tables holds in any case: it reads the setting, which reaches the nodes
by SET LOCAL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import psycopg

from api.db.request_context import WORKSPACE_ID, apply_settings

# the workers' own sessions get what SET LOCAL sets; set in each transaction, because Citus allows it to readers only
PROPAGATE_SETTINGS = "set local citus.propagate_set_commands = 'local'"
VIEW = re.compile(r'"?\b((?:[a-z_0-9]+_)?marts_served)"?\."?([a-z_0-9]+)"?')
WORKSPACE = re.compile(r"/\*workspace_id\*/.*?/\*end\*/", re.DOTALL)
# the table that `mailmart migrate --citus` makes
IS_DISTRIBUTED = b"select pg_catalog.to_regclass('app.workspace_shards') is not null"
QUERY = "select query from app.served_queries where view_schema = %s and view_name = %s"


class ServedQueries:
    """The queries of served views. A view's name has a hash of its definition, so its query never changes."""

    def __init__(self) -> None:
        self._queries: dict[tuple[str, str], str] = {}

    def rewrite(self, connection: psycopg.Connection, statement: str, workspace_id: str) -> str:
        """The statement with the queries of its views, for one workspace."""
        literal = psycopg.pq.Escaping(connection.pgconn).escape_literal(workspace_id.encode()).decode()

        def replaced(match: re.Match[str]) -> str:
            query = self._query(connection, match[1], match[2])
            return match[0] if query is None else f"({WORKSPACE.sub(lambda _: literal, query)}\n)"

        return VIEW.sub(replaced, statement)

    def has_all(self, statements: list[str]) -> bool:
        """Whether `rewrite` would ask the database for nothing."""
        return all((match[1], match[2]) in self._queries for text in statements for match in VIEW.finditer(text))

    def _query(self, connection: psycopg.Connection, schema: str, name: str) -> str | None:
        query = self._queries.get((schema, name))
        if query is None:
            row = connection.execute(QUERY, (schema, name)).fetchone()
            # of a view that was made before the tables were distributed, until the next build
            if row is None:
                return None
            query = self._queries[schema, name] = str(row[0])
        return query


def is_distributed(connection: psycopg.Connection) -> bool:
    """Whether the tables of core are distributed (`mailmart migrate --citus`)."""
    return connection.execute(IS_DISTRIBUTED).fetchone() == (True,)


def begin_reading(connection: psycopg.Connection, settings: Mapping[str, str]) -> Callable[[str], str]:
    """Applies the settings of a request context to the transaction.

    Returns:
        What makes of a statement on served views the one that this database runs.
    """
    if not is_distributed(connection):
        apply_settings(connection, settings)
        return str
    connection.execute(PROPAGATE_SETTINGS.encode())
    apply_settings(connection, settings)
    queries = ServedQueries()
    return lambda statement: queries.rewrite(connection, statement, settings.get(WORKSPACE_ID, ""))
