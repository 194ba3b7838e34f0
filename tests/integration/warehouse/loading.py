"""Lands events in raw.email_events as a mail platform's log does, and app tables as their replica."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import Cursor, sql
from psycopg.types.json import Jsonb

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import COLUMNS, App, Event


def land(settings: Settings, events: Iterable[Event], loaded_at: datetime) -> None:
    """Lands the events in their order, a microsecond apart, so that "first" is defined."""
    with (
        connect(settings, "mailmart_owner") as connection,
        connection.cursor() as cursor,
        cursor.copy(f"copy raw.email_events ({', '.join(COLUMNS)}, loaded_at) from stdin") as copy,
    ):
        for place, event in enumerate(events):
            values = [getattr(event, column) for column in COLUMNS]
            copy.write_row([*values, loaded_at + timedelta(microseconds=place)])


def land_app(settings: Settings, apps: Iterable[App]) -> None:
    """Inserts the app tables of each workspace once."""
    with connect(settings, "mailmart_owner") as connection, connection.cursor() as cursor:
        for app in apps:
            _land_app(cursor, app)


def _land_app(cursor: Cursor[Any], app: App) -> None:
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
    assignments = [(given.domain_id, given.smtp_ip_address_id, given.status, given.expires_at) for given in app.assignments]
    _insert(cursor, "domain_ip_assignments", "domain_id, smtp_ip_address_id, status, expires_at", assignments)


def _json(value: dict[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def _insert(cursor: Cursor[Any], table: str, columns: LiteralString, rows: list[tuple[Any, ...]]) -> None:
    values = sql.SQL(", ").join([sql.Placeholder()] * (columns.count(",") + 1))
    insert = sql.SQL("insert into raw.{} ({}) values ({})").format(sql.Identifier(table), sql.SQL(columns), values)
    cursor.executemany(insert, rows)
