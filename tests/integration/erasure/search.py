"""Searches every column of every table, and every file, and reads what the API counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from werkzeug.test import Client

from api.db.connection import connect
from api.settings import Settings
from tests.support.postgres import PostgresServer

TABLES = """
    select schemaname, relname from (
        select nspname as schemaname, relname from pg_class
        inner join pg_namespace on relnamespace = pg_namespace.oid
        where relkind in ('r', 'p', 'm') and nspname !~ '^(pg_toast|information_schema|pg_temp)'
        and (nspname <> 'pg_catalog' or relname = 'pg_statistic')
    ) as tables
    order by 1, 2
"""
SECTIONS = (
    "analytics/overview",
    "analytics/deliverability",
    "analytics/providers",
    "analytics/timing",
    "analytics/engagement-heatmap",
    "analytics/data-quality",
    "analytics/sources",
    "campaigns/cmp_1/analytics",
    "campaigns/cmp_1/steps",
    "campaigns/cmp_2/analytics",
    "campaigns/cmp_3/analytics",
    "campaigns/cmp_6/analytics",
)


def tables_with(server: PostgresServer, settings: Settings, traces: Iterable[str], ignored: str = "") -> set[tuple[str, str]]:
    """Each trace and each table that has it in a column: text, JSON, an array, or bytes. Traces in `ignored` do not count."""
    found: set[tuple[str, str]] = set()
    wanted = [(trace, trace.lower()) for trace in traces] + [(trace, trace.lower().encode().hex()) for trace in traces]
    database = str(conninfo_to_dict(str(settings.database_url))["dbname"])
    with psycopg.connect(make_conninfo(server.superuser, dbname=database), autocommit=True) as connection:
        for schema, table in connection.execute(TABLES).fetchall():
            rows = connection.execute(
                sql.SQL(
                    "select distinct wanted.trace from {} as searched cross join unnest(%s::text[], %s::text[])"
                    " as wanted (trace, content) where strpos(replace(lower(searched::text), %s, ''), wanted.content) > 0"
                ).format(sql.Identifier(schema, table)),
                [*(list(column) for column in zip(*wanted, strict=True)), ignored],
            )
            found |= {(trace, f"{schema}.{table}") for (trace,) in rows}
    return found


def files_with(folder: Path, traces: Iterable[str]) -> list[tuple[str, Path]]:
    """Each trace and each file that has it."""
    contents = {path: path.read_bytes().lower() for path in folder.rglob("*") if path.is_file()}
    return [(trace, path) for trace in traces for path, content in contents.items() if trace.lower().encode() in content]


def answers(client: Client, key: str, workspace: str) -> Iterator[tuple[str, int, bytes]]:
    """Path, status and body of each reading endpoint."""
    for section in SECTIONS:
        response = client.get(
            f"/api/v1/workspaces/{workspace}/{section}", headers={"Authorization": f"Bearer {key}"}, buffered=True
        )
        yield section, response.status_code, response.data


CURRENT = "valid_to = 9223372036854775807"
COUNTS = (
    f"""
    select
        workspace_id, campaign_id, mailbox_id, split_part(recipient_domain, ' ', 1), bounce_reason, sent_date, count(*),
        count(*) filter (where is_sent), count(*) filter (where is_delivered), count(*) filter (where is_opened),
        count(*) filter (where is_clicked), count(*) filter (where is_bounced), count(*) filter (where is_hard_bounced)
    from core.fct_messages where {CURRENT} group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6
    """,
    f"""
    select workspace_id, campaign_id, mailbox_id, sent_date, sent, delivered, bounced, opened, clicked
    from core.fct_campaign_days where {CURRENT} order by 1, 2, 3, 4
    """,
    f"""
    select workspace_id, campaign_id, sent_date, bounce_reason, bounced
    from core.fct_bounce_days where {CURRENT} order by 1, 2, 3, 4
    """,
    f"select workspace_id, campaign_id, slot_at, sent, opened from core.fct_send_slots where {CURRENT} order by 1, 2, 3",
    f"""
    select workspace_id, campaign_id, slot_at, bounce_reason, messages, bounced, complained
    from core.fct_outcome_slots where {CURRENT} order by 1, 2, 3, 4
    """,
    f"select workspace_id, mailbox_id, slot_at, sent, bounced from core.fct_mailbox_slots where {CURRENT} order by 1, 2, 3",
    f"select workspace_id, slot_at, sent, opened from core.fct_workspace_slots where {CURRENT} order by 1, 2",
    f"select workspace_id, hour_at, sent, opened from core.fct_workspace_hours where {CURRENT} order by 1, 2",
    f"select workspace_id, sent_date, sent, bounced, opened from core.fct_workspace_days where {CURRENT} order by 1, 2",
    f"select workspace_id, mailbox_id, sent_date, sent, bounced from core.fct_mailbox_days where {CURRENT} order by 1, 2, 3",
    f"""
    select workspace_id, mailbox_id, health_date, sent, hard_bounced
    from core.fct_mailbox_health_days where {CURRENT} order by 1, 2, 3
    """,
    f"select workspace_id, health_date, mailboxes, sent from core.fct_workspace_health_days where {CURRENT} order by 1, 2",
    f"""
    select workspace_id, campaign_id, recipient_provider, sent_date, sent, delivered, deferred, bounced, opened, clicked
    from core.fct_provider_days where {CURRENT} order by 1, 2, 3, 4
    """,
    f"""
    select workspace_id, campaign_id, sequence_id, step, variant, sent_date, sent, delivered, bounced, opened, clicked
    from core.fct_step_days where {CURRENT} order by 1, 2, 3, 4, 5, 6
    """,
    f"""
    select workspace_id, campaign_id, recipient_domain, recipient_provider, sent_date, sent, delivered, deferred, bounced, opened
    from core.fct_recipient_domain_days where {CURRENT} order by 1, 2, 3, 4, 5
    """,
    # a link that only the erased person clicked has another name
    f"""
    select workspace_id, campaign_id, sent_date, sum(messages_clicked), sum(clicks), sum(human_clicks)
    from core.fct_link_days where {CURRENT} group by 1, 2, 3 order by 1, 2, 3
    """,
    f"""
    select workspace_id, campaign_id, delay, bucket, sent_date, messages
    from core.fct_delay_days where {CURRENT} order by 1, 2, 3, 4, 5
    """,
    f"""
    select workspace_id, campaign_id, mailbox_id, event_date, messages, delivered, opened
    from core.fct_event_day_shifts where {CURRENT} order by 1, 2, 3, 4
    """,
    f"select workspace_id, provider, event_type, event_date, events from core.fct_event_days where {CURRENT} order by 1, 2, 3, 4",
    f"""
    select workspace_id, provider, smtp_status, smtp_code, bounce_reason, count(*)
    from core.fct_email_events where {CURRENT} and event_type = 'bounced' group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    """,
    f"""
    select workspace_id, problem, provider, count(*)
    from core.fct_rejected_events where {CURRENT} group by 1, 2, 3 order by 1, 2, 3
    """,
)


def counts(settings: Settings) -> list[list[tuple[Any, ...]]]:
    """All that is counted, of all workspaces."""
    with connect(settings, "mailmart_owner") as connection:
        return [connection.execute(statement.encode()).fetchall() for statement in COUNTS]
