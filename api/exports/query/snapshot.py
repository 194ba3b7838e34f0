"""Reads the data of an export of a query: one database snapshot, as of one published batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import psycopg
from psycopg import sql

from api.analytics.query.response import definitions_of, rows_of, totals_of
from api.contract.publication import Publication
from api.db.citus_queries import begin_reading
from api.db.request_context import tenant_settings
from api.errors import InvalidTimeRange, ValidationFailed
from api.exports.csv_lines import copied_blocks, csv_expression
from api.exports.formats import Column, Table
from api.exports.outcome import MESSAGE_PREFIX, CannotExport, FailureReason
from api.exports.query.plan import PlannedQuery, plan_query, sentences
from api.exports.query.schemas import MAX_ROWS
from api.exports.repository import Export

BATCH_ROWS = 5_000
# of the reason of a failure: a sentence can list all metrics
MAX_REASON_LENGTH = 1_000
TOO_MANY_ROWS = FailureReason(
    "too_many_rows",
    f"{MESSAGE_PREFIX}: the query has more than {MAX_ROWS:,} rows; use fewer dimensions, a filter, a larger granularity or a"
    " limit",
)
DEFINITION_COLUMNS = tuple(
    Column(name, "string", is_nullable=name in ("unit", "formula"))
    for name in ("name", "label", "description", "unit", "formula")
)


class QuerySnapshot:
    """The tables and documents of an export of a query (a formats.Source), in a transaction that the caller ends.

    Attributes:
        row_count: rows of all tables that were read so far.
    """

    def __init__(
        self, connection: psycopg.Connection, export: Export, publication: Publication, on_progress: Callable[[int], None]
    ) -> None:
        """`on_progress` is called often; an exception that it raises ends the export.

        Raises:
            CannotExport: the publication cannot answer the query any more.
        """
        self._connection = connection
        self._export = export
        self._publication = publication
        self._on_progress = on_progress
        self._plan = _planned(export, publication)
        layer = publication.contract.semantic_layer
        self._definitions = definitions_of(layer, self._plan.query, {})
        # the statement reads one row more than the limit
        limit = (self._plan.max_rows or MAX_ROWS + 1) - 1
        self._read = begin_reading(
            connection,
            replace(self._plan.query, limit=limit).settings() | tenant_settings(export.workspace_id, publication.batch_id),
        )
        self._rows = Table(export.export_type, tuple(self._plan.columns.values()))
        self._totals = Table("totals", tuple(self._plan.total_columns.values()))
        self._definition_table = Table("definitions", DEFINITION_COLUMNS)
        self._rows_read = 0
        self.row_count = 0

    @property
    def tables(self) -> tuple[Table, ...]:
        """The rows; in xlsx also the totals, and what metrics and dimensions mean."""
        return (self._rows, self._totals, self._definition_table)

    @property
    def head(self) -> dict[str, Any]:
        """The fields at the start of a JSON file: those of a query's response, and of other exports."""
        query = self._plan.query
        return {
            "export_id": self._export.export_id,
            "export_type": self._export.export_type,
            "workspace_id": self._export.workspace_id,
            "time_range": query.time_range(self._plan.period),
            **({"compare": query.compared_range()} if query.compare_days else {}),
            "data_as_of": self._publication.data_as_of,
            "totals": totals_of(query, self._connection.execute(self._read(self._plan.totals).encode()).fetchall()),
            "definitions": self._definitions,
        }

    @property
    def byte_order_mark(self) -> bool:
        """Whether a CSV file begins with one."""
        return bool(self._export.resolved.get("byte_order_mark", False))

    def rows(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        """A table's rows in batches. If the query has no row, the other tables have none: there is nothing to export."""
        if table == self._rows:
            with self._connection.cursor() as cursor:
                # streamed rows; PostgreSQL does not parallelize the query of a server-side cursor
                rows = cursor.stream(self._select(self._plan.rows, self._plan.columns), size=BATCH_ROWS)
                while batch := list(islice(rows, BATCH_ROWS)):
                    self._count_rows(len(batch))
                    yield batch
        elif self._rows_read and table == self._totals:
            self.row_count += 1
            yield self._connection.execute(self._select(self._plan.totals, self._plan.total_columns)).fetchall()
        elif self._rows_read:
            self.row_count += len(self._definitions)
            yield [
                (name, item["label"], item["description"], item.get("unit"), item.get("formula"))
                for name, item in self._definitions.items()
            ]

    def csv_lines(self, table: Table) -> Iterator[bytes]:
        """The query's rows as blocks of CSV lines with escaped formulas."""
        return copied_blocks(
            self._connection, self._select(self._plan.rows, self._plan.columns, for_csv=True), on_lines=self._count_rows
        )

    def documents(self) -> Iterator[dict[str, Any]]:
        """Each row, as the response of a query has it."""
        names = list(self._plan.columns)
        for batch in self.rows(self._rows):
            yield from rows_of(self._plan.query, names, batch)

    def _select(self, statement: str, columns: Mapping[str, Column], *, for_csv: bool = False) -> sql.Composed:
        """The statement's columns in the order of the file."""
        expressions: list[sql.Composable] = [sql.Identifier("query_rows", name) for name in columns]
        if for_csv:
            expressions = [
                csv_expression(column.kind, expression.as_string(self._connection))
                for column, expression in zip(columns.values(), expressions, strict=True)
            ]
        return sql.SQL("select {} from ({}) as query_rows").format(
            sql.SQL(", ").join(expressions),
            # names of columns are our own manifest's, and values are settings
            sql.SQL(self._read(statement)),
        )

    def _count_rows(self, rows: int) -> None:
        self.row_count += rows
        self._rows_read += rows
        if self._rows_read > MAX_ROWS:
            raise CannotExport(TOO_MANY_ROWS)
        # how many rows there will be is not known
        self._on_progress(0)


def _planned(export: Export, publication: Publication) -> PlannedQuery:
    try:
        return plan_query(publication.contract.semantic_layer, export.request.get("query"), export.requested_on)
    except (ValidationFailed, InvalidTimeRange) as error:
        reason = " ".join(message.removeprefix("query: ") for message in (error.details or {}).get("query", sentences(error)))
        message = f"{MESSAGE_PREFIX}: the query cannot be answered any more: {reason}"
        raise CannotExport(FailureReason("query_outdated", message[:MAX_REASON_LENGTH])) from error
