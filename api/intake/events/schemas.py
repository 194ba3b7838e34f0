"""marshmallow schemas of `POST /events`: they document the body and the response.

An event is documented, but not validated here: PostgreSQL checks each one, as it does for files, and the response names those
that were rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from api.web.schemas import OpenSchema, data_schema

MAX_EVENTS = 1000
EVENT_TYPES = (
    *("queued", "sent", "delivered", "deferred", "bounced", "rejected", "failed", "opened", "clicked", "replied"),
    *("autoresponded", "complained", "unsubscribed", "subscribed"),
)
PROBLEMS = ("invalid_event", "not_rfc3339", "unreadable_body")
EXAMPLE: dict[str, Any] = {
    "events": [
        {
            "event_id": "evt_1",
            "message_id": "msg_1",
            "event_type": "sent",
            "occurred_at": "2025-11-26T10:00:00Z",
            "campaign_id": "cmp_abc123",
            "mailbox_id": "mbx_1",
            "recipient": "jane@example.com",
            "sequence_id": "seq_1",
            "step": "1",
            "variant": "A",
            "tags": ["q4"],
        },
        {
            "event_id": "evt_2",
            "message_id": "msg_1",
            "event_type": "bounced",
            "occurred_at": "2025-11-26T10:00:04Z",
            "smtp_code": 550,
            "smtp_status": "5.1.1",
            "diagnostic": "550 5.1.1 user unknown",
        },
    ]
}


def _text(description: str, example: str, *, required: bool = False) -> ma.fields.String:
    return ma.fields.String(required=required, allow_none=not required, metadata={"description": description, "example": example})


class NativeEvent(ma.Schema):
    """An event in mailmart's own format."""

    class Meta:
        unknown = ma.RAISE

    event_id = _text("Identifies the event. A second event with the same id changes nothing.", "evt_1", required=True)
    message_id = _text("Identifies the message: one e-mail to one recipient.", "msg_1", required=True)
    event_type = _text(
        f"What happened: {', '.join(EVENT_TYPES)}. Events of other types are kept, and count nowhere.", "sent", required=True
    )
    occurred_at = ma.fields.DateTime(
        required=True,
        metadata={"description": "When it happened: RFC 3339, with an offset.", "example": "2025-11-26T10:00:00Z"},
    )
    workspace_id = _text("Optional; must be the workspace of the path.", "ws_xyz789")
    campaign_id = _text("Campaign of the message.", "cmp_abc123")
    mailbox_id = _text("Mailbox that the message is sent from.", "mbx_1")
    domain_id = _text("Domain that the message is sent from.", "dom_1")
    sequence_id = _text("Sequence of mails that the message belongs to.", "seq_1")
    step = _text("Step of the sequence.", "1")
    variant = _text("Variant of the message in a test.", "A")
    tags = ma.fields.List(
        ma.fields.String(),
        allow_none=True,
        metadata={"description": "Tags: the first 20 are kept.", "example": ["q4"]},
    )
    recipient = _text("The recipient's address. It is hashed, and not stored.", "jane@example.com")
    recipient_hash = _text("The hash of the address, if the address is not sent.", "9f86d081884c7d65")
    recipient_domain = _text("The domain of the address, if the address is not sent.", "example.com")
    smtp_status = _text("Enhanced status code of the mail server.", "5.1.1")
    smtp_code = ma.fields.Integer(
        allow_none=True, metadata={"description": "Reply code of the mail server.", "example": 550, "format": "int32"}
    )
    diagnostic = _text("Text of the mail server's response. Addresses in it are masked.", "550 5.1.1 user unknown")
    is_machine = ma.fields.Boolean(
        allow_none=True,
        metadata={"description": "Whether a machine made the open or the click; null if it is unknown.", "example": False},
    )
    url = _text("The link of a click.", "https://example.com/offer")
    user_agent = _text("User agent of an open or a click.", "Mozilla/5.0")


class UncheckedEvents(ma.fields.List[Any]):
    """A list whose elements are documented, and not looked at."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return value


class EventsRequest(ma.Schema):
    """The body."""

    class Meta:
        unknown = ma.RAISE

    events = UncheckedEvents(
        ma.fields.Nested(NativeEvent),
        required=True,
        validate=ma.validate.Length(min=1, max=MAX_EVENTS),
        metadata={"description": f"1 to {MAX_EVENTS} events.", "example": EXAMPLE["events"]},
    )


class RejectedEvent(OpenSchema):
    """An event that was not accepted."""

    index = ma.fields.Integer(required=True, metadata={"description": "Index in `events`, from 0.", "example": 1, "minimum": 0})
    problem = ma.fields.String(
        required=True,
        validate=ma.validate.OneOf(PROBLEMS),
        metadata={
            "description": "The kind of the problem, as in data quality.",
            "example": "invalid_event",
            "x-enum-name": "EventProblem",
        },
    )
    reason = ma.fields.String(required=True, metadata={"description": "What is wrong.", "example": "no message_id"})


class EventsReceived(OpenSchema):
    """What became of the events."""

    accepted = ma.fields.Integer(
        required=True,
        metadata={"description": "Events that are stored. The next build counts them.", "example": 1, "minimum": 0},
    )
    rejected = ma.fields.Integer(
        required=True, metadata={"description": "Events that were rejected; each is in `rejections`.", "example": 1, "minimum": 0}
    )
    rejections = ma.fields.List(ma.fields.Nested(RejectedEvent), required=True, metadata={"description": "The rejected events."})


EventsResponse = data_schema("EventsResponse", ma.fields.Nested(EventsReceived, required=True))
