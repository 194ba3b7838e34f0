"""Each format, read back by independent libraries."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zipfile import ZipFile

import openpyxl
import pyarrow.parquet as pq
import pytest

from api.exports.formats import FORMATS, Column, Source, Table
from api.exports.formats import parquet as parquet_format
from api.exports.formats import xlsx as xlsx_format
from api.exports.formats.formula_injection import is_dangerous
from tests.unit.exports.memory_source import ALL_KINDS, ROWS, MemorySource, source_of, source_of_texts

NAMES = [column.name for column in ALL_KINDS.columns]
HOSTILE = [
    "=1+1",
    '=HYPERLINK("http://elsewhere.test","click")',
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =cmd|' /C calc'!A0",
    "\ufeff=1",
    "\u3000＝1",  # noqa: RUF001
    "http://elsewhere.test/",
    "mailto:a@b.test",
    "{=1}",
    '"quoted", and ""twice""',
    "two\nlines",
    "two\r\nlines\r",
    "a;b\tc|d,e",
    "مرحبا \u202ebidi\u202c שלום",
    "👩‍👩‍👧‍👦 🇪🇺 e\u0301",
    "\x01\x02\x08\x0b\x0c\x1f\x7f\x80\x9f",
    "\ufffe\uffff",
    "_x0041_ _x000D_ _xZZZZ_ _x005F_x0041_",
    "<a href='x'>&amp;</a> ]]> <!-- -->",
    " spaces at both ends ",
    " \n\t ",
    "",
    "NULL",
    "TRUE",
    "0012",
    "1e5",
    "2025-01-01",
    "9007199254740993",
    "x" * 32_767,
    "'already quoted",
]


def written(form: str, source: Source) -> bytes:
    out = io.BytesIO()
    FORMATS[form].write(source, NotSeekable(out))
    return out.getvalue()


class NotSeekable:
    """A sink that supports only write."""

    def __init__(self, out: io.BytesIO) -> None:
        self._out = out

    def write(self, data: bytes, /) -> None:
        assert isinstance(data, bytes)
        self._out.write(data)


def sheets(data: bytes) -> dict[str, list[tuple[Any, ...]]]:
    workbook = openpyxl.load_workbook(io.BytesIO(data))
    return {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in workbook}


def as_excel_reads(text: str) -> str:
    """Decodes _xHHHH_ (ECMA-376, 22.9.2.19), which openpyxl does not."""
    return re.sub("_x([0-9A-Fa-f]{4})_", lambda match: chr(int(match[1], 16)), text)


@pytest.mark.parametrize("name", FORMATS)
def test_files_start_with_the_signature_of_their_format(name: str) -> None:
    assert (FORMATS[name].name, FORMATS[name].extension) == (name, name)
    data = written(name, source_of(ROWS))
    signature = {"csv": b"message_id,", "json": b"{", "ndjson": b"{", "xlsx": b"PK\x03\x04", "parquet": b"PAR1"}[name]
    assert data.startswith(signature)


def test_csv_contains_a_header_and_the_lines_of_the_source() -> None:
    source = source_of_texts(*(text for text in HOSTILE if "\r" not in text))
    text = written("csv", source).decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["text"],
        *(list(row) for batch in source.rows(source.tables[0]) for row in batch),
    ]
    odd = Table("odd", (Column('a "name", of two\nlines', "string", False), Column("é", "integer", True)))
    assert next(csv.reader(io.StringIO(written("csv", source_of([], odd)).decode(), newline=""))) == [
        column.name for column in odd.columns
    ]


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_json_contains_all_values(form: str) -> None:
    data = written(form, source_of(ROWS))
    if form == "json":
        whole = json.loads(data)
        assert list(whole) == ["export_id", "data_as_of", "data"]
        assert whole["data_as_of"] == "2025-11-02T00:00:00Z"
        actual = whole["data"]
    else:
        actual = [json.loads(line) for line in data.decode().splitlines()]
        assert data.endswith(b"}\n")
    expected_rows = [
        [value.isoformat().replace("+00:00", "Z") if isinstance(value, date) else value for value in row] for row in ROWS
    ]
    assert actual == [dict(zip(NAMES, row, strict=True)) for row in expected_rows]


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_json_preserves_any_text(form: str) -> None:
    data = written(form, source_of_texts(*HOSTILE))
    documents = json.loads(data)["data"] if form == "json" else [json.loads(line) for line in data.split(b"\n")[:-1]]
    assert [document["text"] for document in documents] == HOSTILE


def test_json_without_documents_or_head() -> None:
    assert json.loads(written("json", source_of([]))) == {"export_id": "exp_1", "data_as_of": "2025-11-02T00:00:00Z", "data": []}
    empty = MemorySource((ALL_KINDS,), lambda _: iter(()), head={})
    assert json.loads(written("json", empty)) == {"data": []}
    assert written("ndjson", empty) == b""


def test_parquet_contains_types_and_all_values() -> None:
    data = written("parquet", source_of(ROWS))
    schema = pq.read_schema(io.BytesIO(data))
    assert [(field.name, str(field.type), field.nullable) for field in schema] == [
        ("message_id", "string", False),
        ("emails_sent", "int64", True),
        ("open_rate", "double", True),
        ("is_opened", "bool", True),
        ("sent_date", "date32[day]", True),
        ("sent_at", "timestamp[us, tz=UTC]", True),
        ("diagnostic", "string", True),
    ]
    assert [tuple(row.values()) for row in pq.read_table(io.BytesIO(data)).to_pylist()] == ROWS


@pytest.mark.slow
def test_parquet_row_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_format, "MAX_ROWS", 12_000)
    table = Table("numbers", (Column("number", "integer", False),))
    data = written("parquet", source_of([(number,) for number in range(40_000)], table))
    file = pq.ParquetFile(io.BytesIO(data))
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert max(groups) <= 15_000
    assert file.read().column("number").to_pylist() == list(range(40_000))
    monkeypatch.setattr(parquet_format, "MAX_BYTES", 100_000)
    data = written("parquet", source_of_texts(*("long" * 5_000 for _ in range(50_00)), "last"))
    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 2


def test_xlsx_contains_all_values() -> None:
    (actual,) = sheets(written("xlsx", source_of(ROWS))).values()
    assert actual[0] == tuple(NAMES)
    for row, cells in zip(ROWS, actual[1:], strict=True):
        assert cells == tuple(map(as_a_cell, row))


def as_a_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) >= 10**15:
        return str(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None) if value.year >= 1900 else value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return datetime.combine(value, datetime.min.time()) if value.year >= 1900 else value.isoformat()
    return value


def days_of_excel() -> tuple[list[date], list[datetime], MemorySource]:
    """The days around 29 February 1900, which exists only in Excel, and others; a moment of each; and their table."""
    days = [date(1900, 1, 1) + timedelta(days=number) for number in range(90)] + [date(1904, 1, 1), date(2024, 2, 29)]
    table = Table("days", (Column("day", "date", False), Column("moment", "date-time", False)))
    moments = [datetime(day.year, day.month, day.day, 13, 59, 59, tzinfo=UTC) for day in days]
    return days, moments, source_of(list(zip(days, moments, strict=True)), table)


def test_xlsx_dates_are_right() -> None:
    days, moments, source = days_of_excel()
    (actual,) = sheets(written("xlsx", source)).values()
    assert [row[0].date() for row in actual[1:]] == days
    assert [row[1] for row in actual[1:]] == [moment.replace(tzinfo=None) for moment in moments]


@pytest.mark.parametrize("zone", [UTC, None])
def test_xlsx_shows_times_of_any_zone_in_utc(zone: Any) -> None:
    moment = datetime.fromisoformat("2025-06-01T01:30:00.250+05:45")
    table = Table("times", (Column("at", "date-time", False),))
    (actual,) = sheets(written("xlsx", source_of([(moment if zone is None else moment.astimezone(zone),)], table))).values()
    assert actual[1][0] == datetime(2025, 5, 31, 19, 45, 0, 250_000)  # noqa: DTZ001 - a cell has no zone


def test_xlsx_preserves_any_text_as_text() -> None:
    data = written("xlsx", source_of_texts(*HOSTILE))
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    cells = [row[0] for row in sheet.iter_rows(min_row=2)]
    # an empty text is a cell; null is not
    assert [as_excel_reads(cell.value) for cell in cells] == HOSTILE
    for cell, text in zip(cells, HOSTILE, strict=True):
        assert cell.data_type in ("s", "inlineStr")
        assert cell.quotePrefix == is_dangerous(text), text
        assert cell.hyperlink is None
    assert b"<f>" not in ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")


def test_xlsx_preserves_random_text(seed: int) -> None:
    generator = random.Random(seed)
    hard = "=+-@\t\r\n &<>\"'_x0123ABCabc\x01\x0b\x1f\ufffe\uffff\u2028\xa0é漢👩"
    random_texts = ["".join(generator.choices(hard, k=generator.randrange(12))) for _ in range(2_000)]
    random_texts += [
        "".join(chr(c) for c in generator.choices(range(1, 0x110000), k=5) if not 0xD800 <= c < 0xE000) for _ in range(500)
    ]
    sheet = openpyxl.load_workbook(io.BytesIO(written("xlsx", source_of_texts(*random_texts)))).active
    actual = [row[0] for row in sheet.iter_rows(min_row=2, values_only=True)]
    for text, cell in zip(random_texts, actual, strict=True):
        assert as_excel_reads(cell) == text, (seed, text)


def test_xlsx_truncates_texts_that_are_too_long_for_excel() -> None:
    whole, halves = "é" * 32_767, "👩" * 16_383 + "x"
    actual = [
        row[0]
        for row in sheets(written("xlsx", source_of_texts(whole, whole + "é", halves, halves + "👩", "y" * 2_000_000)))["texts"]
    ][1:]
    assert (actual[0], actual[2]) == (whole, halves)
    for cell in (actual[1], actual[3], actual[4]):
        assert cell.endswith(" … (cut)")
        assert len(cell.encode("utf-16-le")) // 2 in (32_766, 32_767)
        assert unicodedata.category(cell[-9]) != "Cs"


def test_xlsx_splits_a_table_over_several_sheets() -> None:
    numbers = Table("time_series", (Column("number", "integer", False),))
    for count in (0, 1, 8, 9, 10, 18, 19, 20, 27):
        out = io.BytesIO()
        xlsx_format.write(source_of([(number,) for number in range(count)], numbers, EMPTY), out, max_rows=10)
        actual = sheets(out.getvalue())
        wanted = max(1, -(-count // 9))
        names = [name for name in actual if name.startswith("time_series")]
        assert names == ["time_series", *(f"time_series ({number})" for number in range(2, wanted + 1))]
        rows = [row[0] for name in names for row in actual[name][1:]]
        assert rows == list(range(count))
        assert all(actual[name][0] == ("number",) and len(actual[name]) <= 10 for name in names)
        # and as many sheets of the other table
        assert len(actual) == 2 * wanted


EMPTY = Table("a_name_that_is_far_too_long_for_a_sheet", (Column("other", "integer", False),))


def test_xlsx_without_rows_contains_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    actual = sheets(written("xlsx", source_of([], ALL_KINDS, EMPTY)))
    assert list(actual) == ["messages", "a_name_that_is_far_too_long_for"]
    assert actual["messages"] == [tuple(NAMES)]
    assert [xlsx_format.sheet_name(EMPTY.name, number) for number in (2, 10)] == [
        "a_name_that_is_far_too_long (2)",
        "a_name_that_is_far_too_lon (10)",
    ]
    # a zip entry that would become too large starts a new sheet, too
    monkeypatch.setattr(xlsx_format, "MAX_BYTES", 1)
    assert len(sheets(written("xlsx", source_of_texts(*("x" for _ in range(2_500)))))) == 3


def test_xlsx_header_and_number_formats() -> None:
    sheet = openpyxl.load_workbook(io.BytesIO(written("xlsx", source_of(ROWS)))).active
    assert sheet.freeze_panes == "A2"
    assert all(cell.font.b for cell in sheet[1])
    assert sheet["E2"].number_format == "yyyy\\-mm\\-dd"
    assert sheet["F2"].number_format == "yyyy\\-mm\\-dd\\ hh:mm:ss"


def test_xlsx_with_more_columns_than_letters() -> None:
    wide = Table("wide", tuple(Column(f"c{number}", "integer", False) for number in range(800)))
    (actual,) = sheets(written("xlsx", source_of([tuple(range(800))], wide))).values()
    assert actual[1] == tuple(range(800))


@pytest.mark.parametrize("form", ["xlsx", "parquet", "json", "ndjson", "csv"])
def test_exceptions_of_the_source_are_passed_on(form: str) -> None:
    """The end of the file is not written, so that a partial file does not look complete."""

    def rows(_: Table) -> Iterator[list[tuple[Any, ...]]]:
        yield ROWS[:1]
        raise LookupError("the database is unavailable")

    out = io.BytesIO()
    with pytest.raises(LookupError):
        FORMATS[form].write(MemorySource((ALL_KINDS,), rows), out)


@pytest.mark.parametrize("form", FORMATS)
def test_exceptions_of_the_sink_are_passed_on(form: str) -> None:
    class Full:
        def write(self, data: bytes, /) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        FORMATS[form].write(source_of(ROWS), Full())
