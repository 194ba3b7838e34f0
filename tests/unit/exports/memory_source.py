"""In-memory sources for the formats, in place of a database snapshot."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from api.exports.formats import Column, Table

BATCH_ROWS = 5_000

ALL_KINDS = Table(
    "messages",
    (
        Column("message_id", "string", False),
        Column("emails_sent", "integer", True),
        Column("open_rate", "number", True),
        Column("is_opened", "boolean", True),
        Column("sent_date", "date", True),
        Column("sent_at", "date-time", True),
        Column("diagnostic", "string", True),
    ),
)
ROWS: list[tuple[Any, ...]] = [
    ("m1", 5000, 98.25, True, date(2025, 11, 1), datetime(2025, 11, 1, 10, 5, 30, tzinfo=UTC), "Mailbox full"),
    ("m2", None, None, None, None, None, None),
    ("m3", -7, -0.01, False, date(1904, 1, 1), datetime(1904, 1, 1, 23, 59, 59, tzinfo=UTC), ""),
    ("m4", 2**53 + 1, 1e-7, False, date(1900, 2, 28), datetime(1900, 2, 28, 6, tzinfo=UTC), " "),
    ("m5", -(2**63), 1e300, True, date(1900, 3, 1), datetime(1900, 3, 1, tzinfo=UTC), "-5"),
    ("m6", 2**63 - 1, 0.1, True, date(1899, 12, 31), datetime(1899, 12, 31, 23, 59, tzinfo=UTC), "0012"),
    ("m7", 0, 0.0, True, date(9999, 12, 31), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "1e5"),
    ("m8", 1, 1.0, True, date(1, 1, 1), datetime(1970, 1, 1, tzinfo=UTC), "TRUE"),
]


@dataclass
class MemorySource:
    """A source whose rows come from a function."""

    tables: tuple[Table, ...]
    read: Callable[[Table], Iterator[list[tuple[Any, ...]]]]
    byte_order_mark: bool = False
    head: dict[str, Any] = field(default_factory=lambda: {"export_id": "exp_1", "data_as_of": datetime(2025, 11, 2, tzinfo=UTC)})

    def rows(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        return self.read(table)

    def csv_lines(self, table: Table) -> Iterator[bytes]:
        """Similar to COPY, except for booleans, times and empty texts."""
        for batch in self.read(table):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(batch)
            yield text.getvalue().encode()

    def documents(self) -> Iterator[dict[str, Any]]:
        table = self.tables[0]
        for batch in self.read(table):
            for row in batch:
                yield dict(zip((column.name for column in table.columns), row, strict=True))


def source_of(rows: Sequence[tuple[Any, ...]], *tables: Table) -> MemorySource:
    """A source with the same rows in every table."""

    def read(_: Table) -> Iterator[list[tuple[Any, ...]]]:
        for start in range(0, len(rows), BATCH_ROWS):
            yield list(rows[start : start + BATCH_ROWS])

    return MemorySource(tables or (ALL_KINDS,), read)


def source_of_texts(*values: str) -> MemorySource:
    """A source with one text column."""
    return source_of([(value,) for value in values], Table("texts", (Column("text", "string", False),)))
