"""Where the embedded servers answer: files in the home folder, written when they are started."""

from __future__ import annotations

from pathlib import Path

from api.errors import SettingsError


def embedded_database_url(home: Path) -> str:
    """The URL of the embedded PostgreSQL's login.

    Raises:
        SettingsError: it was never started here.
    """
    address = home / "database_url"
    if not address.exists():
        raise SettingsError(
            "no database: MAILMART_DATABASE_URL is not set, and no embedded server was started here",
            hint="Run `mailmart up`, or set MAILMART_DATABASE_URL.",
        )
    return address.read_text().strip()
