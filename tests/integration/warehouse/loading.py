"""Loads events into raw.email_events, and the app tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import Cursor, sql
from psycopg.types.json import Jsonb

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import COLUMNS, App, Event


def load_events(settings: Settings, events: Iterable[Event], loaded_at: datetime) -> None:
    """Loads the events in their order, a microsecond apart, so that the first copy is defined."""
    with (
        connect(settings, "mailmart_owner") as connection,
        connection.cursor() as cursor,
        cursor.copy(f"copy raw.email_events ({', '.join(COLUMNS)}, loaded_at) from stdin") as copy,
    ):
        for position, event in enumerate(events):
            values = [getattr(event, column) for column in COLUMNS]
            # a tuple would be a row, and not an array
            values = [list(value) if isinstance(value, tuple) else value for value in values]
            copy.write_row([*values, loaded_at + timedelta(microseconds=position)])


def load_app(settings: Settings, apps: Iterable[App]) -> None:
    """Inserts the rows of the app tables of each workspace."""
    with connect(settings, "mailmart_owner") as connection, connection.cursor() as cursor:
        for app in apps:
            _load_app(cursor, app)


def _load_app(cursor: Cursor[Any], app: App) -> None:
    workspace = app.workspace_id
    if app.timezone is not None:
        _insert(cursor, "workspaces", "workspace_id, timezone, status", [(workspace, app.timezone, "active")])
    campaigns = [(campaign.campaign_id, workspace, campaign.name, campaign.status) for campaign in app.campaigns]
    _insert(cursor, "campaigns", "campaign_id, workspace_id, name, status", campaigns)
    domains = [(domain_id, workspace, f"{domain_id}.example") for domain_id in app.domains]
    _insert(cursor, "domains", "domain_id, workspace_id, domain", domains)
    mailboxes = [(mailbox.mailbox_id, workspace, mailbox.domain_id) for mailbox in app.mailboxes]
    _insert(cursor, "mailboxes", "mailbox_id, workspace_id, domain_id", mailboxes)
    addresses = [
        (ip.smtp_ip_address_id, _json(ip.provider_blacklist_status), ip.last_reputation_check) for ip in app.ip_addresses
    ]
    _insert(cursor, "smtp_ip_addresses", "smtp_ip_address_id, provider_blacklist_status, last_reputation_check", addresses)
    assignments = [(row.domain_id, row.smtp_ip_address_id, row.status, row.expires_at) for row in app.assignments]
    _insert(cursor, "domain_ip_assignments", "domain_id, smtp_ip_address_id, status, expires_at", assignments)


def _json(value: dict[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def _insert(cursor: Cursor[Any], table: str, columns: LiteralString, rows: list[tuple[Any, ...]]) -> None:
    values = sql.SQL(", ").join([sql.Placeholder()] * (columns.count(",") + 1))
    insert = sql.SQL("insert into raw.{} ({}) values ({})").format(sql.Identifier(table), sql.SQL(columns), values)
    cursor.executemany(insert, rows)
