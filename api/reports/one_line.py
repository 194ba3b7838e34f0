"""Texts of users that are shown in one line: names of reports, subjects of mails."""

from __future__ import annotations

import unicodedata

# Unicode categories: control characters, line and paragraph separators, surrogates, invisible format characters (those that
# change the direction of writing can disguise a text)
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cs", "Cf"})
# format characters that scripts and emoji need: zero width non-joiner and joiner
JOINERS = frozenset("\u200c\u200d")


def is_forbidden(character: str) -> bool:
    """Whether a character must not be in one line of text."""
    return unicodedata.category(character) in FORBIDDEN_CATEGORIES and character not in JOINERS


def one_line(text: str) -> str:
    """The text with a space for each character that must not be in it, and for each run of spaces."""
    return " ".join("".join(" " if is_forbidden(character) else character for character in text).split())
