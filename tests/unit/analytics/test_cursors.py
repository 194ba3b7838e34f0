"""Cursors of lists: they come back as they were made, or not at all."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from api.analytics.cursor_text import decode, encode
from api.analytics.cursors import Cursor, check_position, decode_cursor
from api.contract.page_query import Position
from api.errors import InvalidCursor

CURSOR = Cursor(7, date(2025, 11, 26), "publication", "request", Position("12.50", "cmp_ä\U0001f600"))


@pytest.mark.parametrize("value", ["12.50", "", None, "quoted \" and \\ and '"])
def test_a_cursor_comes_back(value: str | None) -> None:
    cursor = Cursor(7, date(2025, 11, 26), "publication", "request", Position(value, "cmp_ä\U0001f600"))
    text = cursor.encode()
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()
    assert decode_cursor(text) == cursor


def test_a_cursor_with_one_other_character_is_refused() -> None:
    text = CURSOR.encode()
    for place in range(len(text)):
        other = "A" if text[place] != "A" else "B"
        # the last character has bits that no byte is made of
        if base64.urlsafe_b64decode(pad(text[:place] + other + text[place + 1 :])) == base64.urlsafe_b64decode(pad(text)):
            continue
        with pytest.raises(InvalidCursor):
            decode_cursor(text[:place] + other + text[place + 1 :])


@pytest.mark.parametrize(
    "text", ["", "x", "next", "ä", "W10", "a" * 5000, CURSOR.encode()[:-4], CURSOR.encode() + "AAAA", "../../x"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(text)


@pytest.mark.parametrize(
    ("data_type", "readable", "others"),
    [
        (
            "bigint",
            ["0", "-9223372036854775808"],
            ["9223372036854775808", "1.5", "\u0661", " 1", "1_0", "", "x", 1, [], "1\0"],
        ),
        ("integer", ["2147483647"], ["2147483648", "-2147483649"]),
        ("numeric", ["0.00", "-12.50", "9" * 40], ["1e5", ".5", "5.", "NaN?", "9" * 501]),
        ("double precision", ["1e+20", "-0.5", "NaN", "-Infinity"], ["1e+999", "-1e+310", "nan", "0x1p3"]),
        ("date", ["2025-11-26"], ["2025-02-30", "2025-11-26 00:00", "20251126", "0000-01-01"]),
        ("text", ["", "ä\U0001f600", "quoted \" and '"], ["a\0b", 7, {}]),
    ],
)
def test_the_value_of_a_position_is_of_the_type_that_rows_are_sorted_by(
    data_type: str, readable: list[Any], others: list[Any]
) -> None:
    for value in (*readable, None):
        check_position(Position(value, "cmp_1"), data_type)
        for row_id in (None, 7, "cmp\0"):
            with pytest.raises(InvalidCursor):
                check_position(Position(value, row_id), data_type)  # type: ignore[arg-type]
    for value in others:
        with pytest.raises(InvalidCursor):
            check_position(Position(value, "cmp_1"), data_type)


@pytest.mark.parametrize("day", [date(1, 1, 1), date(9999, 12, 31)])
def test_a_day_from_which_no_time_range_can_be_counted_is_refused(day: date) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(replace(CURSOR, day=day).encode())


def test_a_cursor_is_of_one_kind() -> None:
    text = encode("mailmart query", ["digest", None, 2.5, "ä"])
    assert decode("mailmart query", text) == ["digest", None, 2.5, "ä"]
    with pytest.raises(InvalidCursor):
        decode("mailmart cursor", text)
    with pytest.raises(InvalidCursor):
        decode_cursor(text)
    # right by its checksum, and no list
    with pytest.raises(InvalidCursor):
        decode("mailmart query", encode("mailmart query", {"not": "a list"}))  # type: ignore[arg-type]


def pad(text: str) -> str:
    return text + "=" * (-len(text) % 4)
