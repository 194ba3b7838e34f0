"""MailerSend: webhooks of version 1, in which `data.email` is an object, and of version 2, in which it is the address."""

from __future__ import annotations

from typing import Any

from tests.integration.ingest.envelope_cases import Case, text

TIME = "2026-11-20T10:00:00.258000Z"


def event(kind: str, morph: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    message = {"object": "message", "id": "ms-1", "created_at": TIME}
    recipient = {"object": "recipient", "id": "r-1", "email": "Jane@Example.com", "created_at": TIME}
    email = {"object": "email", "id": "e-1", "from": "a@b.example", "status": "sent", "message": message, "recipient": recipient}
    return {
        "type": f"activity.{kind}",
        "domain_id": "yv69oxl5kl785kw2",
        "created_at": "2026-11-20T10:00:02.298647Z",
        "webhook_id": "w-1",
        "url": "https://example.com/webhook",
        "data": {
            "object": "activity",
            "id": "a-1",
            "type": kind,
            "created_at": TIME,
            "email": {**email, "tags": None} | more,
            "morph": morph,
            "template_id": "",
        },
    }


def light(kind: str, meta: Any = None, **more: Any) -> dict[str, Any]:
    """An event of version 2. `meta` is an empty array if there is nothing to say."""
    data = {"id": "a-1", "domain_id": "d-1", "message_id": "ms-1", "email_id": "e-1", "type": kind, "subject": "Hello"}
    return {
        "type": f"activity.{kind}",
        "created_at": TIME,
        "data": {**data, "email": "jane@example.com", "meta": meta or []} | more,
    }


TAGS = ["welcome", "campaign_id:c1", "mailbox_id=mb1; domain_id=d1", "sequence_id:s1;step:2;variant:b"]

EVENTS: list[tuple[Any, list[str]]] = [
    (event("sent"), ["sent"]),
    (event("delivered"), ["delivered"]),
    (event("deferred", {"object": "recipient_bounce", "reason": "451 4.7.1 greylisted"}), ["deferred"]),
    (event("soft_bounced", {"object": "recipient_bounce", "reason": "Unknown reason"}), ["bounced"]),
    (event("hard_bounced", {"object": "recipient_bounce", "reason": "Host or domain name not found"}), ["bounced"]),
    (event("suppressed"), ["rejected"]),
    (event("opened", {"object": "open", "id": "o", "created_at": TIME, "ip": "10.0.0.1"}), ["opened"]),
    (event("opened_unique", {"object": "open", "id": "o", "created_at": TIME, "ip": "10.0.0.1"}), ["opened"]),
    (event("clicked", {"object": "click", "id": "c", "url": "https://x.example/"}), ["clicked"]),
    (event("clicked_unique", {"object": "click", "id": "c", "url": "https://x.example/"}), ["clicked"]),
    (
        event("unsubscribed", {"object": "recipient_unsubscribe", "reason": "option_3", "readable_reason": "Too many"}),
        ["unsubscribed"],
    ),
    (event("spam_complaint", {"object": "spam_complaint", "reason": None}), ["complained"]),
    (event("survey_opened"), ["opened"]),
    (event("survey_submitted"), ["opened"]),
    (light("sent", tags=["a"]), ["sent"]),
    (light("hard_bounced", {"reason": "550 5.1.1 no such user"}), ["bounced"]),
    (light("clicked", {"url": "https://x.example/", "ip": "192.0.2.1", "device_type": "desktop"}, type="delivered"), ["clicked"]),
    (light("sent") | {"data": {"message_id": "ms-1", "recipient": "jane@example.com", "type": "sent", "meta": None}}, ["sent"]),
    (light("unsubscribed", {"unsubscribe_reason": "NO_LONGER_WANT"}, type="delivered"), ["unsubscribed"]),
    (light("soft_bounced", {"bounce_reason": "x", "bounce_code": "450", "bounce_type": "soft"}, type="rejected"), ["bounced"]),
    (light("delivered") | {"created_at": "2026-11-20 10:00:00"}, ["delivered"]),
    (event("teleported"), ["teleported"]),
    (event("sent", tags=TAGS), ["sent"]),
]

BOUNCES: list[tuple[Any, str]] = [
    (event("hard_bounced", {"object": "recipient_bounce", "reason": "Host or domain name not found"}), "invalid_domain"),
    (event("hard_bounced", {"object": "recipient_bounce", "reason": ""}), "invalid_recipient"),
    (event("soft_bounced", {"object": "recipient_bounce", "reason": "Unknown reason"}), "undetermined"),
    (event("soft_bounced", {"object": "recipient_bounce", "reason": "552 5.2.2 mailbox full"}), "mailbox_full"),
    # the server's words come first
    (
        event(
            "hard_bounced",
            {"object": "recipient_bounce", "reason": "552 mailbox full", "readable_reason": "The recipient does not exist"},
        ),
        "mailbox_full",
    ),
    (event("soft_bounced", {"object": "recipient_bounce", "reason": "", "readable_reason": "Mailbox full"}), "mailbox_full"),
    (light("hard_bounced"), "invalid_recipient"),
    # version 2 as another client library has it
    (light("hard_bounced", {"bounce_reason": "Host or domain name not found", "bounce_code": "550"}), "invalid_domain"),
    (light("soft_bounced", {"bounce_reason": "Mailbox full", "bounce_code": "552"}), "mailbox_full"),
    (light("soft_bounced", {"bounce_reason": "Unknown reason", "bounce_code": "550"}), "undetermined"),
    (light("hard_bounced", {"bounce_reason": "Unknown reason", "bounce_code": 550}), "invalid_recipient"),
]

MALFORMED: list[Any] = [
    {"type": "activity.sent"},
    {"type": "activity.sent", "data": []},
    {"type": "activity.sent", "data": {"email": {}, "created_at": "tomorrow"}},
    {"type": "activity.opened", "data": {"email": {"message": "x", "recipient": 5, "tags": {"campaign_id": 1}}, "morph": "x"}},
    {"type": "activity.clicked", "data": {"message_id": [], "email": 7, "meta": {"url": {}}, "tags": [[], {}, None, "step:"]}},
    {"type": ["activity.sent"], "data": {}},
]

_LEFT_OUT = {
    "inbound.message": "inbound_mail",
    "inbound_forward.failed": "inbound_mail",
    "inbound_message.rejected": "inbound_mail",
    **dict.fromkeys(
        ("sender_identity.verified", "maintenance.start", "maintenance.end", "bulk_email.completed"), "account_event"
    ),
    **dict.fromkeys(
        ("email_single.verified", "email_list.verified", "recipient.on_hold_added", "sms.delivered"), "account_event"
    ),
}

COUNTED: dict[str, Case] = {
    **{
        kind: Case(
            "mailersend",
            [text({"type": kind, "created_at": TIME, "data": {"id": "x", "email": "jane@example.com"}})],
            {"sent": 0, "problems": {}, "left_out": {reason: 1}},
        )
        for kind, reason in _LEFT_OUT.items()
    },
    "the test of a webhook": Case(
        "mailersend",
        [text({"type": "webhook.test", "message": "This is a ping test message", "created_at": TIME})],
        {"sent": 0, "problems": {"provider_test": 1}},
    ),
    "both versions of one event": Case(
        "mailersend",
        [text(event("sent")), text(light("sent")), text(light("delivered")), text(event("opened")), text(event("opened_unique"))],
        {"sent": 1, "delivered": 1, "opened": 1, "events_landed": 3, "provider_message_ids": ["ms-1"], "problems": {}},
    ),
    "several recipients of one message": Case(
        "mailersend",
        [text(light("delivered", email="jane@example.com")), text(light("hard_bounced", email="joe@example.com"))],
        {"sent": 2, "delivered": 1, "bounced": 1, "hard": 1, "problems": {}},
    ),
}
