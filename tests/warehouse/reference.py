"""The metrics once more, in plain Python over a list of events: slow, obvious, and written from the definitions alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal

from tests.warehouse.events import BOUNCES, Bounce, Event

COUNTS = (
    "sent",
    "delivered",
    "bounced",
    "opened",
    "clicked",
    "replied",
    "complained",
    "unsubscribed",
    "human_opened",
    "human_clicked",
)

Cell = tuple[str, str, str, str, date]


@dataclass(frozen=True)
class Message:
    """One message as it counts; `sent_at` is None while it is not sent."""

    workspace_id: str
    message_id: str
    campaign_id: str
    mailbox_id: str
    domain_id: str
    recipient_domain: str
    sent_at: datetime | None
    counts: frozenset[str]
    # '' where the message did not bounce
    bounce_reason: str
    is_hard_bounced: bool


def usable(landed: Iterable[Event], now: datetime) -> dict[tuple[str, str], Event]:
    """The first landing of each event that can be used, by (workspace_id, event_id)."""
    taken: dict[tuple[str, str], Event] = {}
    for event in landed:
        if not (event.workspace_id and event.event_id and event.message_id and event.event_type):
            continue
        if event.occurred_at is None or (event.occurred_at - now).total_seconds() > 86_400:
            continue
        taken.setdefault((event.workspace_id, event.event_id), event)
    return taken


def messages(landed: Iterable[Event], now: datetime) -> dict[tuple[str, str], Message]:
    """Every message that has an event, by (workspace_id, message_id)."""
    grouped: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in usable(landed, now).values():
        grouped[(event.workspace_id or "", event.message_id or "")].append(event)
    return {key: _message(key, events) for key, events in grouped.items()}


def campaign_days(of: Iterable[Message]) -> dict[Cell, Counter[str]]:
    """Counts by (workspace, campaign, mailbox, domain, day of sending in UTC)."""
    cells: dict[Cell, Counter[str]] = defaultdict(Counter)
    for message in of:
        if message.sent_at is not None:
            day = message.sent_at.astimezone(UTC).date()
            cell = (message.workspace_id, message.campaign_id, message.mailbox_id, message.domain_id, day)
            cells[cell].update(message.counts)
    return cells


def rate(part: int, whole: int) -> Decimal:
    """Per cent, half up, two decimals; 0 over nothing."""
    if whole == 0:
        return Decimal("0.00")
    return (Decimal(100) * part / whole).quantize(Decimal("0.01"), ROUND_HALF_UP)


def bounce_of(event: Event) -> Bounce:
    """What a bounced event says. The reference knows its own few bounces; classifying others is for the corpus of real ones."""
    said = (event.smtp_status, event.smtp_code, event.diagnostic)
    return {(bounce.smtp_status, bounce.smtp_code, bounce.diagnostic): bounce for bounce in BOUNCES}[said]


def _bounce(in_order: Iterable[Event]) -> Bounce | None:
    """Of a message's events, oldest first: its latest hard bounce, else its latest bounce."""
    bounces = [bounce_of(event) for event in in_order if event.event_type == "bounced"]
    deciding = [bounce for bounce in bounces if bounce.is_hard] or bounces
    return deciding[-1] if deciding else None


def _message(key: tuple[str, str], events: Sequence[Event]) -> Message:
    in_order = sorted(events, key=lambda event: (event.occurred_at, event.event_id))

    def latest(name: str) -> str:
        named = [getattr(event, name) for event in in_order if getattr(event, name)]
        return named[-1] if named else ""

    def times(*kinds: str) -> list[datetime]:
        return [event.occurred_at for event in events if event.event_type in kinds and event.occurred_at]

    sent_at: datetime | None = None
    refused = bool(times("rejected", "failed")) and not times("sent", "delivered", "deferred", "bounced")
    for kind in ("sent", "queued", "delivered", "deferred", "bounced"):
        if times(kind) and not (kind == "queued" and refused):
            sent_at = min(times(kind))
            break

    counts: set[str] = set()
    if sent_at is not None:
        counts.add("sent")
    if times("bounced"):
        counts.add("bounced")
    elif times("delivered"):
        counts.add("delivered")
        human = [event.event_type for event in events if not event.is_machine]
        if times("opened", "clicked"):
            counts.add("opened")
        if "opened" in human or "clicked" in human:
            counts.add("human_opened")
        if "clicked" in human:
            counts.add("human_clicked")
        for kind in ("clicked", "replied", "complained", "unsubscribed"):
            if times(kind):
                counts.add(kind)
    bounce = _bounce(in_order)
    return Message(
        workspace_id=key[0],
        message_id=key[1],
        campaign_id=latest("campaign_id"),
        mailbox_id=latest("mailbox_id"),
        domain_id=latest("domain_id"),
        recipient_domain=latest("recipient_domain"),
        sent_at=sent_at,
        counts=frozenset(counts),
        bounce_reason=bounce.bounce_reason if bounce else "",
        is_hard_bounced=bounce is not None and bounce.is_hard,
    )
