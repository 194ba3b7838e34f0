"""The metrics once more, in plain Python over a list of events: slow, obvious, and written from the definitions alone."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.integration.warehouse.events import BOUNCES, ENGAGEMENT, TRACKING_PARAMETERS, TRANSPORT, Bounce, Event
from tests.integration.warehouse.seeds import seed

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

# numbers of events of a message, which are summed
SUMS = ("opens_and_clicks", "classified_opens_and_clicks")

# the counts of slots: those that a heatmap shows
SLOT_COUNTS = ("sent", "delivered", "opened", "clicked", "replied")
# those of the sums over campaigns: of hours, and of the days of a mailbox
HOUR_COUNTS = ("sent", "opened", "clicked", "replied")
HEALTH_COUNTS = ("sent", "delivered", "hard_bounced", "complained", "unsubscribed")
MAILBOX_COUNTS = ("sent", "delivered", "bounced", "hard_bounced", "complained", "unsubscribed")
# those of providers of recipients over all campaigns
PROVIDER_COUNTS = (
    *("sent", "delivered", "deferred", "bounced", "hard_bounced"),
    *("opened", "clicked", "replied", "complained", "unsubscribed"),
)
# the first event of these types is a time of the message; a click is an open, too
FIRST_TIMES = {
    "first_delivered_at": ("delivered",),
    "first_deferred_at": ("deferred",),
    "first_bounced_at": ("bounced",),
    "first_opened_at": ("opened", "clicked"),
    "first_clicked_at": ("clicked",),
    "first_replied_at": ("replied",),
    "first_complained_at": ("complained",),
    "first_unsubscribed_at": ("unsubscribed",),
}
# the same of events that are not marked as a machine's
FIRST_HUMAN_TIMES = {"first_human_opened_at": ("opened", "clicked"), "first_human_clicked_at": ("clicked",)}
# the time that decides on which day a message counts
TIME_OF_COUNT = {
    **{count: f"first_{count}_at" for count in COUNTS if count != "sent"},
    "hard_bounced": "first_bounced_at",
}
SHIFTED_COUNTS = tuple(TIME_OF_COUNT)
OUTCOMES = (
    "messages",
    "bounced",
    "hard_bounced",
    "undelivered",
    "complained",
    "unsubscribed",
    "machine_opened",
    "machine_clicked",
)
LINK_COUNTS = ("messages_clicked", "human_messages_clicked", "clicks", "human_clicks")
# the kinds of delays; in microseconds, where each bucket from 1 on begins
DELAYS = ("delivered", "opened", "clicked", "replied")
DELAY_BOUNDS = [round(1_000_000 * 2 ** (number / 4)) for number in range(93)]
MAX_LINK_LENGTH = 400
PROVIDERS = {row["domain"]: row["provider"] for row in seed("mailbox_providers")}
# the columns in which two copies of an event are equal or in conflict
CONTENT = ("message_id", "event_type", "occurred_at", "campaign_id", "mailbox_id", "domain_id")

Cell = tuple[str, str, str, str, date]

KNOWN_TYPES = frozenset((*TRANSPORT, *ENGAGEMENT))


@dataclass(frozen=True)
class Message:
    """One message and its counts; `sent_at` is None if it is not sent."""

    workspace_id: str
    message_id: str
    campaign_id: str
    mailbox_id: str
    domain_id: str
    recipient_domain: str
    sent_at: datetime | None
    counts: frozenset[str]
    # '' if the message did not bounce
    bounce_reason: str
    is_hard_bounced: bool
    # open and click events if it is delivered, and those whose provider says whether a machine made them
    opens_and_clicks: int = 0
    classified_opens_and_clicks: int = 0
    sequence_id: str | None = None
    step: str | None = None
    variant: str | None = None
    tags: tuple[str, ...] | None = None
    recipient_provider: str = ""
    # of each link that was clicked, if it is delivered: its clicks, and those that are not marked as a machine's
    links: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    # the times of FIRST_TIMES and FIRST_HUMAN_TIMES that it has
    first_times: Mapping[str, datetime] = field(default_factory=dict)
    # engagement that counts nowhere, because the message is not delivered; the fact has no such column
    is_engaged_undelivered: bool = field(default=False, compare=False)

    @property
    def sums(self) -> dict[str, int]:
        """What is summed, by name."""
        return {name: getattr(self, name) for name in SUMS}


def first_copies(loaded: Iterable[Event], now: datetime) -> dict[tuple[str, str], Event]:
    """The first copy of each valid event, by (workspace_id, event_id)."""
    first: dict[tuple[str, str], Event] = {}
    for event in loaded:
        if not _rejection_reason(event, now):
            first.setdefault((event.workspace_id or "", event.event_id or ""), event)
    return first


def messages(loaded: Iterable[Event], now: datetime) -> dict[tuple[str, str], Message]:
    """Every message that has an event, by (workspace_id, message_id)."""
    grouped: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in first_copies(loaded, now).values():
        grouped[(event.workspace_id or "", event.message_id or "")].append(event)
    return {key: _message(key, events) for key, events in grouped.items()}


def campaign_days(of: Iterable[Message]) -> dict[Cell, Counter[str]]:
    """Counts by (workspace, campaign, mailbox, domain, day of sending in UTC)."""
    cells: dict[Cell, Counter[str]] = defaultdict(Counter)
    for message in of:
        if message.sent_at is not None:
            cells[_cell(message, message.sent_at)].update(
                message.counts | ({"hard_bounced"} if message.is_hard_bounced else set())
            )
            cells[_cell(message, message.sent_at)].update(message.sums)
    return {cell: +counts for cell, counts in cells.items()}


def provider_days(of: Iterable[Message]) -> dict[tuple[str, str, str, date], Counter[str]]:
    """Counts by (workspace, campaign, provider of the recipient, day of sending in UTC)."""
    return _days(of, lambda message: (message.workspace_id, message.campaign_id, message.recipient_provider))


def workspace_provider_days(of: Iterable[Message]) -> dict[tuple[str, str, date], Counter[str]]:
    """Counts of all campaigns by (workspace, provider of the recipient, day), and how many campaigns there are in it."""
    totals: dict[tuple[str, str, date], Counter[str]] = defaultdict(Counter)
    for (workspace_id, _, provider, day), counts in provider_days(of).items():
        totals[workspace_id, provider, day].update({"campaigns": 1} | {name: counts[name] for name in PROVIDER_COUNTS})
    return {key: +counts for key, counts in totals.items()}


def step_days(of: Iterable[Message]) -> dict[tuple[str, str, str, str, str, date], Counter[str]]:
    """Counts by (workspace, campaign, sequence, step, variant, day of sending in UTC); '' for what is not named."""
    days = _days(
        of,
        lambda message: (
            *(message.workspace_id, message.campaign_id),
            *(message.sequence_id or "", message.step or "", message.variant or ""),
        ),
    )
    for counts in days.values():
        # nothing shows them by step
        counts.pop("deferred", None)
    return days


def bare_domain(domain: str) -> str:
    """A recipient's domain without what is written beside it."""
    return re.split(r"[\s()]", domain)[0]


