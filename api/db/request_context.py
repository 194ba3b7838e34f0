"""The request context: the settings `mailmart.*` of one transaction, which the views of marts and row-level security read.

Every reader of marts sets them here. They are set by `SET LOCAL` with quoted literals, not by `set_config()`: on Citus, only
`SET LOCAL` reaches the workers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import psycopg

WORKSPACE_ID = "mailmart.workspace_id"
AS_OF = "mailmart.as_of"
CAMPAIGN_ID = "mailmart.campaign_id"
CONTEXT_NAME = re.compile(r"mailmart\.[a-z_]+")


def tenant_settings(workspace_id: str, batch_id: int) -> dict[str, str]:
    """The settings that every read needs: whose rows, and as of which batch."""
    return {WORKSPACE_ID: workspace_id, AS_OF: str(batch_id)}


def set_local_statements(connection: psycopg.Connection, settings: Mapping[str, str]) -> list[str]:
    """One `SET LOCAL` statement for each setting (name → value), for a caller that sends them together with its queries.

    Raises:
        ValueError: a name is not one of a request context: the stored context of an export must not set a role.
    """
    for name in settings:
        if not CONTEXT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a setting of a request context")
    escaping = psycopg.pq.Escaping(connection.pgconn)
    return [f"set local {name} = {escaping.escape_literal(value.encode()).decode()}" for name, value in settings.items()]


def apply_settings(connection: psycopg.Connection, settings: Mapping[str, str]) -> None:
    """Sets the settings (name → value) for the rest of the current transaction, in one round trip."""
    if settings:
        connection.execute("; ".join(set_local_statements(connection, settings)).encode())
