"""Signed links: what of a request can be a link of ours. The database signs and checks (tests/integration/exports)."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from api.exports.signed_urls import parse_link, signed_url

KEY = "exp_1/0f3a.csv"
NOW = 1_763_000_000
SIGNATURE = "0123456789abcdef" * 4


def test_a_link_is_valid_until_it_expires() -> None:
    assert parse_link(str(NOW), SIGNATURE, NOW - 1) == (NOW, SIGNATURE)
    assert parse_link(str(NOW), SIGNATURE, NOW) is None
    assert parse_link(str(NOW), SIGNATURE) is None


@pytest.mark.parametrize("expires_at", [f"0{NOW}", f"{NOW}.0", f" {NOW}", f"+{NOW}", "١٧٦٣٠٠٠٠٠٠", "9" * 5_000, "", "-1"])
def test_another_text_is_no_expiry(expires_at: str) -> None:
    assert parse_link(expires_at, SIGNATURE, NOW - 10) is None


@pytest.mark.parametrize("signature", ["", "é" * 64, "\udcff", SIGNATURE[:-1], SIGNATURE.upper(), f"{SIGNATURE}\n", "\0" * 64])
def test_another_text_is_no_signature(signature: str) -> None:
    assert parse_link(str(NOW), signature, NOW - 10) is None


def test_a_signed_url_contains_expiry_and_signature() -> None:
    url = urlsplit(signed_url("https://mail.example.com/mart", "/downloads", KEY, NOW, SIGNATURE))
    assert (url.netloc, url.path) == ("mail.example.com", f"/mart/downloads/{KEY}")
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert parse_link(query["expires"], query["signature"], NOW - 1) == (NOW, SIGNATURE)
