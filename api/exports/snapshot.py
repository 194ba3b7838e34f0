"""Reads the data of an export from the marts: one database snapshot, as of one published batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psycopg
from psycopg import sql

from api.contract.export_types import Catalogue, ExportType
from api.contract.exposures import Field, Section
from api.contract.publication import Publication
from api.contract.response import assembler, shape_of, statement
from api.db.citus_queries import begin_reading
from api.db.request_context import CAMPAIGN_ID, apply_settings, tenant_settings
from api.exports.csv_lines import copied_blocks, csv_expression
from api.exports.formats import Column, Table
from api.exports.repository import Export

BATCH_ROWS = 5_000
CAMPAIGN_COLUMNS = (Column("campaign_id", "string", is_nullable=False), Column("campaign_name", "string", is_nullable=False))


@dataclass(frozen=True)
class Scope:
    """What one response of the endpoint covers: a campaign, or the workspace (both fields empty)."""

    campaign_id: str
    campaign_name: str


class Snapshot:
    """The tables and documents of an export (a formats.Source), in a transaction that the caller ends.

    Attributes:
        row_count: rows, or documents, read so far.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        export: Export,
        publication: Publication,
        catalogue: Catalogue,
        on_progress: Callable[[int], None],
    ) -> None:
        """`on_progress` is called often, with the units read so far; an exception that it raises ends the export."""
        self._connection = connection
        self._export = export
        self._publication = publication
        self._catalogue = catalogue
        self._kind: ExportType = catalogue.types[export.export_type]
        self._params: Mapping[str, Any] = export.resolved["params"]
        self._on_progress = on_progress
        context = {**export.resolved["context"], **tenant_settings(export.workspace_id, publication.batch_id)}
        # what makes of a statement the one that this database runs
        self._read = begin_reading(connection, context)
        self._scopes = self._read_scopes()
        self._sections = {section.name: section for section in self._read_sections()}
        self._tables = {name: self._table(section) for name, section in self._sections.items()}
        self.row_count = 0

    @property
    def tables(self) -> tuple[Table, ...]:
        """Flat formats write the first table: the time series if requested, otherwise the main one. xlsx: the main one first."""
        kind = self._kind
        first = kind.series if kind.series in self._sections and self._export.format != "xlsx" else kind.table
        return (self._tables[first], *(table for name, table in self._tables.items() if name != first))

    @property
    def head(self) -> dict[str, Any]:
        """The fields at the start of a JSON file."""
        return {
            "export_id": self._export.export_id,
            "export_type": self._export.export_type,
            "workspace_id": self._export.workspace_id,
            **self._export.resolved["response_fields"],
            "data_as_of": self._publication.data_as_of,
        }

    @property
    def byte_order_mark(self) -> bool:
        """Whether a CSV file begins with one."""
        # an export that was requested before the option existed does not have it
        return bool(self._export.resolved.get("byte_order_mark", False))

    def rows(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        """A table's rows in batches."""
        for scope in self._each_scope(table):
            query = self._query(table, scope, for_csv=False)
            with self._connection.cursor() as cursor:
                # streamed rows; PostgreSQL does not parallelize the query of a server-side cursor
                rows = cursor.stream(query, size=BATCH_ROWS) if self._kind.is_rows else iter(cursor.execute(query))
                while batch := list(islice(rows, BATCH_ROWS)):
                    self._count(len(batch))
                    yield batch

    def csv_lines(self, table: Table) -> Iterator[bytes]:
        """A table as blocks of CSV lines with escaped formulas."""
        for scope in self._each_scope(table):
            yield from copied_blocks(self._connection, self._query(table, scope, for_csv=True), on_lines=self._count)

    def documents(self) -> Iterator[dict[str, Any]]:
        """For each scope, the data that the endpoint returns; for a type without an endpoint, each row."""
        if self._kind.is_rows:
            (table,) = self.tables
            names = [column.name for column in table.columns]
            for batch in self.rows(table):
                for row in batch:
                    yield dict(zip(names, row, strict=True))
            return
        sections = list(self._sections.values())
        assemble = assembler(sections, self._export.resolved["response_fields"], self._params)
        for number, scope in enumerate(self._scopes):
            self._select_scope(scope)
            rows = [self._connection.execute(self._read(statement(section)).encode()).fetchall() for section in sections]
            self._count(1)
            self._on_progress(number + 1)
            # if the endpoint returns campaign_id and campaign_name itself, its values win
            yield {**self._scope_columns(scope), **assemble(rows)}

    def _set_context(self, context: Mapping[str, str]) -> None:
        apply_settings(self._connection, context)

    def _read_scopes(self) -> tuple[Scope, ...]:
        requested = self._export.resolved["campaign_ids"]
        if self._kind.units == "workspace" or (self._kind.units == "campaigns_asked_for" and requested is None):
            return (Scope("", ""),)
        rows = self._connection.execute(
            self._read(f"select campaign_id, campaign_name from {self._catalogue.campaigns_view}").encode()  # noqa: S608 - of our manifest
        ).fetchall()
        scopes = {row[0]: Scope(*row) for row in rows}
        # in the requested order, without campaigns that were deleted since the request
        return tuple(scopes[name] for name in requested if name in scopes) if requested else tuple(scopes.values())

    def _read_sections(self) -> list[Section]:
        kind = self._kind
        wanted = [s for s in kind.sections if s.name != kind.series or self._export.resolved["include_time_series"]]
        return sorted(wanted, key=lambda section: section.name != kind.table) if self._export.format == "xlsx" else wanted

    def _table(self, section: Section) -> Table:
        own = [Column(field.column, field.kind, field.is_nullable) for field in self._shown_fields(section)]
        return Table(section.name, (*(CAMPAIGN_COLUMNS if self._is_by_campaign else ()), *own))

    @property
    def _is_by_campaign(self) -> bool:
        return self._scopes != (Scope("", ""),)

    def _shown_fields(self, section: Section) -> list[Field]:
        """The section's fields for these parameters, without the columns of the scope."""
        scope_columns = [column.name for column in CAMPAIGN_COLUMNS] if self._is_by_campaign else []
        fields = [section.fields[index] for index, _, _ in shape_of(section, self._params)]
        return [field for field in fields if field.column not in scope_columns]

    def _each_scope(self, table: Table) -> Iterator[Scope]:
        """Selects one scope after the other, and reports progress."""
        before = [other.name for other in self.tables].index(table.name) if self._export.format == "xlsx" else 0
        total = len(self._scopes) * (len(self.tables) if self._export.format == "xlsx" else 1)
        for number, scope in enumerate(self._scopes):
            self._select_scope(scope)
            yield scope
            if not self._kind.is_rows:
                done = before * len(self._scopes) + number + 1
                self._on_progress(self._export.units_total * done // total)

    def _select_scope(self, scope: Scope) -> None:
        if self._is_by_campaign:
            self._set_context({CAMPAIGN_ID: scope.campaign_id})

    def _scope_columns(self, scope: Scope) -> dict[str, str]:
        if not self._is_by_campaign:
            return {}
        return {"campaign_id": scope.campaign_id, "campaign_name": scope.campaign_name}

    def _query(self, table: Table, scope: Scope, *, for_csv: bool) -> sql.Composed:
        """The rows of a scope; `for_csv` escapes formulas and writes booleans as true and false."""
        columns: list[sql.Composable] = [
            sql.SQL("{}::text").format(sql.Literal(value)) for value in self._scope_columns(scope).values()
        ]
        columns += [sql.Identifier("view_rows", column.name) for column in table.columns[len(columns) :]]
        if for_csv:
            columns = [
                csv_expression(column.kind, text.as_string(self._connection))
                for column, text in zip(table.columns, columns, strict=True)
            ]
        view = sql.SQL(self._read(self._sections[table.name].view))
        return sql.SQL("select {} from {} as view_rows").format(sql.SQL(", ").join(columns), view)

    def _count(self, rows: int) -> None:
        self.row_count += rows
        if self._kind.is_rows:
            self._on_progress(self.row_count)
