"""What a pool does otherwise if its database has the extension citus: transactions of requests, and errors of nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import psycopg

from api.db.citus_queries import PROPAGATE_SETTINGS, ServedQueries, is_distributed
from api.db.prepared_statements import Rows
from api.db.request_context import WORKSPACE_ID, set_local_statements
from api.db.text_rows import TextQuery, rows_of, text_transformer

HAS_CITUS = "select exists (select from pg_catalog.pg_extension where extname = 'citus')"

C = TypeVar("C", bound=psycopg.Connection)
T = TypeVar("T")


class NodeUnavailable(Exception):
    """The coordinator has answered that it does not reach a node."""


class CitusTransactions:
    """The transactions of a pool's connections to a coordinator."""

    def __init__(self, begin: Sequence[str]) -> None:
        """`begin`: the statements that begin a transaction."""
        self._begin = begin
        self._served_queries = ServedQueries()
        self._is_distributed = False

    def query(self, connection: psycopg.Connection, settings: Mapping[str, str], statements: Sequence[str]) -> list[Rows]:
        """As the pool's `query`: a pipeline of single statements, which read the nodes of the request's workspace."""
        texts = self._rewrite(connection, settings, statements)
        with connection.pipeline(), connection.transaction():
            connection.execute("set transaction read only")
            for text in (*self._begin, PROPAGATE_SETTINGS, *set_local_statements(connection, settings)):
                connection.execute(text.encode())
            cursors = [connection.execute(text.encode()) for text in texts]
            results: list[Rows] = []
            for statement, cursor in zip(statements, cursors, strict=True):
                rows = cursor.fetchall()
                if isinstance(statement, TextQuery) and cursor.pgresult is not None:
                    rows = rows_of(text_transformer(connection), cursor.pgresult)
                results.append(rows)
        return results

    @staticmethod
    def run(connection: C, work: Callable[[C], T]) -> T:
        """Runs work of any kind.

        Raises:
            NodeUnavailable: the work needs a node that is unavailable. What is on other nodes is available.
        """
        try:
            return work(connection)
        except psycopg.OperationalError as error:
            # a connection that fails between servers
            if not connection.closed and (error.sqlstate or "").startswith("08"):
                raise NodeUnavailable(str(error).strip().splitlines()[0]) from error
            raise

    def _rewrite(self, connection: psycopg.Connection, settings: Mapping[str, str], statements: Sequence[str]) -> list[str]:
        def rewrite() -> list[str]:
            workspace_id = settings.get(WORKSPACE_ID, "")
            return [self._served_queries.rewrite(connection, statement, workspace_id) for statement in statements]

        if self._served_queries.has_all(list(statements)):
            return rewrite()
        with connection.transaction():
            connection.execute("; ".join(self._begin).encode())
            # of a database whose tables were not distributed, the views are read like any other
            self._is_distributed = self._is_distributed or is_distributed(connection)
            return rewrite() if self._is_distributed else list(statements)


def has_citus(connection: psycopg.Connection) -> bool:
    """Whether the database has the extension."""
    return connection.execute(HAS_CITUS).fetchone() == (True,)
