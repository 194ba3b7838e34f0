"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from api.plurals import counted, plural


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1000, "1,000 rows"), (1_000_001, "1,000,001 rows")],
)
def test_one_is_singular(count: int, text: str) -> None:
    assert counted(count, "row") == text


def test_a_noun_with_another_plural() -> None:
    assert [counted(count, "body", "bodies") for count in (1, 2)] == ["1 body", "2 bodies"]
    assert [plural(count, "body", "bodies") for count in (1, 2)] == ["body", "bodies"]
