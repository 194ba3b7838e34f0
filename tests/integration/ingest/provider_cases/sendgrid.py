"""SendGrid's APIs: Email Activity (`/v3/messages`) and Email Logs (`/v3/logs`). A message has its events in it."""

from __future__ import annotations

from typing import Any

from tests.integration.ingest.envelope_cases import Case, sendgrid, text

TIME = "2026-11-20T10:00:00Z"


def message(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {"from_email": "a@b.example", "msg_id": "sgm1.filter001.1.1", "subject": "Hello", "to_email": "jane@example.com"}
    return {**known, "status": "delivered", "events": list(events), "unique_args": text({"campaign_id": "c1"})} | more


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"event_name": name, "processed": TIME, "reason": "", "url": "", "bounce_type": "", "mx_server": "mx"} | more


def logged(kind: str, **more: Any) -> dict[str, Any]:
    """An event of the Email Logs API, which is as the webhook's."""
    return {key: value for key, value in sendgrid(kind, **more).items() if key != "campaign_id"}


SUMMARY = {"from_email": "a@b.example", "msg_id": "x", "to_email": "c@b.example", "status": "delivered", "opens_count": 1}

COUNTED: dict[str, Case] = {
    "a message with its events": Case(
        "sendgrid",
        [text(message(event("processed"), event("delivered"), event("opened"), event("clicked", url="https://x.example/")))],
        {"sent": 1, "delivered": 1, "opened": 1, "clicked": 1, "campaign_id": "c1", "problems": {}},
    ),
    "a message that bounced": Case(
        "sendgrid",
        [text(message(event("processed"), event("bounced", bounce_type="hard", reason="550 5.1.1 no such user")))],
        {"sent": 1, "bounced": 1, "hard": 1, "reason": "invalid_recipient", "problems": {}},
    ),
    "one event by webhook and API": Case(
        "sendgrid",
        [text([sendgrid()]), text(message(event("delivered"))), text(message(event("delivered"), msg_id="sgm1.recvd-1"))],
        {"sent": 1, "delivered": 1, "events_landed": 1, "problems": {}},
    ),
    "a message of the logs": Case(
        "sendgrid",
        [
            text(
                {
                    "sg_message_id": "sgm1.filter001.1.1",
                    "to_email": "jane@example.com",
                    "custom_args": {"campaign_id": "c1"},
                    "events": [
                        logged("received", sg_message_id=None, recv_msgid="r"),
                        logged("processed"),
                        logged("delivered"),
                    ],
                }
            )
        ],
        {"sent": 1, "delivered": 1, "campaign_id": "c1", "problems": {}, "left_out": {"account_event": 1}},
    ),
    "a message without events": Case("sendgrid", [text(message())], {"sent": 0, "problems": {}, "left_out": {"empty_body": 1}}),
    "a list of states": Case(
        "sendgrid", [text({"messages": [SUMMARY, SUMMARY]})], {"sent": 0, "problems": {"unreadable_body": 1}}
    ),
    # what all events share would be copied 2,000 times
    "a message that would grow": Case(
        "sendgrid",
        [text(message(*[event("opened")] * 2000, unique_args="x" * 20_000))],
        {"sent": 0, "problems": {"unreadable_body": 1}},
    ),
}
