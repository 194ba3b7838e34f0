"""Mandrill: a form whose field `mandrill_events` has a JSON array."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests.integration.ingest.envelope_cases import SECONDS, Case, text

METADATA = {"campaign_id": "c1", "mailbox_id": "mb1", "domain_id": "d1", "sequence_id": "s1", "step": 2, "variant": "b"}


def event(kind: str, message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    known = {
        "ts": SECONDS - 60,
        "_id": "md-1",
        "state": "sent",
        "subject": "Hello",
        "email": "Jane@Example.com",
        "sender": "a@b.example",
    }
    lists: dict[str, Any] = {
        "tags": ["welcome"],
        "metadata": METADATA,
        "opens": [],
        "clicks": [],
        "smtp_events": [],
        "resends": [],
    }
    return {"event": kind, "_id": "md-1", "msg": known | lists | (message or {}), "ts": SECONDS} | more


def without_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "_id"}


def bounce(kind: str, description: str, code: int, diag: str = "") -> dict[str, Any]:
    return event(kind, {"state": "bounced", "bounce_description": description, "bgtools_code": code, "diag": diag})


def form(*events: Any) -> str:
    return urlencode({"mandrill_events": text(list(events))})


ATTEMPTS = [{"ts": SECONDS, "type": "deferred", "diag": "451 4.3.5 Temporarily unavailable", "source_ip": "127.0.0.1", "size": 0}]
SYNC = {"action": "add", "ts": SECONDS, "reject": {"reason": "hard-bounce", "email": "example.webhook@mandrillapp.com"}}

EVENTS: list[tuple[Any, list[str]]] = [
    ([event("send")], ["sent"]),
    ([event("deferral", {"state": "deferred", "smtp_events": ATTEMPTS})], ["deferred"]),
    ([event("delivered")], ["delivered"]),
    ([bounce("hard_bounce", "bad_mailbox", 10, "smtp;550 5.1.1 The email account does not exist.")], ["bounced"]),
    ([bounce("soft_bounce", "mailbox_full", 22, "smtp;552 5.2.2 Over Quota")], ["bounced"]),
    ([bounce("soft_bounce", "general", 60)], ["autoresponded"]),
    ([event("open", ip="127.0.0.1", user_agent="x", user_agent_parsed={"type": "Email Client"}, location=None)], ["opened"]),
    ([event("open", user_agent="bot", user_agent_parsed={"type": "Robot"})], ["opened"]),
    ([event("click", url="https://x.example/", user_agent_parsed=None)], ["clicked"]),
    ([event("spam")], ["complained"]),
    ([event("unsub")], ["unsubscribed"]),
    ([event("reject", {"state": "rejected"})], ["rejected"]),
    (event("send"), ["sent"]),
    # older: the id is in the message only
    ([without_id(event("click", {"_id": "md-1", "smtp_events": None}, url="https://x.example/"))], ["clicked"]),
    ([without_id(bounce("hard_bounce", "bad_mailbox", 10, "X-Postfix; unknown user"))], ["bounced"]),
    (
        [event("spam", {"opens": None, "clicks": None, "diag": None, "bounce_description": None, "template": None})],
        ["complained"],
    ),
    ({"mandrill_events": text([event("send"), event("open")])}, ["opened", "sent"]),
    ({"mandrill_events": [event("send"), event("open")]}, ["opened", "sent"]),
]

BOUNCES: list[tuple[Any, str]] = [
    ([bounce("hard_bounce", "bad_mailbox", 10, "smtp;550 5.1.1 The email account does not exist.")], "invalid_recipient"),
    ([bounce("hard_bounce", "bad_mailbox", 10)], "invalid_recipient"),
    ([bounce("hard_bounce", "invalid_domain", 21)], "invalid_domain"),
    ([bounce("hard_bounce", "bad_mailbox", 10, 'X-Postfix; unknown user: "jane@example.com"')], "invalid_recipient"),
    ([bounce("hard_bounce", "bad_mailbox", 10, "smtp;550 Requested action not taken: mailbox unavailable")], "invalid_recipient"),
    ([bounce("soft_bounce", "invalid_domain", 21)], "server_unavailable"),
    ([bounce("soft_bounce", "mailbox_full", 22, "smtp;552 5.2.2 Over Quota")], "mailbox_full"),
    ([bounce("soft_bounce", "mailbox_full", 22)], "mailbox_full"),
    ([bounce("soft_bounce", "general", 23)], "message_too_large"),
    ([bounce("soft_bounce", "general", 51)], "blocked"),
    ([bounce("soft_bounce", "general", 52)], "content_rejected"),
    ([bounce("soft_bounce", "general", 40)], "undetermined"),
]

MALFORMED: list[Any] = [
    {"mandrill_events": "[{"},
    {"mandrill_events": "5"},
    {"mandrill_events": [[], None, {"event": "open"}]},
    [event("open", {"_id": None}, _id=None)],
    [event("open", ts="yesterday")],
    [event("click", {"email": [], "metadata": [], "tags": "x", "diag": {}}, ts={}, url=5)],
    [event("hard_bounce", {"bgtools_code": {}, "bounce_description": [], "smtp_events": {}}, ts=-1)],
    [{"event": "open", "_id": "x", "ts": SECONDS, "msg": "text"}],
]

COUNTED: dict[str, Case] = {
    "a form": Case(
        "mandrill",
        [form(event("send"), event("delivered")), form(event("open", ts=SECONDS + 9)), form(event("click", url="https://e.com"))],
        {"sent": 1, "delivered": 1, "opened": 1, "clicked": 1, "campaign_id": "c1", "problems": {}},
    ),
    # more brackets than a JSON text in an envelope could have once
    "a form of 1,000 events": Case(
        "mandrill",
        [form(*(event("send", {"smtp_events": ATTEMPTS * 3}, _id=f"md-{number}") for number in range(1000)))],
        {"sent": 1000, "events_landed": 1000, "problems": {}},
    ),
    "a form without events": Case("mandrill", [form()], {"sent": 0, "problems": {}, "left_out": {"empty_body": 1}}),
    "a form, cut off": Case("mandrill", [form(event("send"))[:-20]], {"sent": 0, "problems": {"unreadable_body": 1}}),
    "a form of deep nesting": Case(
        "mandrill", [urlencode({"mandrill_events": "[" * 6000 + "]" * 6000})], {"sent": 0, "problems": {"unreadable_body": 1}}
    ),
    **{
        f"sync of a {name}": Case(
            "mandrill", [text([SYNC | {"type": name}])], {"sent": 0, "problems": {}, "left_out": {"account_event": 1}}
        )
        for name in ("blacklist", "whitelist", "denylist", "allowlist")
    },
    "inbound mail": Case(
        "mandrill",
        [form({"event": "inbound", "ts": SECONDS, "msg": {"raw_msg": "x", "email": "in@b.example"}})],
        {"sent": 0, "problems": {}, "left_out": {"inbound_mail": 1}},
    ),
    "the test button": Case(
        "mandrill",
        [form(event("send", {"email": "example.webhook@mandrillapp.com"}, _id="exampleaaaaaaaaaaaaaaaaaaaaaaaaa"))],
        {"sent": 0, "problems": {"provider_test": 1}},
    ),
    "rejected before sending": Case("mandrill", [form(event("reject"))], {"sent": 0, "events": ["rejected"], "problems": {}}),
}
