"""Pages of lists: every item once, and cursors that come back as they were made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.db.paging import Position
from api.errors import ValidationFailed
from api.web.pagination import list_page

START = datetime(2025, 11, 26, 10, tzinfo=UTC)
ITEMS = [(START - timedelta(microseconds=number), f"exp_{number}|ä") for number in range(7)]


def read(limit: int, before: Position | None) -> list[Position]:
    return [item for item in ITEMS if before is None or item < before][:limit]


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_pages_have_every_item_once_and_the_last_has_no_cursor(limit: int) -> None:
    found: list[Position] = []
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = list_page({"limit": limit, **({"cursor": cursor} if cursor else {})}, read, lambda item: item)
        assert len(page) == limit or cursor is None
        found += page
    assert found == ITEMS


def test_an_empty_list_has_one_page() -> None:
    assert list_page({"limit": 20}, lambda limit, before: [], lambda item: item) == ([], None)


@pytest.mark.parametrize("cursor", ["", "x", "ä", "MjAyNS0xMS0yNg", "OTk5OS0xMi0zMVQyMzo1OTo1OS0xMjowMHx4"])
def test_other_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(ValidationFailed):
        list_page({"limit": 20, "cursor": cursor}, read, lambda item: item)
