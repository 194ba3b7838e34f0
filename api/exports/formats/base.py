"""The interfaces between a format, the data that it writes, and the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from api.contract.exposures import Kind

# Times in files: RFC 3339 in UTC with Z, and microseconds unless they are 0, as PostgreSQL stores them. So a time is the same
# text in CSV, JSON and NDJSON, and the same instant in Parquet; xlsx rounds to milliseconds, which is what spreadsheets can hold.
JSON_OPTIONS = orjson.OPT_UTC_Z


def time_as_text(column_sql: str) -> str:
    """SQL for a timestamptz as orjson writes it with JSON_OPTIONS, whatever the session's DateStyle and TimeZone."""
    return f"""replace(to_char({column_sql} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')"""


def date_as_text(column_sql: str) -> str:
    """SQL for a date as YYYY-MM-DD, whatever the session's DateStyle."""
    return f"to_char({column_sql}, 'YYYY-MM-DD')"


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
        byte_order_mark: whether a CSV file begins with one.
    """

    @property
    def tables(self) -> tuple[Table, ...]: ...

    @property
    def head(self) -> dict[str, Any]: ...

    @property
    def byte_order_mark(self) -> bool: ...

    def rows(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        """A table's rows in batches: int or float, str, bool, date, datetime with a time zone; None for null."""

    def csv_lines(self, table: Table) -> Iterator[bytes]:
        """A table as blocks of CSV lines without the header, with formulas escaped, and dates and times as in JSON."""

    def documents(self) -> Iterator[dict[str, Any]]:
        """The objects of a JSON file, as the API returns them."""


class Sink(Protocol):
    """The file: any binary file that is open for writing, or an upload. Formats never seek in it."""

    def write(self, data: bytes, /) -> Any:
        """Writes all of the bytes."""
