"""Postal: `{event, timestamp, payload, uuid}`."""

from __future__ import annotations

from typing import Any

from tests.integration.ingest.envelope_cases import SECONDS, Case, text

TAG = "campaign_id=c1;mailbox_id=mb1;domain_id=d1;sequence_id=s1;step=2;variant=b"
MESSAGE = {
    "id": 1563,
    "token": "zw6psSlgo6ki",
    "direction": "outgoing",
    "message_id": "c462ad36@rp.postal.example.com",
    "to": "Jane@Example.com",
    "from": "test@sender.example",
    "subject": "Hello",
    "timestamp": SECONDS - 60.5,
    "spam_status": "NotChecked",
    "tag": "welcome",
}


def event(kind: str, payload: dict[str, Any], **message: Any) -> dict[str, Any]:
    return {"event": kind, "timestamp": SECONDS + 0.25, "payload": {"message": MESSAGE | message} | payload, "uuid": "u-1"}


def delivery(kind: str, status: str, details: str, output: str = "", **message: Any) -> dict[str, Any]:
    report = {"status": status, "details": details, "output": output, "sent_with_ssl": None, "timestamp": SECONDS, "time": None}
    return event(kind, report, **message)


def failed(details: str, output: str = "") -> dict[str, Any]:
    return delivery("MessageDeliveryFailed", "HardFail", details, output)


def bounced() -> dict[str, Any]:
    report = {"id": 1570, "token": "t", "direction": "incoming", "to": "abc@psrp.postal.example.com", "from": None}
    return {
        "event": "MessageBounced",
        "timestamp": SECONDS,
        "payload": {"original_message": MESSAGE, "bounce": report},
        "uuid": "u-2",
    }


REFUSED = "Permanent SMTP delivery error when sending to mx.example.com (192.0.2.1:25)"
EXHAUSTED = "Maximum number of delivery attempts (18) has been reached. Added a@b.example to suppression list."

EVENTS: list[tuple[Any, list[str]]] = [
    (delivery("MessageSent", "Sent", "Message for jane@example.com accepted by mx", "250 2.0.0 OK\n"), ["delivered"]),
    (delivery("MessageDelayed", "SoftFail", "Temporary SMTP delivery error when sending to mx", "451 4.7.1 later"), ["deferred"]),
    (failed(REFUSED, "550 5.1.1 no such user"), ["bounced"]),
    (failed("Could not deliver", "550 refused"), ["bounced"]),
    (failed(EXHAUSTED), ["bounced"]),
    (failed("Message's domain no longer exist"), ["failed"]),
    (failed("Message is likely spam. Threshold is 5 and the message scored 9."), ["rejected"]),
    (
        delivery("MessageHeld", "Held", "Recipient (a@b.example) is on the suppression list (reason: too many soft fails)"),
        ["rejected"],
    ),
    (delivery("MessageHeld", "Held", "Message held because send limit (100) has been reached."), ["rejected"]),
    (bounced(), ["bounced"]),
    (event("MessageLoaded", {"ip_address": "127.0.0.1", "user_agent": "x"}), ["opened"]),
    (
        event("MessageLinkClicked", {"url": "https://x.example/", "token": "t", "ip_address": "127.0.0.1", "user_agent": "x"}),
        ["clicked"],
    ),
    (delivery("MessageSent", "Sent", "accepted", "250 OK", tag=TAG), ["delivered"]),
    (event("MessageTeleported", {}), ["MessageTeleported"]),
]

BOUNCES: list[tuple[Any, str]] = [
    (failed(REFUSED, "550 5.1.1 no such user"), "invalid_recipient"),
    (failed(REFUSED, "552 5.2.2 mailbox full"), "mailbox_full"),
    (failed(EXHAUSTED), "timed_out"),
    (bounced(), "undetermined"),
]

MALFORMED: list[Any] = [
    {"event": "MessageSent", "timestamp": SECONDS, "uuid": "u", "payload": {}},
    {"event": "MessageSent", "timestamp": SECONDS, "uuid": "u", "payload": {"message": {}}},
    {
        "event": "MessageSent",
        "timestamp": "x",
        "uuid": "u",
        "payload": {"message": {"id": 1, "to": [], "tag": {}}, "timestamp": "y"},
    },
    {"event": "MessageBounced", "timestamp": SECONDS, "uuid": {}, "payload": {"original_message": {"id": None, "token": "t"}}},
    {"event": {}, "timestamp": SECONDS, "uuid": "u", "payload": {"message": MESSAGE}},
]

COUNTED: dict[str, Case] = {
    "mail that comes in": Case(
        "postal",
        [text(delivery("MessageDeliveryFailed", "HardFail", "Received a 400 from an endpoint", direction="incoming"))],
        {"sent": 0, "problems": {}, "left_out": {"inbound_mail": 1}},
    ),
    "an HTTP endpoint's mail": Case(
        "postal",
        [text({"id": 1, "rcpt_to": "in@b.example", "mail_from": "a@c.example", "message": "cmF3", "base64": True, "size": 3})],
        {"sent": 0, "problems": {}, "left_out": {"inbound_mail": 1}},
    ),
    **{
        kind: Case(
            "postal",
            [text({"event": kind, "timestamp": SECONDS, "payload": {"server": {"name": "s"}}, "uuid": "u"})],
            {"sent": 0, "problems": {}, "left_out": {"account_event": 1}},
        )
        for kind in ("DomainDNSError", "SendLimitApproaching", "SendLimitExceeded")
    },
    "held and never released": Case(
        "postal", [text(delivery("MessageHeld", "Held", "Server is in development mode."))], {"sent": 0, "events": ["rejected"]}
    ),
    "held and released": Case(
        "postal",
        [
            text(delivery("MessageHeld", "Held", "Server is in development mode.")),
            text(EVENTS[0][0] | {"timestamp": SECONDS + 90}),
        ],
        {"sent": 1, "delivered": 1, "provider_message_ids": ["1563"], "problems": {}},
    ),
    # ids count up on each server of an operator
    "one id on two servers": Case(
        "postal",
        [text(EVENTS[0][0]), text(delivery("MessageSent", "Sent", "accepted", "250 OK", token="other"))],
        {"sent": 2, "delivered": 2, "provider_message_ids": ["1563", "1563"]},
    ),
    "a late bounce": Case("postal", [text(EVENTS[0][0]), text(bounced())], {"sent": 1, "delivered": 0, "bounced": 1, "hard": 0}),
}
