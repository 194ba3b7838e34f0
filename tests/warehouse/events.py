"""Random events of an e-mail platform, with all that goes wrong on their way to the landing table."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

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
)

TRANSPORT = ("queued", "sent", "delivered", "deferred", "bounced", "rejected", "failed")
ENGAGEMENT = ("opened", "clicked", "replied", "autoresponded", "complained", "unsubscribed", "subscribed")


@dataclass(frozen=True)
class Event:
    """One row of raw.email_events, without its landing time."""

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


def random_events(chance: random.Random, workspace_id: str, messages: int, start: datetime) -> list[Event]:
    """Events of one workspace in the order of their landing: late, twice, contradicting, and some not usable.

    Few ids and few times, so that ties, collisions and moves between cells happen all the time.
    """
    events: list[Event] = []
    for message in range(messages):
        # the same message ids are used by every workspace
        message_id = f"m{message}"
        for _ in range(chance.randint(1, 7)):
            kind = chance.choice(TRANSPORT if chance.random() < 0.6 else (*ENGAGEMENT, "teleported"))
            # half a day apart: many equal times, and messages on both sides of midnight
            occurred_at = start + timedelta(hours=12 * chance.randint(0, 9), minutes=chance.choice((0, 0, 1)))
            events.append(
                Event(
                    event_id=f"{workspace_id}-e{len(events)}" if chance.random() < 0.9 else f"e{len(events)}",
                    workspace_id=workspace_id,
                    message_id=message_id,
                    event_type=kind,
                    occurred_at=occurred_at,
                    campaign_id=chance.choice(("c1", "c1", "c1", "c2", "c3", "", None)),
                    mailbox_id=chance.choice(("b1", "b2", "", None)),
                    domain_id=chance.choice(("d1", "", None)),
                    recipient_domain=chance.choice(("gmail.example", "", None)),
                    is_machine=chance.choice((True, False, None)),
                )
            )
    # landed twice; sometimes the second time with other content
    for event in chance.sample(events, k=len(events) // 6):
        other = replace(event, campaign_id="c9", event_type="delivered") if chance.random() < 0.5 else event
        events.append(other)
    chance.shuffle(events)
    # what cannot be used is set aside and changes nothing
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
