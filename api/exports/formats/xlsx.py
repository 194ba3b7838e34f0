"""Excel workbooks, streamed: a sheet per table, and further sheets if the table has more rows than a sheet can hold.

Libraries buffer each sheet on disk and take six times as long. Here a cell is one string, made by a function per column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from api.exports.formats.base import Sink, Source, Table
from api.exports.formats.streams import BlockWriter, UnseekableFile
from api.exports.formats.xlsx_cells import cell_maker, text_cell
from api.exports.formats.xlsx_parts import HEADER, SHEET_END, sheet_start, workbook_parts

# rows that a sheet can hold in Excel, including the header
MAX_ROWS = 1_048_576
# a larger zip entry needs 64-bit sizes, and Excel cannot open those in a streamed zip file
MAX_BYTES = 2_000_000_000
# rows that are formatted at a time
BATCH_ROWS = 1_000
COMPRESSION_LEVEL = 3


def write(source: Source, sink: Sink, *, max_rows: int = MAX_ROWS) -> None:
    """Writes all tables."""
    blocks = BlockWriter(sink)
    names: list[str] = []
    with ZipFile(UnseekableFile(blocks), "w", ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as archive:
        for table in source.tables:
            rows = _Rows(source.rows(table))
            number = 1
            while rows.has_more or number == 1:
                names.append(sheet_name(table.name, number))
                with archive.open(_zip_entry(f"xl/worksheets/sheet{len(names)}.xml"), "w") as file:
                    _write_sheet(file, table, rows, max_rows, is_first=len(names) == 1)
                number += 1
        for path, text in workbook_parts(names).items():
            archive.writestr(_zip_entry(path), text)
    blocks.flush()


def sheet_name(table: str, number: int) -> str:
    """`name`, `name (2)`, …, within Excel's limit of 31 characters."""
    suffix = f" ({number})" if number > 1 else ""
    return table[: 31 - len(suffix)] + suffix


def _zip_entry(path: str) -> ZipInfo:
    # without a timestamp, so that the same rows give the same file
    entry = ZipInfo(path, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = ZIP_DEFLATED
    entry._compresslevel = COMPRESSION_LEVEL  # type: ignore[attr-defined]
    return entry


def _write_sheet(file: IO[bytes], table: Table, rows: _Rows, max_rows: int, *, is_first: bool) -> None:
    start = sheet_start(table, is_first=is_first)
    header = "".join(text_cell(_column_letters(at), 1, column.name, style=HEADER) for at, column in enumerate(table.columns))
    file.write(f'{start}<row r="1">{header}</row>'.encode())
    makers = [cell_maker(column.kind, _column_letters(at)) for at, column in enumerate(table.columns)]
    size, row = 0, 2
    while row <= max_rows and size < MAX_BYTES:
        batch = rows.next(min(BATCH_ROWS, max_rows - row + 1))
        if not batch:
            break
        data = _rows_text(batch, makers, row).encode()
        file.write(data)
        size += len(data)
        row += len(batch)
    file.write(SHEET_END.encode())


def _rows_text(batch: Sequence[tuple[Any, ...]], makers: Sequence[Callable[[int, Any], str]], first: int) -> str:
    numbers = range(first, first + len(batch))
    # column by column, so that its function is looked up once
    columns = [map(make, numbers, values) for make, values in zip(makers, zip(*batch, strict=True), strict=True)]
    starts = [f'<row r="{number}">' for number in numbers]
    return "</row>".join(map("".join, zip(starts, *columns, strict=True))) + "</row>"


def _column_letters(at: int) -> str:
    """A, B, … Z, AA, …"""
    letters = ""
    at += 1
    while at:
        at, rest = divmod(at - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


class _Rows:
    """Splits batches of rows into batches of the size that the writer needs."""

    def __init__(self, batches: Iterator[list[tuple[Any, ...]]]) -> None:
        self._batches = batches
        self._batch: list[tuple[Any, ...]] = []
        self._at = 0

    @property
    def has_more(self) -> bool:
        while self._at >= len(self._batch):
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._batch, self._at = batch, 0
        return True

    def next(self, limit: int) -> list[tuple[Any, ...]]:
        """The next rows, at most `limit`; empty at the end."""
        if not self.has_more:
            return []
        rows = self._batch[self._at : self._at + limit]
        self._at += len(rows)
        return rows
