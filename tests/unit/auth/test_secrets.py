"""Which secrets sign tokens."""

from __future__ import annotations

import pytest

from api.auth.secrets import check_secret
from api.errors import SettingsError


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "has less than 32 bytes"),
        ("0123456789abcdefghijklmnopqrstu", "has less than 32 bytes"),
        ("a" * 40, "has less than 10 different characters"),
        ("12345678 " * 10, "has less than 10 different characters"),
        (" 0123456789abcdefghijklmnopqrstuv", "begins or ends with a space"),
        ("0123456789abcdefghijklmnopqrstuv\n", "begins or ends with a space"),
    ],
)
def test_a_weak_secret_is_named_with_its_problem(secret: str, problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        check_secret("MAILMART_ANY_SECRET", secret)
    assert raised.value.message == f"MAILMART_ANY_SECRET {problem}"
    assert "openssl rand" in str(raised.value.hint)


def test_bytes_count_and_not_characters() -> None:
    check_secret("MAILMART_ANY_SECRET", "äöüßéèêçñå" * 2)
    check_secret("MAILMART_ANY_SECRET", "0123456789abcdefghijklmnopqrstuv")
