"""Texts in one line have no control characters and none that disguise a text."""

from __future__ import annotations

import pytest

from api.reports.one_line import is_forbidden, one_line


@pytest.mark.parametrize(
    "character", ["\n", "\0", "\x7f", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041"], ids=ascii
)
def test_invisible_characters_are_replaced(character: str) -> None:
    assert is_forbidden(character)
    assert one_line(f"invoice {character}fdp.exe") == "invoice fdp.exe"


def test_scripts_and_emoji_keep_their_joiners() -> None:
    for text in ("क\u200dष", "👩\u200d💻", "नमस्ते", "Grüße"):
        assert one_line(text) == text
