"""Runs `mailmart` in this process, against a test's database."""

from __future__ import annotations

from click.testing import CliRunner, Result

from api.cli import main
from api.settings import Settings


def mailmart(settings: Settings, *arguments: str, stdin: bytes = b"") -> Result:
    """Runs a command; `output` of the result has stdout and stderr."""
    environment = {"MAILMART_DATABASE_URL": settings.database_url, "MAILMART_HOME": str(settings.home)}
    return CliRunner().invoke(main, list(arguments), input=stdin, env=environment)
