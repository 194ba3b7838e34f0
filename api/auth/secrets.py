"""How strong the secrets of the settings are that sign tokens."""

from __future__ import annotations

from api.errors import SettingsError

MIN_BYTES = 32
# 32 random bytes have 14 or more different hexadecimal digits, except once in 2,000 secrets
MIN_DIFFERENT_CHARACTERS = 10
HOW_TO_GENERATE = "Generate one: openssl rand -base64 48"


def check_secret(setting: str, secret: str) -> None:
    """Checks a secret of HS256, whose setting an error names.

    Raises:
        SettingsError: it can be guessed, or has spaces that another program may leave out.
    """
    if len(secret.encode()) < MIN_BYTES:
        problem = f"has less than {MIN_BYTES} bytes"
    elif len(set(secret)) < MIN_DIFFERENT_CHARACTERS:
        problem = f"has less than {MIN_DIFFERENT_CHARACTERS} different characters"
    elif secret != secret.strip():
        problem = "begins or ends with a space"
    else:
        return
    raise SettingsError(f"{setting} {problem}", hint=HOW_TO_GENERATE)
