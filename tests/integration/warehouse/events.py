"""Random events of an e-mail platform, with all that goes wrong until they are loaded, and its app tables."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

COLUMNS = (
    "event_id",
    "workspace_id",
    "message_id",
    "event_type",
    "occurred_at",
    "campaign_id",
    "mailbox_id",
    "domain_id",
    "recipient_domain",
    "smtp_status",
    "is_machine",
    "smtp_code",
    "diagnostic",
    "sequence_id",
    "step",
    "variant",
    "tags",
    "url",
)

TRANSPORT = ("queued", "sent", "delivered", "deferred", "bounced", "rejected", "failed")
ENGAGEMENT = ("opened", "clicked", "replied", "autoresponded", "complained", "unsubscribed", "subscribed")

# ids in the facts of every workspace: the first is in no app table, the second only in workspace w0's
OF_NO_APP = "7"
OF_ANOTHER_APP = "w0"

ZONES = (
    "UTC",
    "America/New_York",
    "America/St_Johns",  # -03:30, with daylight saving
    "Asia/Kathmandu",  # +05:45
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # daylight saving of half an hour
    "Europe/Berlin",
    "Pacific/Chatham",  # +12:45, with daylight saving
)
# those whose clocks change
CHANGING_ZONES = tuple(zone for zone in ZONES if zone not in ("UTC", "Asia/Kathmandu", "Asia/Kolkata"))
# no IANA zones; PostgreSQL reads the last two as offsets
NO_ZONES = ("Mars/Base", "", "PST", "UTC+3")


class Bounce(NamedTuple):
    """The answer of a receiving server, and its undisputed reason and class."""

    smtp_status: str | None
    smtp_code: int | None
    diagnostic: str | None
    bounce_reason: str
    is_hard: bool


BOUNCES = (
    Bounce("5.1.1", 550, "550 5.1.1 user unknown", "invalid_recipient", True),
    Bounce("5.1.2", 550, "550 5.1.2 host unknown", "invalid_domain", True),
    Bounce("5.1.6", 551, "551 5.1.6 recipient has moved", "moved", True),
    Bounce("5.2.2", 552, "552 5.2.2 mailbox full", "mailbox_full", False),
    Bounce("5.3.4", 552, "552 5.3.4 message too large", "message_too_large", False),
    Bounce("4.4.7", None, "delivery time expired", "timed_out", False),
    Bounce("5.7.1", 554, "554 5.7.1 blocked using zen.spamhaus.org", "blocked", False),
    Bounce(None, None, None, "undetermined", False),
)


# URLs of clicks; the parameters that are in TRACKING_PARAMETERS, and no other, say who clicked
URLS = (
    "https://example.com/a",
    "https://EXAMPLE.com/a?utm_source=x&UTM_Campaign=y",
    "https://example.com/a?utm_source=x&id=1&gclid=7",
    "HTTPS://example.com/a?id=1&mc_eid=5#top",
    "https://example.com/a?id=1&fbclid",
    "https://example.com/a?id=1&xutm_source=1&utm=2",
    "https://example.com",
    "https://example.com/?gclid=1#/pricing",
    "https://example.com/#!/pricing",
    " https://example.com/b?page=2&&fbclid=x\n",
    "https://example.com/" + "c" * 500 + "?id=2",
    "https://example.com/b?page=2&utm_source=" + "d" * 1500,
    "no URL?utm_source=x",
    "",
    None,
)
TRACKING_PARAMETERS = ("utm_source", "utm_campaign", "gclid", "mc_eid", "fbclid")


@dataclass(frozen=True)
class Event:
    """One row of raw.email_events, without its loaded_at."""

    event_id: str | None
    workspace_id: str | None
    message_id: str | None
    event_type: str | None
    occurred_at: datetime | None
    campaign_id: str | None = None
    mailbox_id: str | None = None
    domain_id: str | None = None
    recipient_domain: str | None = None
    smtp_status: str | None = None
    is_machine: bool | None = None
    smtp_code: int | None = None
    diagnostic: str | None = None
    sequence_id: str | None = None
    step: str | None = None
    variant: str | None = None
    tags: tuple[str, ...] | None = None
    url: str | None = None


@dataclass(frozen=True)
class Campaign:
    """One row of raw.campaigns."""

    campaign_id: str
    name: str | None
    status: str


@dataclass(frozen=True)
class Mailbox:
    """One row of raw.mailboxes."""

    mailbox_id: str
    domain_id: str | None


@dataclass(frozen=True)
class IpAddress:
    """One row of raw.smtp_ip_addresses."""

    smtp_ip_address_id: str
    provider_blacklist_status: dict[str, Any] | None
    last_reputation_check: datetime | None


@dataclass(frozen=True)
class Assignment:
    """One row of raw.domain_ip_assignments."""

    domain_id: str
    smtp_ip_address_id: str
    status: str
    expires_at: datetime | None


@dataclass(frozen=True)
class App:
    """The app tables of one workspace; without a timezone they do not have the workspace itself."""

    workspace_id: str
    timezone: str | None = None
    campaigns: tuple[Campaign, ...] = ()
    domains: tuple[str, ...] = ()
    mailboxes: tuple[Mailbox, ...] = ()
    ip_addresses: tuple[IpAddress, ...] = ()
    assignments: tuple[Assignment, ...] = ()


def random_events(
    chance: random.Random, workspace_id: str, messages: int, start: datetime, *, days: int = 5, plain: float = 0.0
) -> list[Event]:
    """Events of one workspace in the order of loading: late, loaded twice, conflicting, and some invalid.

    Few ids and few times, so that ties, collisions and moves between rows are frequent. The times are between a minute before
    `start` and `days` later. `plain` is the share (0 to 1) of messages that are only sent and delivered: the others bounce and
    complain so much that the rates exceed every threshold of the health score (with 0.85 they do not).
    """

    def some_id(kind: str, *own: str) -> str | None:
        of_facts = (f"{kind}{OF_NO_APP}", f"{OF_ANOTHER_APP}-{kind}1", "", None)
        return chance.choice((*(f"{workspace_id}-{kind}{number}" for number in own), *of_facts))

    events: list[Event] = []
    for message in range(messages):
        # the same message ids are used by every workspace
        message_id = f"m{message}"
        for kind in ("sent", "delivered") if chance.random() < plain else _some_kinds(chance):
            # the diagnostic of a deferral is no bounce reason
            # a chance of its own, so that the rest does not depend on it
            labels = random.Random(f"{workspace_id} {len(events)}")
            bounce = chance.choice(BOUNCES) if kind in ("bounced", "deferred") else BOUNCES[-1]
            events.append(
                Event(
                    event_id=f"{workspace_id}-e{len(events)}" if chance.random() < 0.9 else f"e{len(events)}",
                    workspace_id=workspace_id,
                    message_id=message_id,
                    event_type=kind,
                    occurred_at=start + _some_time(chance, days),
                    campaign_id=some_id("c", "1", "1", "1", "1", "2", "2", "3", "4"),
                    mailbox_id=some_id("b", "1", "1", "2", "3"),
                    domain_id=some_id("d", "1", "2"),
                    recipient_domain=chance.choice(
                        (labels.choice(("gmail.com", "aol.com", "acme.example", "acme.example (sales)")), "", None)
                    ),
                    smtp_status=bounce.smtp_status,
                    is_machine=chance.choice((True, False, None)),
                    smtp_code=bounce.smtp_code,
                    diagnostic=bounce.diagnostic,
                    sequence_id=labels.choice(("s1", "s2", "", " ", None)),
                    step=labels.choice(("1", " 2 ", "3", None)),
                    variant=labels.choice(("A", "B", "", None)),
                    tags=labels.choice((("cold",), ("cold", "q4"), (), ("",), None)),
                    url=labels.choice(URLS) if kind in ("clicked", "opened") else None,
                )
            )
    # loaded twice; sometimes the second time with other content
    for event in chance.sample(events, k=len(events) // 6):
        other = replace(event, campaign_id="c9", event_type="delivered") if chance.random() < 0.5 else event
        events.append(other)
    chance.shuffle(events)
    # invalid events are rejected and change no count
    for broken in (
        {"message_id": None},
        {"message_id": ""},
        {"event_type": ""},
        {"occurred_at": None},
        {"event_id": None},
        {"workspace_id": None},
        {"occurred_at": datetime(2099, 1, 1, tzinfo=UTC)},
    ):
        events.insert(chance.randint(0, len(events)), replace(chance.choice(events), **broken))
    return events


def _some_kinds(chance: random.Random) -> list[str]:
    return [
        chance.choice(TRANSPORT if chance.random() < 0.6 else (*ENGAGEMENT, "teleported")) for _ in range(chance.randint(1, 7))
    ]


def _some_time(chance: random.Random, days: int) -> timedelta:
    """Half of the times half a day apart (equal, and on both sides of midnight), the rest around quarters of an hour."""
    if chance.random() < 0.5:
        return timedelta(hours=12 * chance.randint(0, 2 * days - 1), minutes=chance.choice((0, 0, 1, -1)))
    minutes, seconds = chance.choice((0, 14, 15, 29, 30, 45)), chance.choice((0, 0, 59))
    return timedelta(hours=chance.randint(0, 24 * days - 1), minutes=minutes, seconds=seconds)


def start_before_clock_change(zone: str, now: datetime) -> datetime:
    """A midnight (UTC) to start random events at, two days before the last change of the zone's clocks."""
    local = ZoneInfo(zone)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=4)
    for back in range(400):
        day = midnight - timedelta(days=back)
        if day.astimezone(local).utcoffset() != (day + timedelta(days=1)).astimezone(local).utcoffset():
            return day - timedelta(days=2)
    raise ValueError(f"the clocks of {zone} have not changed for 400 days")


