"""What an export consists of, read out of the marts in one snapshot of the database, as of one published batch."""

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
from api.db.request_context import CAMPAIGN_ID, apply_settings, tenant_settings
from api.exports.formats import Column, Table
from api.exports.formats.formula_injection import defused_lines, escape_formula
from api.exports.repository import Export

ROWS_AT_A_TIME = 5_000
BYTES_AT_A_TIME = 2**18
CAMPAIGN = (Column("campaign_id", "string", is_nullable=False), Column("campaign_name", "string", is_nullable=False))


@dataclass(frozen=True)
class Scope:
    """What an answer of the endpoint is about: a campaign, or ('', '') the workspace."""

    campaign_id: str
    campaign_name: str


class Snapshot:
    """The tables and documents of an export (a formats.Source), out of a transaction that the caller ends.

    Attributes:
        row_count: rows, or documents, that were read so far.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        export: Export,
        publication: Publication,
        catalogue: Catalogue,
        tick: Callable[[int], None],
    ) -> None:
        """`tick` is told how much of the export's size is read, often, and raises to end it."""
        self._connection = connection
        self._export = export
        self._publication = publication
        self._catalogue = catalogue
        self._kind: ExportType = catalogue.types[export.export_type]
        self._given: Mapping[str, Any] = export.resolved["given"]
        self._tick = tick
        self._set({**export.resolved["context"], **tenant_settings(export.workspace_id, publication.batch_id)})
        self._units = self._read_units()
        self._sections = {section.name: section for section in self._read_sections()}
        self._tables = {name: self._table(section) for name, section in self._sections.items()}
        self.row_count = 0

    @property
    def tables(self) -> tuple[Table, ...]:
        """xlsx has all of them, the type's own first; the others have one: the series where it is asked for."""
        kind = self._kind
        first = kind.series if kind.series in self._sections and self._export.format != "xlsx" else kind.table
        return (self._tables[first], *(table for name, table in self._tables.items() if name != first))

    @property
    def head(self) -> dict[str, Any]:
        """What a JSON file begins with."""
        return {
            "export_id": self._export.export_id,
            "export_type": self._export.export_type,
            "workspace_id": self._export.workspace_id,
            **self._export.resolved["shown"],
            "data_as_of": self._publication.data_as_of,
        }

    def rows(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        """A table's rows in batches."""
        for unit in self._each(table):
            query = self._query(table, unit, quote=False)
            with self._connection.cursor() as cursor:
                # chunked rows, not a cursor of the server's, which would never be read in parallel
                found = cursor.stream(query, size=ROWS_AT_A_TIME) if self._kind.is_rows else iter(cursor.execute(query))
                while batch := list(islice(found, ROWS_AT_A_TIME)):
                    self._count(len(batch))
                    yield batch

    def csv_lines(self, table: Table) -> Iterator[bytes]:
        """A table as blocks of CSV lines, formulas escape_formula; made by the server, which is several times faster."""
        for unit in self._each(table):
            copy_out = sql.SQL("copy ({}) to stdout with (format csv)").format(self._query(table, unit, quote=True))
            with self._connection.cursor() as cursor, cursor.copy(copy_out) as copy:
                lines: list[bytes | bytearray | memoryview] = []
                size = 0
                for line in copy:
                    lines.append(line)
                    size += len(line)
                    if size >= BYTES_AT_A_TIME:
                        self._count(len(lines))
                        yield defused_lines(lines)
                        lines, size = [], 0
                self._count(len(lines))
                yield defused_lines(lines)

    def documents(self) -> Iterator[dict[str, Any]]:
        """For each unit what the endpoint answers with; of a type without one, each row."""
        if self._kind.is_rows:
            (table,) = self.tables
            names = [column.name for column in table.columns]
            for batch in self.rows(table):
                for row in batch:
                    yield dict(zip(names, row, strict=True))
            return
        sections = list(self._sections.values())
        assemble = assembler(sections)
        for number, unit in enumerate(self._units):
            self._turn_to(unit)
            found = [self._connection.execute(statement(section).encode()).fetchall() for section in sections]
            self._count(1)
            self._tick(number + 1)
            # the place of campaign_id and name is the endpoint's own, where it has them
            yield {**self._unit_columns(unit), **assemble(found, dict(self._export.resolved["shown"]), self._given)}

    def _set(self, settings: Mapping[str, str]) -> None:
        apply_settings(self._connection, settings)

    def _read_units(self) -> tuple[Scope, ...]:
        named = self._export.resolved["campaign_ids"]
        if self._kind.units == "workspace" or (self._kind.units == "campaigns_asked_for" and named is None):
            return (Scope("", ""),)
        rows = self._connection.execute(
            f"select campaign_id, campaign_name from {self._catalogue.campaigns_view}".encode()  # noqa: S608 - out of our manifest
        ).fetchall()
        units = {row[0]: Scope(*row) for row in rows}
        # in the order asked for; one that is gone since then is left out
        return tuple(units[name] for name in named if name in units) if named else tuple(units.values())

    def _read_sections(self) -> list[Section]:
        kind = self._kind
        wanted = [s for s in kind.sections if s.name != kind.series or self._export.resolved["include_time_series"]]
        return sorted(wanted, key=lambda section: section.name != kind.table) if self._export.format == "xlsx" else wanted

    def _table(self, section: Section) -> Table:
        own = [Column(field.column, field.kind, field.is_nullable) for field in self._shown(section)]
        return Table(section.name, (*(CAMPAIGN if self._is_by_campaign else ()), *own))

    @property
    def _is_by_campaign(self) -> bool:
        return self._units != (Scope("", ""),)

    def _shown(self, section: Section) -> list[Field]:
        """The fields that the request shows; the unit's own stand before them."""
        units = [column.name for column in CAMPAIGN] if self._is_by_campaign else []
        fields = [section.fields[index] for index, _, _ in shape_of(section, self._given)]
        return [field for field in fields if field.column not in units]

    def _each(self, table: Table) -> Iterator[Scope]:
        """The units, one after the other the one that is asked for; and how far that is."""
        before = [other.name for other in self.tables].index(table.name) if self._export.format == "xlsx" else 0
        whole = len(self._units) * (len(self.tables) if self._export.format == "xlsx" else 1)
        for number, unit in enumerate(self._units):
            self._turn_to(unit)
            yield unit
            if not self._kind.is_rows:
                done = before * len(self._units) + number + 1
                self._tick(self._export.size * done // whole)

    def _turn_to(self, unit: Scope) -> None:
        if self._is_by_campaign:
            self._set({CAMPAIGN_ID: unit.campaign_id})

    def _unit_columns(self, unit: Scope) -> dict[str, str]:
        if not self._is_by_campaign:
            return {}
        return {"campaign_id": unit.campaign_id, "campaign_name": unit.campaign_name}

    def _query(self, table: Table, unit: Scope, *, quote: bool) -> sql.Composed:
        """A unit's rows of a table; with `quote` as texts for a file that a spreadsheet opens."""
        columns: list[sql.Composable] = [
            sql.SQL("{}::text").format(sql.Literal(value)) for value in self._unit_columns(unit).values()
        ]
        columns += [sql.Identifier("shown", column.name) for column in table.columns[len(columns) :]]
        if quote:
            columns = [
                self._quoted(column, text.as_string(self._connection))
                for column, text in zip(table.columns, columns, strict=True)
            ]
        view = sql.SQL(self._sections[table.name].view)
        return sql.SQL("select {} from {} as shown").format(sql.SQL(", ").join(columns), view)

    @staticmethod
    def _quoted(column: Column, text: str) -> sql.SQL:
        if column.kind == "string":
            return sql.SQL(escape_formula(text))
        # true and false, where COPY writes t and f
        return sql.SQL(f"{text}::text" if column.kind == "boolean" else text)

    def _count(self, rows: int) -> None:
        self.row_count += rows
        if self._kind.is_rows:
            self._tick(self.row_count)
