"""Reads builds and nightly runs from the database."""

from __future__ import annotations

from typing import Any, LiteralString

from api.db.connection import connect
from api.settings import Settings


def rows(settings: Settings, statement: LiteralString) -> list[tuple[Any, ...]]:
    """The rows of a statement, which the owner runs."""
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(statement).fetchall()


def builds(settings: Settings) -> list[tuple[str, str]]:
    """Command and status of each build, in order."""
    return [(row[0], row[1]) for row in rows(settings, "select command, status from app.batches order by batch_id")]


def published_batch(settings: Settings) -> int | None:
    """The batch that production serves."""
    found = rows(settings, "select batch_id from app.current_publication where target = 'production'")
    return found[0][0] if found else None


def nightly_runs(settings: Settings) -> list[tuple[str, int]]:
    """Status and attempts of each nightly run, in order."""
    return [(row[0], row[1]) for row in rows(settings, "select status, attempts from app.nightly_runs order by scheduled_for")]
