"""The request context: the settings `mailmart.*` of one transaction, which the views of marts and row-level security read.

Every reader of marts sets them here. A statement that is prepared sets them by `set_config()`, whose values are parameters. All
others use `SET LOCAL` with quoted literals: on Citus, only `SET LOCAL` reaches the workers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

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
        psycopg.DataError: a value contains NUL. libpq would quote what is before it.
    """
    _check_names(settings)
    if any("\0" in value for value in settings.values()):
        raise psycopg.DataError("a text of PostgreSQL cannot contain NUL")
    escaping = psycopg.pq.Escaping(connection.pgconn)
    return [f"set local {name} = {escaping.escape_literal(value.encode()).decode()}" for name, value in settings.items()]


@lru_cache(maxsize=1024)
def set_config_query(config: tuple[tuple[str, str], ...], names: tuple[str, ...]) -> str:
    """A query that sets `config` (names and values, none of a request) and then the settings of these names to $1, $2 and so on.

    PostgreSQL evaluates the columns from left to right: what comes first in `config` is set first.

    Raises:
        ValueError: see `set_local_statements`.
    """
    _check_names(names)
    calls = [f"set_config('{name}', '{value}', true)" for name, value in config]
    calls += [f"set_config('{name}', ${number}, true)" for number, name in enumerate(names, 1)]
    return "select " + ", ".join(calls)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not CONTEXT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a setting of a request context")


def apply_settings(connection: psycopg.Connection, settings: Mapping[str, str]) -> None:
    """Sets the settings (name → value) for the rest of the current transaction, in one round trip."""
    if settings:
        connection.execute("; ".join(set_local_statements(connection, settings)).encode())