def recipient_domain_days(of: Iterable[Message]) -> dict[tuple[str, str, str, str, date], Counter[str]]:
    """Counts by (workspace, campaign, domain of the recipient, its provider, day of sending in UTC)."""
    days = _days(
        of,
        lambda message: (
            *(message.workspace_id, message.campaign_id),
            *(bare_domain(message.recipient_domain), message.recipient_provider),
        ),
    )
    for counts in days.values():
        # nothing shows them by domain
        for name in SUMS:
            counts.pop(name, None)
    return days


def _days(of: Iterable[Message], key: Callable[[Message], tuple[Hashable, ...]]) -> dict[Any, Counter[str]]:
    """All counts by the key's parts and the day of sending in UTC."""
    days: dict[tuple[Hashable, ...], Counter[str]] = defaultdict(Counter)
    for message in of:
        if message.sent_at is not None:
            counts = days[*key(message), message.sent_at.astimezone(UTC).date()]
            counts.update(message.counts)
            counts.update(message.sums)
            counts["hard_bounced"] += message.is_hard_bounced
            counts["deferred"] += "first_deferred_at" in message.first_times
    return {cell: +counts for cell, counts in days.items()}


def link_days(of: Iterable[Message]) -> dict[tuple[str, str, str, date], Counter[str]]:
    """Clicks by (workspace, campaign, link, day of sending in UTC)."""
    days: dict[tuple[str, str, str, date], Counter[str]] = defaultdict(Counter)
    for message in of:
        for link, (clicks, human_clicks) in message.links.items():
            assert message.sent_at is not None
            numbers = (1, int(human_clicks > 0), clicks, human_clicks)
            key = message.workspace_id, message.campaign_id, link, message.sent_at.astimezone(UTC).date()
            days[key].update(dict(zip(LINK_COUNTS, numbers, strict=True)))
    return {key: +counts for key, counts in days.items()}


