"""Excel workbooks, written in a stream: a sheet a table, and as many more as its rows need.

A library would keep each sheet on disk as it grows, and cost six times the time: a cell here is one piece of text, made by its
column's function.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from api.exports.formats.base import Sink, Source, Table
from api.exports.formats.buffer import Blocks
from api.exports.formats.xlsx_cells import cell_maker, text_cell
from api.exports.formats.xlsx_parts import HEADER, SHEET_END, sheet_start, workbook_parts

# rows of a sheet in Excel, with the header
MAX_ROWS = 1_048_576
# a larger part of a zip file needs 64-bit sizes, with which Excel does not open one that was written in a stream
MAX_BYTES = 2_000_000_000
# rows that are made into text at a time
ROWS_AT_A_TIME = 1_000
COMPRESSION = 3


def write(source: Source, sink: Sink, *, most_rows: int = MAX_ROWS) -> None:
    """Writes all tables."""
    blocks = Blocks(sink)
    names: list[str] = []
    with ZipFile(_Unseekable(blocks), "w", ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
        for table in source.tables:
            rows = _Rows(source.rows(table))
            number = 1
            while rows.has_more or number == 1:
                names.append(sheet_name(table.name, number))
                with archive.open(_part(f"xl/worksheets/sheet{len(names)}.xml"), "w") as file:
                    _write_sheet(file, table, rows, most_rows, is_first=len(names) == 1)
                number += 1
        for path, text in workbook_parts(names).items():
            archive.writestr(_part(path), text)
    blocks.flush()


def sheet_name(table: str, number: int) -> str:
    """`name`, `name (2)`, …; Excel takes 31 characters."""
    suffix = f" ({number})" if number > 1 else ""
    return table[: 31 - len(suffix)] + suffix


def _part(path: str) -> ZipInfo:
    # the same rows make the same file: a part has no time
    part = ZipInfo(path, (1980, 1, 1, 0, 0, 0))
    part.compress_type = ZIP_DEFLATED
    part._compresslevel = COMPRESSION  # type: ignore[attr-defined]
    return part


def _write_sheet(file: IO[bytes], table: Table, rows: _Rows, most_rows: int, *, is_first: bool) -> None:
    start = sheet_start(table, is_first=is_first)
    header = "".join(text_cell(_letters(at), 1, column.name, style=HEADER) for at, column in enumerate(table.columns))
    file.write(f'{start}<row r="1">{header}</row>'.encode())
    makers = [cell_maker(column.kind, _letters(at)) for at, column in enumerate(table.columns)]
    size, row = 0, 2
    while row <= most_rows and size < MAX_BYTES:
        batch = rows.next(min(ROWS_AT_A_TIME, most_rows - row + 1))
        if not batch:
            break
        data = _rows_text(batch, makers, row).encode()
        file.write(data)
        size += len(data)
        row += len(batch)
    file.write(SHEET_END.encode())


def _rows_text(batch: Sequence[tuple[Any, ...]], makers: Sequence[Callable[[int, Any], str]], first: int) -> str:
    numbers = range(first, first + len(batch))
    # a column at a time: its function is looked up once
    columns = [map(make, numbers, values) for make, values in zip(makers, zip(*batch, strict=True), strict=True)]
    starts = [f'<row r="{number}">' for number in numbers]
    return "</row>".join(map("".join, zip(starts, *columns, strict=True))) + "</row>"


def _letters(at: int) -> str:
    """A, B, … Z, AA, …"""
    letters = ""
    at += 1
    while at:
        at, rest = divmod(at - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


class _Rows:
    """Rows in the batches that the writer wants, and whether there are more."""

    def __init__(self, batches: Iterator[list[tuple[Any, ...]]]) -> None:
        self._batches = batches
        self._batch: list[tuple[Any, ...]] = []
        self._at = 0

    @property
    def has_more(self) -> bool:
        while self._at >= len(self._batch):
            following = next(self._batches, None)
            if following is None:
                return False
            self._batch, self._at = following, 0
        return True

    def next(self, most: int) -> list[tuple[Any, ...]]:
        """The next rows of one batch, at most so many; none at the end."""
        if not self.has_more:
            return []
        taken = self._batch[self._at : self._at + most]
        self._at += len(taken)
        return taken


class _Unseekable(io.RawIOBase):
    """Blocks as a zip file takes them: sizes then follow each part."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        given = bytes(data)
        self._blocks.write(given)
        return len(given)
