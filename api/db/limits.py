"""The bounds of each workspace. The database has them and checks them: app.workspace_limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from api.db.connection import connect
from api.errors import LimitExceeded
from api.settings import Settings

BYTES_PER_MB = 1024 * 1024
# what a trigger names as the violated constraint
EXPORT_LIMITS = frozenset({"exports_processing_per_workspace", "export_bytes_per_workspace"})
RECIPIENT_LIMITS = frozenset({"report_recipients_per_workspace"})


def write_limits(settings: Settings) -> None:
    """Writes the limits that are configured; the database keeps its own for the others."""
    limits = {
        "exports_processing": settings.max_exports_processing,
        "export_bytes": None if settings.max_export_mb is None else settings.max_export_mb * BYTES_PER_MB,
        "report_recipients": settings.max_report_recipients,
        "report_mails_per_day": settings.max_report_mails_per_day,
    }
    configured = [(value, name) for name, value in limits.items() if value is not None]
    if not configured:
        return
    with connect(settings, "mailmart_owner") as connection, connection.cursor() as cursor:
        cursor.executemany("update app.workspace_limits set max_value = %s where limit_name = %s", configured)


@contextmanager
def limits_checked(names: frozenset[str]) -> Iterator[None]:
    """The block inserts or updates a row that one of these limits bounds. Put it around the transaction, or around a savepoint.

    Raises:
        LimitExceeded: the workspace has reached one of them.
    """
    try:
        yield
    except psycopg.errors.CheckViolation as error:
        if error.diag.constraint_name not in names:
            raise
        raise LimitExceeded(error.diag.message_primary or "") from error
