"""Webhook bodies of a few messages in the shape of each provider, so that the demo's sources and data quality have them all.

The shapes are those of the providers' documentation: docs/how-to/operators/receive-webhooks.md links to it.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

MESSAGES = 20
DAYS = 14
USER_AGENT = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
BOUNCE = "550 5.1.1 The email account that you tried to reach does not exist"
ACCEPTED = "250 2.0.0 OK"
URL = "https://example.com/offer/1"
# shares of messages
BOUNCED = 0.05
OPENED = 0.4
CLICKED = 0.1

Body = dict[str, Any]


@dataclass(frozen=True)
class _Event:
    """What happened to a message; `kind` is delivered, bounced, opened or clicked."""

    kind: str
    message: str
    recipient: str
    at: datetime
    fields: dict[str, str]

    @property
    def epoch(self) -> int:
        return int(self.at.timestamp())

    @property
    def iso(self) -> str:
        return self.at.isoformat().replace("+00:00", "Z")

    @property
    def reply(self) -> str:
        return BOUNCE if self.kind == "bounced" else ACCEPTED

    def of(self, **by_kind: Any) -> Any:
        """The value for this kind of event."""
        return by_kind[self.kind]


def provider_bodies(seed: int, days: int, until: date, fields: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Each provider with the JSON texts of its bodies, of messages over the last days until `until` (UTC), none in the future.

    Args:
        fields: campaign_id, mailbox_id and domain_id of the messages.
    """
    days = min(days, DAYS)
    messages = max(MESSAGES * days // DAYS, 1)
    for provider, make_body in SHAPES.items():
        chance = random.Random(f"{seed} {provider}")  # noqa: S311, the same numbers for the same seed
        events = [
            event for number in range(messages) for event in _events(chance, f"{provider}-{seed}-{number}", days, until, fields)
        ]
        yield provider, [json.dumps(make_body(event)) for event in events if event.at <= datetime.now(UTC)]


def _events(chance: random.Random, message: str, days: int, until: date, fields: dict[str, str]) -> Iterator[_Event]:
    day = until - timedelta(days=chance.randrange(days))
    sent_at = datetime.combine(day, time(8), UTC) + timedelta(seconds=chance.randrange(8 * 3600))
    outcome, engagement = chance.random(), chance.random()
    kinds = ["bounced"] if outcome < BOUNCED else ["delivered"]
    if kinds == ["delivered"] and engagement < OPENED:
        kinds.append("opened")
    if kinds == ["delivered", "opened"] and engagement < CLICKED:
        kinds.append("clicked")
    for number, kind in enumerate(kinds):
        yield _Event(kind, message, f"{message}@example.com", sent_at + timedelta(seconds=4 + 1800 * number), fields)


def _sendgrid(event: _Event) -> Body:
    return {
        "event": event.of(delivered="delivered", bounced="bounce", opened="open", clicked="click"),
        "email": event.recipient,
        "timestamp": event.epoch,
        "sg_message_id": f"{event.message}.recvd-7d9f8",
        "sg_event_id": f"{event.message}-{event.kind}",
        **event.of(
            delivered={"response": ACCEPTED},
            bounced={"type": "bounce", "status": "5.1.1", "reason": BOUNCE},
            opened={"useragent": USER_AGENT, "sg_machine_open": False},
            clicked={"useragent": USER_AGENT, "url": URL},
        ),
        **event.fields,
    }


def _ses(event: _Event) -> Body:
    name = event.of(delivered="Delivery", bounced="Bounce", opened="Open", clicked="Click")
    recipient = {"emailAddress": event.recipient, "status": "5.1.1", "action": "failed", "diagnosticCode": f"smtp; {BOUNCE}"}
    detail = event.of(
        delivered={"recipients": [event.recipient], "smtpResponse": ACCEPTED},
        bounced={"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": [recipient]},
        opened={"userAgent": USER_AGENT},
        clicked={"userAgent": USER_AGENT, "link": URL},
    )
    mail = {
        "messageId": event.message,
        "timestamp": event.iso,
        "destination": [event.recipient],
        "tags": {name: [value] for name, value in event.fields.items()},
    }
    return {"eventType": name, "mail": mail, name.lower(): {"timestamp": event.iso, **detail}}


def _postmark(event: _Event) -> Body:
    return {
        "RecordType": event.of(delivered="Delivery", bounced="Bounce", opened="Open", clicked="Click"),
        "MessageID": event.message,
        "Metadata": event.fields,
        **event.of(
            delivered={"Recipient": event.recipient, "DeliveredAt": event.iso, "Details": ACCEPTED},
            bounced={"Email": event.recipient, "BouncedAt": event.iso, "Type": "HardBounce", "TypeCode": 1, "Details": BOUNCE},
            opened={"Recipient": event.recipient, "ReceivedAt": event.iso, "UserAgent": USER_AGENT},
            clicked={"Recipient": event.recipient, "ReceivedAt": event.iso, "UserAgent": USER_AGENT, "OriginalLink": URL},
        ),
    }


def _mailgun(event: _Event) -> Body:
    return {
        "event-data": {
            "event": event.of(delivered="delivered", bounced="failed", opened="opened", clicked="clicked"),
            "timestamp": event.at.timestamp(),
            "recipient": event.recipient,
            "message": {"headers": {"message-id": f"{event.message}@mail.example.com"}},
            "user-variables": event.fields,
            **event.of(
                delivered={"delivery-status": {"code": 250, "message": ACCEPTED}},
                bounced={"severity": "permanent", "reason": "bounce", "delivery-status": {"code": 550, "message": BOUNCE}},
                opened={"client-info": {"user-agent": USER_AGENT, "bot": ""}},
                clicked={"client-info": {"user-agent": USER_AGENT, "bot": ""}, "url": URL},
            ),
        }
    }


def _resend(event: _Event) -> Body:
    bounce = {"type": "Permanent", "subType": "General", "message": BOUNCE, "diagnosticCode": [f"smtp; {BOUNCE}"]}
    return {
        "type": "email." + event.kind,
        "created_at": event.iso,
        "data": {
            "email_id": event.message,
            "to": [event.recipient],
            "tags": event.fields,
            **event.of(
                delivered={},
                bounced={"bounce": bounce},
                opened={"open": {"userAgent": USER_AGENT, "timestamp": event.iso}},
                clicked={"click": {"userAgent": USER_AGENT, "timestamp": event.iso, "link": URL}},
            ),
        },
    }


def _sparkpost(event: _Event) -> Body:
    element = {
        "type": event.of(delivered="delivery", bounced="bounce", opened="open", clicked="click"),
        "event_id": f"{event.message}-{event.kind}",
        "timestamp": str(event.epoch),
        "transmission_id": event.message,
        "rcpt_to": event.recipient,
        "rcpt_meta": event.fields,
        **event.of(
            delivered={},
            bounced={"bounce_class": "10", "error_code": "550", "raw_reason": BOUNCE},
            opened={"user_agent": USER_AGENT, "user_agent_parsed": {"is_prefetched": False}},
            clicked={"user_agent": USER_AGENT, "target_link_url": URL},
        ),
    }
    return {
        "msys": {
            event.of(delivered="message_event", bounced="message_event", opened="track_event", clicked="track_event"): element
        }
    }


def _mailjet(event: _Event) -> Body:
    return {
        "event": event.of(delivered="sent", bounced="bounce", opened="open", clicked="click"),
        "time": event.epoch,
        # Mailjet's ids are numbers
        "MessageID": int.from_bytes(event.message.encode()[-7:]),
        "email": event.recipient,
        "Payload": json.dumps(event.fields),
        **event.of(
            delivered={"smtp_reply": f"sent ({ACCEPTED})"},
            bounced={"hard_bounce": True, "error_related_to": "recipient", "error": "user unknown", "comment": BOUNCE},
            opened={"agent": USER_AGENT},
            clicked={"agent": USER_AGENT, "url": URL},
        ),
    }


def _brevo(event: _Event) -> Body:
    return {
        "event": event.of(delivered="delivered", bounced="hard_bounce", opened="opened", clicked="click"),
        "email": event.recipient,
        "ts_event": event.epoch,
        "ts_epoch": event.epoch * 1000,
        "message-id": f"<{event.message}@smtp-relay.example.com>",
        "X-Mailin-custom": json.dumps(event.fields),
        **event.of(delivered={}, bounced={"reason": BOUNCE}, opened={"user_agent": USER_AGENT}, clicked={"link": URL}),
    }


def _mailersend(event: _Event) -> Body:
    return {
        "type": "activity." + event.of(delivered="delivered", bounced="hard_bounced", opened="opened", clicked="clicked"),
        "created_at": event.iso,
        "data": {
            "created_at": event.iso,
            "email": {
                "message": {"id": event.message},
                "recipient": {"email": event.recipient},
                "tags": [f"{name}:{value}" for name, value in event.fields.items()],
            },
            "morph": event.of(
                delivered=None,
                bounced={"object": "recipient_bounce", "reason": BOUNCE},
                opened={"object": "open", "user_agent": USER_AGENT},
                clicked={"object": "click", "user_agent": USER_AGENT, "url": URL},
            ),
        },
    }


def _mailtrap(event: _Event) -> Body:
    element = {
        "event": event.of(delivered="delivery", bounced="bounce", opened="open", clicked="click"),
        "event_id": f"{event.message}-{event.kind}",
        "timestamp": event.epoch,
        "message_id": event.message,
        "email": event.recipient,
        "custom_variables": event.fields,
        **event.of(
            delivered={},
            bounced={"response": BOUNCE, "response_code": 550, "bounce_category": "badrecipient"},
            opened={"user_agent": USER_AGENT},
            clicked={"user_agent": USER_AGENT, "url": URL},
        ),
    }
    return {"events": [element]}


def _mandrill(event: _Event) -> Body:
    return {
        "event": event.of(delivered="delivered", bounced="hard_bounce", opened="open", clicked="click"),
        "ts": event.epoch,
        "_id": event.message,
        "msg": {
            "_id": event.message,
            "email": event.recipient,
            "metadata": event.fields,
            **event.of(
                delivered={},
                bounced={"bounce_description": "bad_mailbox", "bgtools_code": 10, "diag": f"smtp;{BOUNCE}"},
                opened={},
                clicked={},
            ),
        },
        **event.of(delivered={}, bounced={}, opened={"user_agent": USER_AGENT}, clicked={"user_agent": USER_AGENT, "url": URL}),
    }


def _postal(event: _Event) -> Body:
    # Postal's ids are numbers, and a message has one tag
    message = {
        "id": int.from_bytes(event.message.encode()[-4:]),
        "token": event.message,
        "direction": "outgoing",
        "to": event.recipient,
        "tag": ";".join(f"{name}:{value}" for name, value in event.fields.items()),
    }
    return {
        "event": event.of(
            delivered="MessageSent", bounced="MessageDeliveryFailed", opened="MessageLoaded", clicked="MessageLinkClicked"
        ),
        "timestamp": event.at.timestamp(),
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event.message} {event.kind}")),
        "payload": {
            "message": message,
            **event.of(
                delivered={"status": "Sent", "output": ACCEPTED},
                bounced={"status": "HardFail", "details": "Permanent SMTP delivery error", "output": BOUNCE},
                opened={"user_agent": USER_AGENT},
                clicked={"user_agent": USER_AGENT, "url": URL},
            ),
        },
    }


SHAPES: dict[str, Callable[[_Event], Body]] = {
    "sendgrid": _sendgrid,
    "ses": _ses,
    "postmark": _postmark,
    "mailgun": _mailgun,
    "resend": _resend,
    "sparkpost": _sparkpost,
    "mailjet": _mailjet,
    "brevo": _brevo,
    "mailersend": _mailersend,
    "mailtrap": _mailtrap,
    "mandrill": _mandrill,
    "postal": _postal,
}
