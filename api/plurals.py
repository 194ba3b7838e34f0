"""Numbers with their nouns, as sentences have them."""

from __future__ import annotations


def plural(count: int, one: str, several: str = "") -> str:
    """The noun for so many: `row` or `rows`. `several`, if it is not the noun with an s."""
    return one if count == 1 else several or f"{one}s"


def counted(count: int, one: str, several: str = "") -> str:
    """The number and its noun: `1 row`, `1,200 rows`."""
    return f"{count:,} {plural(count, one, several)}"