def link_of(url: str | None) -> str:
    """The URL without the parameters that say who clicked, and without its fragment, unless that is a route."""
    text = (url or "")[:1000].strip(" \t\r\n")
    address, _, fragment = text.partition("#")
    path, question_mark, query = address.partition("?")
    kept = [part for part in query.split("&") if part.partition("=")[0].lower() not in TRACKING_PARAMETERS]
    link = (path + question_mark + "&".join(kept)).rstrip("?&")
    scheme, separator, rest = link.partition("://")
    if separator:
        host, slash, after = rest.partition("/")
        link = f"{scheme.lower()}://{host.lower()}{slash or '/'}{after}"
    return (link + (f"#{fragment}" if fragment.startswith(("/", "!")) else ""))[:MAX_LINK_LENGTH]


def delays(message: Message) -> dict[str, int]:
    """The bucket of each delay that a message has, by kind."""
    if message.sent_at is None:
        return {}
    return {
        kind: bisect_right(DELAY_BOUNDS, (message.first_times[f"first_{kind}_at"] - message.sent_at) // timedelta(microseconds=1))
        for kind in DELAYS
        if kind in message.counts
    }


def delay_days(of: Iterable[Message]) -> Counter[tuple[str, str, str, int, date]]:
    """Messages by (workspace, campaign, kind of delay, bucket, day of sending in UTC)."""
    return Counter(
        (message.workspace_id, message.campaign_id, kind, bucket, message.sent_at.astimezone(UTC).date())
        for message in of
        for kind, bucket in delays(message).items()
        if message.sent_at is not None
    )


def workspace_delays(of: Iterable[Message]) -> dict[tuple[str, str, int, date], Counter[str]]:
    """Messages of all campaigns by (workspace, kind of delay, bucket, day), and how many campaigns there are in it."""
    totals: dict[tuple[str, str, int, date], Counter[str]] = defaultdict(Counter)
    for (workspace_id, _, kind, bucket, day), messages in delay_days(of).items():
        totals[workspace_id, kind, bucket, day].update({"campaigns": 1, "messages": messages})
    return totals


def provider_delays(of: Iterable[Message]) -> Counter[tuple[str, str, int, date]]:
    """Delivered messages by (workspace, provider of the recipient, bucket, day of sending in UTC)."""
    return Counter(
        (message.workspace_id, message.recipient_provider, bucket, message.sent_at.astimezone(UTC).date())
        for message in of
        for kind, bucket in delays(message).items()
        if kind == "delivered" and message.sent_at is not None
    )


def times_of_counts(message: Message) -> dict[str, datetime]:
    """Of a sent message: each of its counts, with the time of the first event that makes it count."""
    assert message.sent_at is not None
    counts = message.counts | ({"hard_bounced"} if message.is_hard_bounced else set())
    return {"sent": message.sent_at} | {count: message.first_times[TIME_OF_COUNT[count]] for count in counts - {"sent"}}


def event_day_shifts(of: Iterable[Message]) -> dict[Cell, tuple[int, ...]]:
    """Messages that count on another day than that of sending, and what is added to each count of SHIFTED_COUNTS.

    By (workspace, campaign, mailbox, domain, day in UTC).
    """
    cells: dict[Cell, Counter[str]] = defaultdict(Counter)
    for message in of:
        if message.sent_at is None:
            continue
        at_sending = _cell(message, message.sent_at)
        by_count = {count: _cell(message, at) for count, at in times_of_counts(message).items()}
        if set(by_count.values()) == {at_sending}:
            continue
        for cell in set(by_count.values()):
            cells[cell]["messages"] += 1
        for count, cell in by_count.items():
            cells[at_sending][count] -= 1
            cells[cell][count] += 1
    return {cell: (counts["messages"], *(counts[count] for count in SHIFTED_COUNTS)) for cell, counts in cells.items()}


def send_slots(of: Iterable[Message]) -> dict[tuple[str, str, datetime], Counter[str]]:
    """Counts by (workspace, campaign, quarter of an hour of sending)."""
    slots: dict[tuple[str, str, datetime], Counter[str]] = defaultdict(Counter)
    for message in of:
        if message.sent_at is not None:
            key = message.workspace_id, message.campaign_id, _slot(message.sent_at)
            slots[key].update(message.counts.intersection(SLOT_COUNTS))
    return slots


def outcome_slots(of: Iterable[Message]) -> dict[tuple[str, str, datetime, str], Counter[str]]:
    """Counts of rare outcomes by (workspace, campaign, quarter of an hour of sending, bounce reason)."""
    slots: dict[tuple[str, str, datetime, str], Counter[str]] = defaultdict(Counter)
    for message in of:
        outcomes = message.counts & {"bounced", "complained", "unsubscribed"}
        outcomes |= {f"machine_{kind}" for kind in ("opened", "clicked") if {kind, f"human_{kind}"} & message.counts == {kind}}
        outcomes |= {"hard_bounced"} if message.is_hard_bounced else set()
        outcomes |= set() if message.counts & {"delivered", "bounced"} else {"undelivered"}
        if message.sent_at is not None and outcomes:
            key = message.workspace_id, message.campaign_id, _slot(message.sent_at), message.bounce_reason
            slots[key].update(outcomes | {"messages"})
    return slots


def mailbox_slots(of: Iterable[Message]) -> dict[tuple[str, str, str, datetime], Counter[str]]:
    """Counts by (workspace, mailbox, domain, quarter of an hour of sending)."""
    slots: dict[tuple[str, str, str, datetime], Counter[str]] = defaultdict(Counter)
    for message in of:
        if message.sent_at is not None:
            counts = message.counts | ({"hard_bounced"} if message.is_hard_bounced else set())
            key = message.workspace_id, message.mailbox_id, message.domain_id, _slot(message.sent_at)
            slots[key].update(counts.intersection(MAILBOX_COUNTS))
    return slots


def _slot(sent_at: datetime) -> datetime:
    moment = sent_at.astimezone(UTC)
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def workspace_slots(of: Iterable[Message]) -> dict[tuple[str, datetime], Counter[str]]:
    """Counts of all campaigns by (workspace, quarter of an hour of sending), and how many campaigns there are in it."""
    totals: dict[tuple[str, datetime], Counter[str]] = defaultdict(Counter)
    for (workspace_id, _, slot), counts in send_slots(of).items():
        totals[workspace_id, slot].update({"campaigns": 1} | {name: counts[name] for name in HOUR_COUNTS})
    return {key: +counts for key, counts in totals.items()}


def workspace_hours(of: Iterable[Message]) -> dict[tuple[str, datetime], Counter[str]]:
    """Counts of all campaigns by (workspace, hour of sending in UTC), and how many slots of it have mail."""
    totals: dict[tuple[str, datetime], Counter[str]] = defaultdict(Counter)
    for (workspace_id, slot), counts in workspace_slots(of).items():
        totals[workspace_id, slot.replace(minute=0)].update({"slots": 1} | {name: counts[name] for name in HOUR_COUNTS})
    return {key: +counts for key, counts in totals.items()}


def mailbox_days(of: Iterable[Message]) -> dict[tuple[str, str, str, date], Counter[str]]:
    """Counts of all campaigns by (workspace, mailbox, domain, day of sending in UTC), and how many campaigns there are in it."""
    totals: dict[tuple[str, str, str, date], Counter[str]] = defaultdict(Counter)
    for (workspace_id, _, mailbox_id, domain_id, day), counts in campaign_days(of).items():
        totals[workspace_id, mailbox_id, domain_id, day].update(
            {"campaigns": 1} | {name: counts[name] for name in MAILBOX_COUNTS}
        )
    return {key: +counts for key, counts in totals.items()}


def workspace_days(of: Iterable[Message]) -> dict[tuple[str, date], Counter[str]]:
    """Counts of all mail by (workspace, day of sending in UTC), and how many rows of campaign_days there are in it."""
    totals: dict[tuple[str, date], Counter[str]] = defaultdict(Counter)
    for (workspace_id, *_, day), counts in campaign_days(of).items():
        totals[workspace_id, day].update({"cells": 1} | {name: counts[name] for name in (*COUNTS, "hard_bounced", *SUMS)})
    return {key: +counts for key, counts in totals.items()}


def mailbox_health_days(of: Iterable[Message]) -> dict[tuple[str, str, date], Counter[str]]:
    """Sums over 30 days by (workspace, mailbox, day), if there are any; until two days after the workspace's last mail."""
    days = {key: counts for key, counts in mailbox_days(of).items() if key[1]}
    until: dict[str, date] = {}
    for workspace_id, _, _, day in days:
        until[workspace_id] = max(until.get(workspace_id, date.min), day + timedelta(days=2))
    totals: dict[tuple[str, str, date], Counter[str]] = defaultdict(Counter)
    for (workspace_id, mailbox_id, _, day), counts in days.items():
        for back in range(min(30, (until[workspace_id] - day).days + 1)):
            total = totals[workspace_id, mailbox_id, day + timedelta(days=back)]
            total.update({name: counts[name] for name in HEALTH_COUNTS})
            if back < 14:
                total["sent_this_week" if back < 7 else "sent_week_before"] += counts["sent"]
    return {key: +counts for key, counts in totals.items()}


def workspace_health_days(of: Iterable[Message]) -> dict[tuple[str, date], Counter[str]]:
    """How many mailboxes have a health score by (workspace, day), and what they sent in 30 days."""
    totals: dict[tuple[str, date], Counter[str]] = defaultdict(Counter)
    for (workspace_id, _, day), counts in mailbox_health_days(of).items():
        totals[workspace_id, day].update({"mailboxes": 1, "sent": counts["sent"]})
    return dict(totals)


def bounce_days(of: Iterable[Message]) -> Counter[tuple[Cell, str]]:
    """Bounced messages by (cell of campaign_days, reason)."""
    return Counter(
        (_cell(message, message.sent_at), message.bounce_reason)
        for message in of
        if message.sent_at is not None and "bounced" in message.counts
    )


def _cell(message: Message, sent_at: datetime) -> Cell:
    day = sent_at.astimezone(UTC).date()
    return (message.workspace_id, message.campaign_id, message.mailbox_id, message.domain_id, day)


def events(loaded: Iterable[Event], now: datetime) -> dict[tuple[str, str], tuple[Any, ...]]:
    """The content of every valid event, by (workspace_id, event_id)."""
    return {key: _content(event) for key, event in first_copies(loaded, now).items()}


def event_days(loaded: Iterable[Event], now: datetime) -> dict[tuple[str, str, date], tuple[int, datetime]]:
    """How many valid events of a known type, and the time of the last, by (workspace_id, event_type, day)."""
    found: dict[tuple[str, str, date], tuple[int, datetime]] = {}
    for (workspace_id, _), event in first_copies(loaded, now).items():
        if event.occurred_at is None or event.event_type is None or _unknown(event):
            continue
        occurred_at = event.occurred_at.astimezone(UTC)
        key = workspace_id, event.event_type, occurred_at.date()
        count, last = found.get(key, (0, occurred_at))
        found[key] = count + 1, max(last, occurred_at)
    return found


def rejected(loaded: Sequence[Event], now: datetime) -> Counter[tuple[str, str]]:
    """Rejected copies of events, by (workspace_id or '', problem)."""
    first = first_copies(loaded, now)
    counts = Counter((event.workspace_id or "", _rejection_reason(event, now)) for event in loaded)
    counts.update((event.workspace_id or "", _unknown(event)) for event in first.values())
    for event in loaded:
        if not _rejection_reason(event, now) and _content(event) != _content(
            first[event.workspace_id or "", event.event_id or ""]
        ):
            counts[event.workspace_id or "", "conflicting_duplicate"] += 1
    return Counter({key: count for key, count in counts.items() if key[1]})


def _content(event: Event) -> tuple[Any, ...]:
    return tuple(getattr(event, name) or "" for name in CONTENT)


def _unknown(event: Event) -> str:
    return "" if event.event_type in KNOWN_TYPES else "unknown_event_type"


def _rejection_reason(event: Event, now: datetime) -> str:
    """The first problem of an event; '' if it is valid."""
    missing = {
        "no_workspace": event.workspace_id,
        "no_event_id": event.event_id,
        "no_message": event.message_id,
        "no_event_type": event.event_type,
        "no_time": event.occurred_at,
    }
    if event.occurred_at is not None and event.occurred_at > now + timedelta(days=1):
        missing["future_timestamp"] = None
    return next((problem for problem, value in missing.items() if not value), "")


def rate(part: int, whole: int) -> Decimal:
    """Per cent, half up, two decimals; 0 over nothing."""
    if whole == 0:
        return Decimal("0.00")
    return (Decimal(100) * part / whole).quantize(Decimal("0.01"), ROUND_HALF_UP)


def bounce_of(event: Event) -> Bounce:
    """The bounce of an event. The reference knows only BOUNCES; test_bounces.py classifies real ones."""
    key = (event.smtp_status, event.smtp_code, event.diagnostic)
    return {(bounce.smtp_status, bounce.smtp_code, bounce.diagnostic): bounce for bounce in BOUNCES}[key]


def _bounce(in_order: Iterable[Event]) -> Bounce | None:
    """Of a message's events, oldest first: its latest hard bounce, else its latest bounce."""
    bounces = [bounce_of(event) for event in in_order if event.event_type == "bounced"]
    deciding = [bounce for bounce in bounces if bounce.is_hard] or bounces
    return deciding[-1] if deciding else None


def _links(events: Iterable[Event]) -> dict[str, tuple[int, int]]:
    clicks = [(link_of(event.url), not event.is_machine) for event in events if event.event_type == "clicked"]
    all_clicks, human_clicks = Counter(link for link, _ in clicks), Counter(link for link, is_human in clicks if is_human)
    return {link: (number, human_clicks[link]) for link, number in all_clicks.items()}


def _message(key: tuple[str, str], events: Sequence[Event]) -> Message:
    in_order = sorted(events, key=lambda event: (event.occurred_at, event.event_id))

    def latest(name: str) -> str:
        # an event of an unknown type decides nothing
        named = [getattr(event, name) for event in in_order if getattr(event, name) and not _unknown(event)]
        return named[-1] if named else ""

    def latest_label(name: str) -> str | None:
        known = [(getattr(event, name) or "").strip() for event in in_order if not _unknown(event)]
        return next((label for label in reversed(known) if label), None)

    def latest_tags() -> tuple[str, ...] | None:
        known = [tuple(tag for tag in event.tags or () if tag) for event in in_order if not _unknown(event)]
        return next((tags for tags in reversed(known) if tags), None)

    def times(*kinds: str) -> list[datetime]:
        return [event.occurred_at for event in events if event.event_type in kinds and event.occurred_at]

    sent_at: datetime | None = None
    # what proves no sending, because it was refused without any attempt to deliver it
    refused: tuple[str, ...] = ()
    if not times("delivered", "deferred", "bounced"):
        refused = ("sent", "queued") if times("rejected") else ("queued",) if times("failed") else ()
    for kind in ("sent", "queued", "delivered", "deferred", "bounced"):
        if times(kind) and kind not in refused:
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
    engagement = [event for event in events if event.event_type in ("opened", "clicked")] if "delivered" in counts else []
    bounce = _bounce(in_order)
    recipient_domain = latest("recipient_domain")
    return Message(
        workspace_id=key[0],
        message_id=key[1],
        campaign_id=latest("campaign_id"),
        mailbox_id=latest("mailbox_id"),
        domain_id=latest("domain_id"),
        recipient_domain=recipient_domain,
        sent_at=sent_at,
        counts=frozenset(counts),
        bounce_reason=bounce.bounce_reason if bounce else "",
        is_hard_bounced=bounce is not None and bounce.is_hard,
        opens_and_clicks=len(engagement),
        classified_opens_and_clicks=sum(event.is_machine is not None for event in engagement),
        sequence_id=latest_label("sequence_id"),
        step=latest_label("step"),
        variant=latest_label("variant"),
        tags=latest_tags(),
        recipient_provider=PROVIDERS.get(recipient_domain, "other") if recipient_domain else "",
        links=_links(events) if "delivered" in counts else {},
        first_times={
            name: min(found)
            for name, types in (FIRST_TIMES | FIRST_HUMAN_TIMES).items()
            if (
                found := [
                    event.occurred_at
                    for event in events
                    if event.event_type in types and event.occurred_at and not (name in FIRST_HUMAN_TIMES and event.is_machine)
                ]
            )
        },
        is_engaged_undelivered="delivered" not in counts
        and bool(times("opened", "clicked", "replied", "complained", "unsubscribed")),
    )
