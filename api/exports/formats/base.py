"""What a format writes, and where to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from api.contract.exposures import Kind


@dataclass(frozen=True)
class Column:
    """A column of a table; `name` is its header."""

    name: str
    kind: Kind
    is_nullable: bool


@dataclass(frozen=True)
class Table:
    """A table of an export: a sheet in xlsx, with its name."""

    name: str
    columns: tuple[Column, ...]


class Source(Protocol):
    """What an export consists of, in one snapshot of the database.

    Attributes:
        tables: the first is the one that a flat format (csv, ndjson, parquet) has.
        head: what a JSON file begins with: the export's id and type, the workspace, the window, the data's time.
    """

    @property
    def tables(self) -> tuple[Table, ...]: ...

    @property
    def head(self) -> dict[str, Any]: ...

    def rows(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        """A table's rows in batches. Numbers are int or float, dates date, times datetime with a zone; null is None."""

    def csv_lines(self, table: Table) -> Iterator[bytes]:
        """A table as blocks of CSV lines without the header, formulas escape_formula."""

    def documents(self) -> Iterator[dict[str, Any]]:
        """The objects of a JSON file, as the API answers them."""


class Sink(Protocol):
    """Where a file goes to: any binary file that is open for writing, or an upload. Nobody seeks in it."""

    def write(self, data: bytes, /) -> Any:
        """Takes all of the bytes."""
