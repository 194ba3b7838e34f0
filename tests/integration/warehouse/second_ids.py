"""Random mail of SendGrid whose messages have two ids, and what plain Python counts of it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from api.db.connection import connect
from api.settings import Settings

KINDS = {"processed": "queued", "delivered": "delivered", "bounce": "bounced", "open": "opened"}

# what plain Python and the warehouse say of a message: (its first id, or the second one; recipient) → its event types
Messages = dict[tuple[str, str], set[str]]


@dataclass(frozen=True)
class MailEvent:
    """An event that has the first id of its message (sg_message_id), the second one (smtp-id), or both."""

    workspace_id: str
    first: str | None
    second: str | None
    recipient: str
    kind: str
    seconds: int

    def body(self) -> dict[str, Any]:
        ids = {"sg_message_id": f"{self.first}.filter1.2.0" if self.first else "", "smtp-id": self.second}
        fields = {"event": self.kind, "email": f"jane@{self.recipient}", "timestamp": self.seconds}
        return {key: value for key, value in (fields | ids).items() if value is not None}


def random_mail(chance: random.Random, workspace_id: str, start: datetime) -> list[MailEvent]:
    """Few second ids and recipients, so that several messages share a second id: of two recipients, and of one."""
    events: dict[MailEvent, None] = {}
    for number in range(chance.randint(1, 6)):
        second = f"<m{chance.randint(1, 2)}@sender.example>"
        recipient = f"r{chance.randint(1, 2)}.example"
        for _ in range(chance.randint(1, 4)):
            kind = chance.choice(("processed", "delivered", "open", "bounce", "bounce"))
            has_first = kind != "bounce"
            event = MailEvent(
                workspace_id,
                f"sg{number}" if has_first else None,
                None if kind == "open" else second,
                recipient,
                kind,
                int(start.timestamp()) + chance.randint(0, 5) * 3600,
            )
            events[event] = None
    shuffled = list(events)
    chance.shuffle(shuffled)
    return shuffled


def load_mail(settings: Settings, events: Iterable[MailEvent], loaded_at: datetime) -> None:
    with connect(settings, "mailmart_owner") as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into raw.webhook_payloads (provider, workspace_id, payload, loaded_at) values ('sendgrid', %s, %s, %s)",
            [(event.workspace_id, Jsonb([event.body()]), loaded_at) for event in events],
        )


def messages(events: Iterable[MailEvent], workspace_id: str) -> Messages:
    """The messages of these events, whatever their order."""
    of_workspace = [event for event in events if event.workspace_id == workspace_id]
    # by second id and recipient: the first time at which an event of a message had both
    taught: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for event in of_workspace:
        if event.first and event.second:
            times = taught[event.second, event.recipient]
            times[event.first] = min(times.get(event.first, event.seconds), event.seconds)
    found: Messages = defaultdict(set)
    for event in of_workspace:
        key = event.first or _message_under(taught[event.second or "", event.recipient], event) or event.second or ""
        found[key, event.recipient].add(KINDS[event.kind])
    return dict(found)


def _message_under(taught: dict[str, int], event: MailEvent) -> str | None:
    """The message that was sent last before the event; if none was, the first one."""
    before = {first: time for first, time in taught.items() if time <= event.seconds}
    if before:
        return min(before, key=lambda first: (-before[first], first))
    return min(taught, key=lambda first: (taught[first], first), default=None)


def messages_found(settings: Settings, workspace_id: str) -> Messages:
    """The messages in core, each with the types of the events that name it; the two facts have to agree on which there are."""
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            """
            select
                split_part(messages.message_id, ':', 1),
                messages.recipient_domain,
                array_agg(distinct events.event_type) filter (where events.event_type is not null),
                messages.is_bounced,
                messages.is_opened,
                messages.is_sent,
                messages.provider_message_id
            from core.fct_messages as messages
            full join core.fct_email_events as events
                on
                    messages.workspace_id = events.workspace_id
                    and messages.message_id = events.message_id
                    and events.valid_to = 9223372036854775807
            where messages.valid_to = 9223372036854775807 and messages.workspace_id = %s
            group by messages.message_id, 2, 4, 5, 6, 7
            """,
            (workspace_id,),
        ).fetchall()
    for _, _, kinds, is_bounced, is_opened, is_sent, provider_message_id in rows:
        assert is_bounced == ("bounced" in kinds)
        assert is_opened == ("opened" in kinds and "delivered" in kinds and not is_bounced)
        assert is_sent == bool({"queued", "delivered", "bounced"} & set(kinds))
        # the sender's, unless only opens have come
        assert provider_message_id.startswith("<m") or set(kinds) == {"opened"}
    return {(key, recipient): set(kinds) for key, recipient, kinds, *_ in rows}
