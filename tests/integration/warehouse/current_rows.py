"""Reads the current rows of core, in the shapes of the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse import reference
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.reference import (
    CONTENT,
    COUNTS,
    FIRST_HUMAN_TIMES,
    FIRST_TIMES,
    HEALTH_COUNTS,
    HOUR_COUNTS,
    LINK_COUNTS,
    MAILBOX_COUNTS,
    OUTCOMES,
    PROVIDER_COUNTS,
    SHIFTED_COUNTS,
    SLOT_COUNTS,
    SUMS,
    Cell,
    Message,
)

OPEN_ENDED = 9223372036854775807
VERSIONED = (
    "fct_email_events",
    "fct_messages",
    "fct_event_days",
    "fct_message_problems",
    "fct_campaign_days",
    "fct_send_slots",
    "fct_outcome_slots",
    "fct_mailbox_slots",
    "fct_workspace_slots",
    "fct_workspace_hours",
    "fct_workspace_days",
    "fct_mailbox_days",
    "fct_mailbox_health_days",
    "fct_workspace_health_days",
    "fct_bounce_days",
    "fct_provider_days",
    "fct_workspace_provider_days",
    "fct_step_days",
    "fct_recipient_domain_days",
    "fct_link_days",
    "fct_delay_days",
    "fct_workspace_delays",
    "fct_provider_delays",
    "fct_event_day_shifts",
    "fct_rejected_events",
    "dim_workspaces",
    "dim_app_problems",
    "dim_campaigns",
    "dim_domains",
    "dim_mailboxes",
    "dim_ip_assignments",
    "dim_bounce_reasons",
    "dim_health_score_factors",
    "dim_recipient_providers",
    "dim_published_limits",
)
LABELS = ("sequence_id", "step", "variant")
EVENT_COUNTS = ("events", "last_occurred_at")
WITHOUT_WORKSPACE = ("dim_bounce_reasons", "dim_health_score_factors", "dim_recipient_providers", "dim_published_limits")


def messages(settings: Settings) -> dict[tuple[str, str], Message]:
    """The current messages, by (workspace_id, message_id)."""
    flags = ", ".join(f"is_{count}" for count in COUNTS)
    times_of_message = (*FIRST_TIMES, *FIRST_HUMAN_TIMES)
    found: dict[tuple[str, str], Message] = {}
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select workspace_id, message_id, campaign_id, mailbox_id, domain_id, recipient_domain, sent_at,"
            f" bounce_reason, is_hard_bounced, {', '.join(SUMS)}, {', '.join(LABELS)}, tags, recipient_provider,"
            f" clicked_links, {', '.join(times_of_message)}, {flags}"
            f" from core.fct_messages where valid_to = {OPEN_ENDED}"
        ).fetchall()
    first_flag = 17 + len(times_of_message)
    for row in rows:
        counts = frozenset(count for count, is_true in zip(COUNTS, row[first_flag:], strict=True) if is_true)
        times = {name: at for name, at in zip(times_of_message, row[17:first_flag], strict=True) if at is not None}
        links = {link: tuple(numbers) for link, numbers in (row[16] or {}).items()}
        more = dict(zip((*SUMS, *LABELS), row[9:14], strict=True))
        more |= {"tags": None if row[14] is None else tuple(row[14]), "recipient_provider": row[15]}
        more |= {"links": links, "first_times": times}
        found[row[0], row[1]] = Message(row[0], row[1], row[2], row[3], row[4], row[5], row[6], counts, row[7], row[8], **more)
    assert len(found) == len(rows)
    return found


def campaign_days(settings: Settings) -> dict[Cell, Counter[str]]:
    """The current rows of fct_campaign_days, by grain; without counts of 0."""
    counts = (*COUNTS, "hard_bounced", *SUMS)
    rows = _rows(settings, "fct_campaign_days", "workspace_id, campaign_id, mailbox_id, domain_id, sent_date", *counts)
    return {row[:5]: +Counter(dict(zip(counts, row[5:], strict=True))) for row in rows}


def differences(settings: Settings, loaded: Sequence[Event], now: datetime, without: Collection[str] = ()) -> list[str]:
    """The names of the facts that differ from what plain Python computes from the loaded events.

    `without`: workspaces whose rows are left out.
    """
    messages_expected = reference.messages(loaded, now)
    of = list(messages_expected.values())
    slots = _rows(settings, "fct_send_slots", "workspace_id, campaign_id, slot_at", *SLOT_COUNTS)
    bounces = _rows(
        settings, "fct_bounce_days", "workspace_id, campaign_id, mailbox_id, domain_id, sent_date", "bounce_reason", "bounced"
    )
    events = _rows(settings, "fct_email_events", "workspace_id, event_id", *CONTENT)
    pairs: dict[str, tuple[Any, Any]] = {
        "fct_email_events": ({row[:2]: row[2:] for row in events}, reference.events(loaded, now)),
        "fct_event_days": (
            {
                row[:3]: row[3:]
                for row in _rows(settings, "fct_event_days", "workspace_id, event_type, event_date", *EVENT_COUNTS)
            },
            reference.event_days(loaded, now),
        ),
        "fct_messages": (messages(settings), messages_expected),
        "fct_campaign_days": (campaign_days(settings), reference.campaign_days(of)),
        "fct_send_slots": (
            {row[:3]: +Counter(dict(zip(SLOT_COUNTS, row[3:], strict=True))) for row in slots},
            reference.send_slots(of),
        ),
        "fct_outcome_slots": (
            _counts(settings, "fct_outcome_slots", ("workspace_id", "campaign_id", "slot_at", "bounce_reason"), OUTCOMES),
            reference.outcome_slots(of),
        ),
        "fct_mailbox_slots": (
            _counts(settings, "fct_mailbox_slots", ("workspace_id", "mailbox_id", "domain_id", "slot_at"), MAILBOX_COUNTS),
            reference.mailbox_slots(of),
        ),
        "fct_workspace_slots": (
            _counts(settings, "fct_workspace_slots", ("workspace_id", "slot_at"), ("campaigns", *HOUR_COUNTS)),
            reference.workspace_slots(of),
        ),
        "fct_workspace_hours": (
            _counts(settings, "fct_workspace_hours", ("workspace_id", "hour_at"), ("slots", *HOUR_COUNTS)),
            reference.workspace_hours(of),
        ),
        "fct_mailbox_days": (
            _counts(
                settings,
                "fct_mailbox_days",
                ("workspace_id", "mailbox_id", "domain_id", "sent_date"),
                ("campaigns", *MAILBOX_COUNTS),
            ),
            reference.mailbox_days(of),
        ),
        "fct_workspace_days": (
            _counts(settings, "fct_workspace_days", ("workspace_id", "sent_date"), ("cells", *COUNTS, "hard_bounced", *SUMS)),
            reference.workspace_days(of),
        ),
        "fct_mailbox_health_days": (
            _counts(
                settings,
                "fct_mailbox_health_days",
                ("workspace_id", "mailbox_id", "health_date"),
                (*HEALTH_COUNTS, "sent_this_week", "sent_week_before"),
            ),
            reference.mailbox_health_days(of),
        ),
        "fct_workspace_health_days": (
            _counts(settings, "fct_workspace_health_days", ("workspace_id", "health_date"), ("mailboxes", "sent")),
            reference.workspace_health_days(of),
        ),
        "fct_provider_days": (
            _counts(
                settings,
                "fct_provider_days",
                ("workspace_id", "campaign_id", "recipient_provider", "sent_date"),
                (*COUNTS, "hard_bounced", *SUMS, "deferred"),
            ),
            reference.provider_days(of),
        ),
        "fct_workspace_provider_days": (
            _counts(
                settings,
                "fct_workspace_provider_days",
                ("workspace_id", "recipient_provider", "sent_date"),
                ("campaigns", *PROVIDER_COUNTS),
            ),
            reference.workspace_provider_days(of),
        ),
        "fct_step_days": (
            _counts(
                settings,
                "fct_step_days",
                ("workspace_id", "campaign_id", "sequence_id", "step", "variant", "sent_date"),
                (*COUNTS, "hard_bounced", *SUMS),
            ),
            reference.step_days(of),
        ),
        "fct_recipient_domain_days": (
            _counts(
                settings,
                "fct_recipient_domain_days",
                ("workspace_id", "campaign_id", "recipient_domain", "recipient_provider", "sent_date"),
                (*COUNTS, "hard_bounced", "deferred"),
            ),
            reference.recipient_domain_days(of),
        ),
        "fct_link_days": (
            _counts(settings, "fct_link_days", ("workspace_id", "campaign_id", "link", "sent_date"), LINK_COUNTS),
            reference.link_days(of),
        ),
        "fct_delay_days": (
            {
                row[:5]: row[5]
                for row in _rows(settings, "fct_delay_days", "workspace_id, campaign_id, delay, bucket, sent_date", "messages")
            },
            reference.delay_days(of),
        ),
        "fct_workspace_delays": (
            _counts(
                settings, "fct_workspace_delays", ("workspace_id", "delay", "bucket", "sent_date"), ("campaigns", "messages")
            ),
            reference.workspace_delays(of),
        ),
        "fct_provider_delays": (
            {
                row[:4]: row[4]
                for row in _rows(
                    settings, "fct_provider_delays", "workspace_id, recipient_provider, bucket, sent_date", "messages"
                )
            },
            reference.provider_delays(of),
        ),
        "fct_event_day_shifts": (
            {
                row[:5]: row[5:]
                for row in _rows(
                    settings,
                    "fct_event_day_shifts",
                    "workspace_id, campaign_id, mailbox_id, domain_id, event_date",
                    *("messages", *SHIFTED_COUNTS),
                )
            },
            reference.event_day_shifts(of),
        ),
        "fct_bounce_days": ({(row[:5], row[5]): row[6] for row in bounces}, reference.bounce_days(of)),
        "fct_rejected_events": (
            Counter(_rows(settings, "fct_rejected_events", "workspace_id, problem")),
            reference.rejected(loaded, now),
        ),
    }
    return [fact for fact, (found, expected) in pairs.items() if _of_others(found, without) != expected]


def _of_others(found: Mapping[Any, Hashable], without: Collection[str]) -> dict[Any, Hashable]:
    """The entries of other workspaces. The workspace is the first part of a key, or of its first part."""
    return {key: value for key, value in found.items() if (key[0][0] if isinstance(key[0], tuple) else key[0]) not in without}


def _rows(settings: Settings, fact: str, keys: str, *others: str) -> list[tuple[Any, ...]]:
    columns = ", ".join((keys, *others))
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(f"select {columns} from core.{fact} where valid_to = {OPEN_ENDED}".encode()).fetchall()


def _counts(settings: Settings, fact: str, grain: Sequence[str], counts: Sequence[str]) -> dict[tuple[Any, ...], Counter[str]]:
    """The current rows of a rollup, by grain; without counts of 0."""
    rows = _rows(settings, fact, ", ".join(grain), *counts)
    return {row[: len(grain)]: +Counter(dict(zip(counts, row[len(grain) :], strict=True))) for row in rows}


def everything(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """All current rows of all versioned models, sorted, without their batches and loaded_at."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with connect(settings, "mailmart_owner") as connection:
        for model in VERSIONED:
            columns = [
                name
                for (name,) in connection.execute(
                    "select column_name from information_schema.columns where table_schema = 'core' and table_name = %s"
                    " and column_name not in ('valid_from', 'valid_to', 'loaded_at', 'last_loaded_at', 'rejected_event_id')"
                    " order by ordinal_position",
                    (model,),
                )
            ]
            rows = connection.execute(f"select {', '.join(columns)} from core.{model} where valid_to = {OPEN_ENDED}").fetchall()
            found[model] = sorted(rows, key=repr)
    return found


def written_by_last_batch(settings: Settings) -> dict[str, tuple[int, int]]:
    """Rows inserted and expired, by model, in the last batch of each model."""
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select distinct on (model) model, rows_inserted, rows_expired from app.model_runs order by model, batch_id desc"
        ).fetchall()
    return {model: (inserted, expired) for model, inserted, expired in rows}