def random_app(chance: random.Random, workspace_id: str, now: datetime) -> App:
    """App tables that know some of the ids of random_events, and others that no event names."""

    def some_of(kind: str, numbers: int) -> list[str]:
        return [f"{workspace_id}-{kind}{number}" for number in range(1, numbers + 1) if chance.random() < 0.75]

    def named(campaign_id: str) -> Campaign:
        name = chance.choice((f"Campaign {campaign_id}", "Q4 Outreach", None))
        return Campaign(campaign_id, name, chance.choice(("draft", "scheduled", "sending", "sending", "paused", "completed")))

    domains = some_of("d", 3)
    ips = [f"{workspace_id}-i{number}" for number in range(4)]
    return App(
        workspace_id=workspace_id,
        timezone=chance.choice((None, *ZONES, *NO_ZONES)),
        campaigns=tuple(named(campaign_id) for campaign_id in some_of("c", 6)),
        domains=tuple(domains),
        # a mailbox may name a domain that the app does not have
        mailboxes=tuple(
            Mailbox(mailbox_id, chance.choice((*domains, *domains, f"d{OF_NO_APP}", None))) for mailbox_id in some_of("b", 4)
        ),
        ip_addresses=tuple(
            IpAddress(
                smtp_ip_address_id=ip,
                provider_blacklist_status=chance.choice(
                    (
                        None,
                        {},
                        {"spamhaus": False},
                        {"spamhaus": False, "sorbs": True},
                        {"spamhaus": {"listed": False}, "sorbs": False},
                        {"spamhaus": {"listed": True, "since": "2025-11-01"}, "sorbs": {"listed": False}},
                        {"spamhaus": {"checked": True}},
                    )
                ),
                last_reputation_check=chance.choice((None, now - timedelta(hours=chance.randint(1, 500)))),
            )
            for ip in ips
        ),
        assignments=tuple(
            Assignment(
                domain_id=domain_id,
                smtp_ip_address_id=ip,
                status=chance.choice(("active", "active", "warming", "scheduled", "expired")),
                expires_at=chance.choice((None, now + timedelta(days=30), now - timedelta(days=2))),
            )
            for domain_id in domains
            for ip in chance.sample(ips, k=chance.randint(0, 3))
        ),
    )
