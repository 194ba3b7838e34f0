"""Which recipient domains of the warehouse have no provider yet, and the table of their MX records."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from psycopg import sql

from api.recipients.resolver import MxRecord

# those with the most mail first; a lookup that failed is tried again after a day
UNKNOWN_DOMAINS = """
    select messages.recipient_domain
    from {messages} as messages
    left join raw.recipient_domain_mx as known on messages.recipient_domain = known.domain
    where
        messages.valid_to = 9223372036854775807
        and messages.recipient_provider is not null
        -- no other text can be a domain; is_domain() looks closer
        and messages.recipient_domain ~ '^[a-z0-9_.-]+[.][a-z0-9-]+$'
        and (
            (known.domain is null and messages.recipient_provider = 'other')
            or known.resolved_at < now() - make_interval(days => %(days)s)
            or (known.status = 'failed' and known.resolved_at < now() - interval '1 day')
        )
    group by messages.recipient_domain
    order by count(*) desc, messages.recipient_domain
    limit %(limit)s
"""
STORE = """
    insert into raw.recipient_domain_mx (domain, mx_host, status, resolved_at) values (%s, %s, %s, now())
    on conflict (domain) do update
    set mx_host = excluded.mx_host, status = excluded.status, resolved_at = excluded.resolved_at
    -- no answer in time says nothing new
    where excluded.status <> 'failed' or raw.recipient_domain_mx.status = 'failed'
"""
REMOVE_UNUSED = """
    delete from raw.recipient_domain_mx as known
    where
        resolved_at < now() - make_interval(days => %(days)s)
        and not exists (select from {messages} as messages where messages.recipient_domain = known.domain)
"""


def is_built(connection: psycopg.Connection, schema: str) -> bool:
    """Whether the warehouse has messages with providers."""
    row = connection.execute(
        "select exists (select from information_schema.columns"
        " where table_schema = %s and table_name = 'fct_messages' and column_name = 'recipient_provider')",
        (schema,),
    ).fetchone()
    return bool(row and row[0])


def domains_to_resolve(connection: psycopg.Connection, schema: str, limit: int, days: int) -> list[str]:
    """Domains without a provider that were never looked up, and those that were `days` ago; the most mail first."""
    query = sql.SQL(UNKNOWN_DOMAINS).format(messages=sql.Identifier(schema, "fct_messages"))
    return [domain for (domain,) in connection.execute(query, {"limit": limit, "days": days}).fetchall()]


def store(connection: psycopg.Connection, records: Iterable[MxRecord]) -> None:
    """Inserts or replaces the records."""
    with connection.cursor() as cursor:
        cursor.executemany(STORE, [(record.domain, record.host, record.status) for record in records])


def remove_unused(connection: psycopg.Connection, schema: str, days: int) -> int:
    """Removes records that are older than `days` and of which no message has the domain; returns how many."""
    query = sql.SQL(REMOVE_UNUSED).format(messages=sql.Identifier(schema, "fct_messages"))
    return connection.execute(query, {"days": 2 * days}).rowcount
