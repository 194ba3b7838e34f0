"""The parts of an address in base64, wherever they are in a text; what is an address."""

from __future__ import annotations

import base64

import pytest

from api.erasure.person import check_address, encoded_parts, needle
from api.errors import MailmartError


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", '{"email": "'])
@pytest.mark.parametrize("after", ["", "x", "xy", '"}'])
def test_base64_of_a_text_with_the_address_has_one_of_the_parts(before: str, after: str) -> None:
    encoded = base64.b64encode(f"{before}jane?>doe@people.example{after}".encode()).decode()
    parts = encoded_parts(["jane?>doe@people.example"])
    assert any(part in encoded for part in parts)
    assert any(part in encoded.replace("+", "-").replace("/", "_") for part in parts)


def test_a_short_address_is_not_looked_for_in_base64() -> None:
    assert encoded_parts(["a@b.c"]) == []


def test_the_needle_is_never_encoded() -> None:
    assert needle("j.doe+newsletter@example.org") == "newsletter"
    assert needle("ü@example.org") == "example"


@pytest.mark.parametrize("typed", ["jane@people.example", " Jane <jane@people.example> "])
def test_an_address_is_taken(typed: str) -> None:
    assert check_address(typed) == "jane@people.example"


@pytest.mark.parametrize("typed", ["", "jane", "a@b, c@d", "a@b@c", "a b@c", "@b", "a@", f"{'a' * 320}@b"])
def test_something_else_is_refused(typed: str) -> None:
    with pytest.raises(MailmartError):
        check_address(typed)
