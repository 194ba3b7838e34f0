"""Signed links: valid for one file, for a limited time."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from api.exports.signed_urls import is_valid, sign, signed_url

SECRET = b"a secret of the tests' own"
KEY = "exp_1/0f3a.csv"
NOW = 1_763_000_000


def test_a_link_is_valid_until_it_expires() -> None:
    signature = sign(SECRET, KEY, NOW)
    assert is_valid(SECRET, KEY, str(NOW), signature, NOW - 1)
    assert not is_valid(SECRET, KEY, str(NOW), signature, NOW)
    assert not is_valid(SECRET, KEY, str(NOW), signature)
    later = int(time.time()) + 60
    assert is_valid(SECRET, KEY, str(later), sign(SECRET, KEY, later))


@pytest.mark.parametrize(
    ("secret", "key", "expires_at"),
    [
        (b"another", KEY, str(NOW)),
        (SECRET, "exp_2/0f3a.csv", str(NOW)),
        (SECRET, "exp_1/0f3b.csv", str(NOW)),
        (SECRET, KEY, str(NOW + 1)),
        (SECRET, KEY, f"0{NOW}"),
        (SECRET, KEY, f"{NOW}.0"),
        (SECRET, KEY, f" {NOW}"),
        (SECRET, KEY, f"+{NOW}"),
        (SECRET, KEY, "١٧٦٣٠٠٠٠٠٠"),
        (SECRET, KEY, "9" * 5_000),
        (SECRET, KEY, ""),
        (SECRET, KEY, "-1"),
    ],
)
def test_a_signature_is_invalid_for_another_file_time_or_secret(secret: bytes, key: str, expires_at: str) -> None:
    assert not is_valid(secret, key, expires_at, sign(SECRET, KEY, NOW), NOW - 10)


@pytest.mark.parametrize(
    "signature", ["", "0" * 64, "é" * 64, "\udcff", sign(SECRET, KEY, NOW)[:-1], sign(SECRET, KEY, NOW).upper()]
)
def test_another_signature_is_invalid(signature: str) -> None:
    assert not is_valid(SECRET, KEY, str(NOW), signature, NOW - 10)


def test_parts_of_the_signed_text_cannot_be_shifted() -> None:
    assert sign(SECRET, "1/a", 12) != sign(SECRET, "21/a", 1)
    assert sign(SECRET, KEY, NOW) != sign(SECRET, f"\n{KEY}", NOW)


def test_an_empty_secret_cannot_sign() -> None:
    with pytest.raises(ValueError, match="secret"):
        sign(b"", KEY, NOW)


def test_a_signed_url_contains_expiry_and_signature() -> None:
    url = urlsplit(signed_url("https://mail.example.com/mart", "/downloads", SECRET, KEY, NOW))
    assert (url.netloc, url.path) == ("mail.example.com", f"/mart/downloads/{KEY}")
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert is_valid(SECRET, KEY, query["expires"], query["signature"], NOW - 1)
