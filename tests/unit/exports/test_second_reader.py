"""The formats as a second reader of each sees them: Polars, written in Rust. Its import takes most of a second."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.unit.exports.memory_source import ROWS, source_of, source_of_texts
from tests.unit.exports.test_formats import HOSTILE, NAMES, days_of_excel, written

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def polars() -> Any:
    import polars as pl

    return pl


def test_ndjson(polars: Any) -> None:
    assert polars.read_ndjson(io.BytesIO(written("ndjson", source_of(ROWS)))).height == len(ROWS)


def test_parquet(polars: Any) -> None:
    def read(rows: Any) -> Any:
        return polars.read_parquet(io.BytesIO(written("parquet", rows)))

    assert read(source_of(ROWS)).rows() == ROWS
    assert [row[0] for row in read(source_of_texts(*HOSTILE)).rows()] == HOSTILE
    assert read(source_of([])).columns == NAMES


def test_xlsx_dates(polars: Any) -> None:
    days, moments, source = days_of_excel()
    frame = polars.read_excel(io.BytesIO(written("xlsx", source)), engine="calamine")
    assert frame["day"].cast(polars.Date).to_list()[60:] == days[60:]
    assert frame["moment"].cast(polars.Datetime("ms")).to_list()[60:] == [m.replace(tzinfo=None) for m in moments[60:]]


def test_xlsx_texts(polars: Any) -> None:
    data = written("xlsx", source_of_texts(*HOSTILE))
    frame = polars.read_excel(io.BytesIO(data), engine="calamine", infer_schema_length=None, drop_empty_rows=False)
    actual = ["" if text is None else text for text in frame["text"].to_list()]
    same = [text for text in HOSTILE if text.isprintable() and "_x" not in text]
    assert [text for text in actual if text in same] == same
