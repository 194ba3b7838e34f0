"""Reads what stands in core, in the shapes of the reference."""

from __future__ import annotations

from collections import Counter
from typing import Any

from api.database import connect
from api.settings import Settings
from tests.warehouse.reference import COUNTS, Cell, Message

STANDING = 9223372036854775807
VERSIONED = (
    "fct_email_events",
    "fct_messages",
    "fct_campaign_days",
    "fct_send_slots",
    "fct_bounce_days",
    "fct_set_aside_events",
    "dim_workspaces",
    "dim_campaigns",
    "dim_domains",
    "dim_mailboxes",
    "dim_ip_assignments",
    "dim_bounce_reasons",
    "dim_health_score_factors",
)
OF_NO_WORKSPACE = ("dim_bounce_reasons", "dim_health_score_factors")


def messages(settings: Settings) -> dict[tuple[str, str], Message]:
    """The standing messages, by (workspace_id, message_id)."""
    flags = ", ".join(f"is_{count}" for count in COUNTS)
    found: dict[tuple[str, str], Message] = {}
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select workspace_id, message_id, campaign_id, mailbox_id, domain_id, recipient_domain, sent_at,"
            f" bounce_reason, is_hard_bounced, {flags} from core.fct_messages where valid_to = {STANDING}"
        ).fetchall()
    for row in rows:
        counts = frozenset(count for count, is_true in zip(COUNTS, row[9:], strict=True) if is_true)
        found[row[0], row[1]] = Message(row[0], row[1], row[2], row[3], row[4], row[5], row[6], counts, row[7], row[8])
    assert len(found) == len(rows)
    return found


def campaign_days(settings: Settings) -> dict[Cell, Counter[str]]:
    """The standing cells; counts of 0 left out."""
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select workspace_id, campaign_id, mailbox_id, domain_id, sent_date,"
            f" {', '.join(COUNTS)} from core.fct_campaign_days where valid_to = {STANDING}"
        ).fetchall()
    return {row[:5]: +Counter(dict(zip(COUNTS, row[5:], strict=True))) for row in rows}


def everything(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """All standing rows of all versioned models, sorted, without their batches and landing times."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with connect(settings, "mailmart_owner") as connection:
        for model in VERSIONED:
            columns = [
                name
                for (name,) in connection.execute(
                    "select column_name from information_schema.columns where table_schema = 'core' and table_name = %s"
                    " and column_name not in ('valid_from', 'valid_to', 'loaded_at', 'landing_id') order by ordinal_position",
                    (model,),
                )
            ]
            rows = connection.execute(f"select {', '.join(columns)} from core.{model} where valid_to = {STANDING}").fetchall()
            found[model] = sorted(rows, key=repr)
    return found


def written_by_last_batch(settings: Settings) -> dict[str, tuple[int, int]]:
    """Rows opened and closed, by model, in the last batch that each model took part in."""
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select distinct on (model) model, rows_opened, rows_closed from app.model_batches order by model, batch_id desc"
        ).fetchall()
    return {model: (opened, closed) for model, opened, closed in rows}
