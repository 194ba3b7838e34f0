"""Cursors of lists: they come back as they were made, or not at all."""

from __future__ import annotations

import base64
from datetime import date

import pytest

from api.analytics.cursor_text import decode, encode
from api.analytics.cursors import Cursor, decode_cursor
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
