"""The interfaces between a format, the data that it writes, and the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from api.contract.exposures import Kind


@dataclass(frozen=True)
class Column:
    """A column of a table; `name` is its header in the file."""

    name: str
    kind: Kind
    is_nullable: bool


@dataclass(frozen=True)
class Table:
    """A table of an export; in xlsx a sheet with this name."""

    name: str
    columns: tuple[Column, ...]


class Source(Protocol):
    """The data of an export, from one snapshot of the database.

    Attributes:
        tables: flat formats (csv, ndjson, parquet) write the first one.
        head: the fields at the start of a JSON file: export id and type, workspace, time range, data_as_of.
    """

    @property
    def tables(self) -> tuple[Table, ...]: ...

    @property
    def head(self) -> dict[str, Any]: ...

    def rows(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        """A table's rows in batches: int or float, str, bool, date, datetime with a time zone; None for null."""

    def csv_lines(self, table: Table) -> Iterator[bytes]:
        """A table as blocks of CSV lines without the header, with formulas escaped."""

    def documents(self) -> Iterator[dict[str, Any]]:
        """The objects of a JSON file, as the API returns them."""


class Sink(Protocol):
    """The file: any binary file that is open for writing, or an upload. Formats never seek in it."""

    def write(self, data: bytes, /) -> Any:
        """Writes all of the bytes."""
