"""Mailtrap: an object with an array `events`, or one event a line."""

from __future__ import annotations

from typing import Any

from tests.integration.ingest.envelope_cases import SECONDS, Case, text


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "event": kind,
        "timestamp": SECONDS,
        "sending_stream": "transactional",
        "sending_domain_name": "sender.example",
        "message_id": "mt-1",
        "email": "Jane@Example.com",
        "event_id": "bede7236-2284-43d6-a953-1fdcafd0fdbc",
    } | more


def posted(*events: Any) -> dict[str, Any]:
    return {"events": list(events)}


def bounce(category: str, response: str = "", code: int | None = None) -> dict[str, Any]:
    return posted(event("bounce", response=response, response_code=code, bounce_category=category))


VARIABLES = {"campaign_id": "c1", "mailbox_id": "mb1", "domain_id": "d1", "sequence_id": "s1", "step": 2, "variant": "b"}

EVENTS: list[tuple[Any, list[str]]] = [
    (posted(event("delivery", custom_variables=VARIABLES, category="Password reset")), ["delivered"]),
    (
        posted(event("soft bounce", response="4.7.1 Temporary error", response_code=451, bounce_category="greylisting")),
        ["deferred"],
    ),
    (bounce("spam", "[CS01] Message rejected due to local policy", 555), ["bounced"]),
    (posted(event("suspension", reason="Your account has reached its daily sending limit.")), ["deferred"]),
    (posted(event("reject", reason="Recipient in suppression list. Reason: unsubscription")), ["rejected"]),
    (posted(event("open", ip="127.0.0.1", user_agent="x")), ["opened"]),
    (posted(event("click", ip="127.0.0.1", user_agent="x", url="https://x.example/")), ["clicked"]),
    (posted(event("unsubscribe", ip="127.0.0.1", user_agent="x")), ["unsubscribed"]),
    (posted(event("spam")), ["complained"]),
    (posted(event("delivery"), event("open"), event("click")), ["clicked", "delivered", "opened"]),
    (event("delivery"), ["delivered"]),
    ([event("delivery"), event("open")], ["delivered", "opened"]),
]

BOUNCES: list[tuple[Any, str]] = [
    (bounce("badrecipient"), "invalid_recipient"),
    (bounce("badrecipient", "552 5.2.2 mailbox is full", 552), "mailbox_full"),
    (bounce("overquota"), "mailbox_full"),
    (bounce("timeout"), "timed_out"),
    (bounce("dnsFail"), "server_unavailable"),
    (bounce("serverfail"), "server_unavailable"),
    (bounce("block"), "blocked"),
    (bounce("serverpolicy"), "blocked"),
    (bounce("spam_gmail"), "blocked"),
    (bounce("spam"), "content_rejected"),
    (bounce("content"), "content_rejected"),
    (bounce("generalfail"), "undetermined"),
    # categories that no documentation lists
    (bounce("quarantined"), "undetermined"),
    (bounce("hardfail"), "undetermined"),
    (bounce("blocked2"), "undetermined"),
    (posted(event("bounce")), "undetermined"),
    (bounce("quarantined", "550 5.1.1 no such user", 550), "invalid_recipient"),
    (bounce("other", "550 denied", 550), "blocked"),
    (bounce("other", "550 5.1.1 no such user", 550), "invalid_recipient"),
]

MALFORMED: list[Any] = [
    {"events": "x"},
    {"events": [None, [], 5, {"event": "open"}]},
    event("open", message_id=None, email=5),
    event("bounce", timestamp="yesterday", response_code="99999999999"),
    event("bounce", timestamp=9e30, bounce_category=[], custom_variables="x", category={}),
    event("click", timestamp={}, url=[], custom_variables=[1]),
]

COUNTED: dict[str, Case] = {
    "json lines": Case(
        "mailtrap",
        [text(event("delivery")), text(event("open", timestamp=SECONDS + 9)), text(event("click", timestamp=SECONDS + 9))],
        {"sent": 1, "delivered": 1, "opened": 1, "clicked": 1, "problems": {}},
    ),
    "audit log": Case(
        "mailtrap",
        [text(posted({"event": "activity_log.user.login", "description": "x", "actor": {"id": 1}, "timestamp": SECONDS}))],
        {"sent": 0, "problems": {}, "left_out": {"account_event": 1}},
    ),
    "inbound mail": Case(
        "mailtrap",
        [text(posted({"event": "inbound.message_received", "event_id": "x", "timestamp": SECONDS, "message_id": "m"}))],
        {"sent": 0, "problems": {}, "left_out": {"inbound_mail": 1}},
    ),
    "rejected before sending": Case(
        "mailtrap",
        [text(posted(event("reject", reason="in suppression list")))],
        {"sent": 0, "events": ["rejected"], "problems": {}},
    ),
}
