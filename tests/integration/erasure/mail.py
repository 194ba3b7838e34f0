"""Mail of two tenants with a recipient in common, whose address is written in all the ways that platforms write it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from api.db.connection import connect
from api.intake.sources import WEBHOOK_PROVIDERS
from api.settings import Settings
from tests.support.command import mailmart
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt

TENANT, OTHER = "ws_erased", "ws_other"
PERSON = "Jane.Doe+news@people.example"
LOWER = PERSON.lower()
IN_A_URL = "jane.doe%2Bnews%40people.example"
ENCODED = base64.b64encode(PERSON.encode()).decode()
# other people, whose addresses contain parts of it
FRIEND, NAMESAKE, SUBADDRESS = "joe@people.example", "mary-jane.doe+news@people.example", "jane.doe@people.example"
NAMES = {PERSON: "Jane Doe", FRIEND: "Joe"}
# what only the person's own events say
TEXTS = ("Jane D. of accounting", "private-page", "JanesPhone/7.0", "203.0.113.77", "Dear Jane")
# what has to be found nowhere, in lower case
TRACES = (
    *(text.lower() for text in TEXTS),
    LOWER,
    IN_A_URL.lower(),
    IN_A_URL.replace("%", "%25").lower(),
    ENCODED.lower(),
    # a text of JSON in JSON, in a row that is written as text
    "jane.doe+news" + "\\" * 4 + "u0040",
    "jane doe",
)
SENT_AT = datetime.now(UTC).replace(hour=8, minute=0, second=0, microsecond=0) - timedelta(days=3)
SECONDS = int(SENT_AT.timestamp())
TIME = SENT_AT.strftime("%Y-%m-%dT%H:%M:%SZ")
URL = f"https://shop.example/private-page?email={IN_A_URL}&again={IN_A_URL.replace('%', '%25')}&t={ENCODED}"
BOUNCE = f"550-5.1.1 <{PERSON}>: Recipient address rejected: Jane D. of accounting has left"


def sendgrid(event: str, key: str, email: str, **more: Any) -> dict[str, Any]:
    return {
        "email": email,
        "timestamp": SECONDS + len(event),
        "event": event,
        "sg_message_id": f"{key}.filter1",
        "campaign_id": "cmp_1",
        "ip": "203.0.113.77" if PERSON.lower() in email.lower() and email != NAMESAKE else "203.0.113.78",
        **more,
    }


def ses(kind: str, key: str, to: list[str], detail: dict[str, Any], **mail: Any) -> dict[str, Any]:
    """A notification as SNS sends it: a JSON text, in which an @ is escaped."""
    notification: dict[str, Any] = {
        "eventType": kind,
        "mail": {
            "messageId": key,
            "timestamp": TIME,
            "destination": to,
            "tags": {"campaign_id": ["cmp_2"], "subscriber": ["Jane D. of accounting"]},
            "commonHeaders": {"to": to, "subject": "News"},
            "headers": [{"name": "To", "value": ", ".join(f'"{NAMES[address]}" <{address}>' for address in to)}],
            **mail,
        },
        kind.lower(): {"timestamp": TIME, **detail},
    }
    if to != [PERSON]:
        del notification["mail"]["tags"]["subscriber"]
    return {"Type": "Notification", "Message": json.dumps(notification).replace("@", r"\u0040")}


def bodies() -> Iterator[tuple[str, Any]]:
    """Provider and body."""
    everybody = (PERSON.upper(), FRIEND, NAMESAKE, SUBADDRESS, f"{PERSON} (Jane Doe)")
    for email in everybody:
        yield "sendgrid", [sendgrid(event, "sg1", email) for event in ("processed", "delivered")]
    yield (
        "sendgrid",
        [
            *(
                sendgrid("open", "sg1", email, useragent=f"{name}Phone/7.0")
                for email, name in ((PERSON, "Janes"), (FRIEND, "Joes"))
            ),
            sendgrid("click", "sg1", PERSON, url=URL, useragent="JanesPhone/7.0"),
            sendgrid("processed", "sg2", PERSON, first_name="Dear Jane"),
            sendgrid("bounce", "sg2", PERSON, type="bounce", reason=BOUNCE, status="5.0.0"),
            sendgrid("bounce", "sg3", FRIEND, type="bounce", reason=f"552 5.2.2 mailbox full, moved to {PERSON}"),
            sendgrid("strange_event", "sg2", PERSON),
            # texts that look like JSON, nested deeper than a server's stack
            sendgrid("processed", "sg4", FRIEND, note="[" * 20_000 + f'"{PERSON}"' + "]" * 20_000),
            sendgrid("processed", "sg4", PERSON, note='{"a":' * 20_000 + f'"{PERSON}"' + "}" * 20_000),
        ],
    )
    yield "ses", ses("Send", "ses1", [PERSON, FRIEND], {})
    yield "ses", ses("Delivery", "ses1", [PERSON, FRIEND], {"recipients": [FRIEND], "smtpResponse": "250 ok"})
    yield (
        "ses",
        ses(
            "Bounce",
            "ses1",
            [PERSON, FRIEND],
            {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [{"emailAddress": PERSON, "status": "5.0.0", "diagnosticCode": f"smtp; {BOUNCE}"}],
            },
        ),
    )
    yield "ses", ses("Send", "ses2", [PERSON], {})
    yield "ses", ses("Delivery", "ses2", [PERSON], {"recipients": [PERSON]})
    yield "ses", ses("Click", "ses2", [PERSON], {"link": URL, "userAgent": "JanesPhone/7.0", "ipAddress": "203.0.113.77"})
    postmark = {"MessageID": "pm1", "Metadata": {"campaign_id": "cmp_3", "name": "Dear Jane"}, "Subject": "Dear Jane"}
    yield "postmark", {"RecordType": "Delivery", "Recipient": PERSON, "DeliveredAt": TIME, "Details": f"to {PERSON}", **postmark}
    yield "postmark", {"RecordType": "Open", "Recipient": PERSON, "ReceivedAt": TIME, "UserAgent": "JanesPhone/7.0", **postmark}
    mailgun = {
        "timestamp": SECONDS,
        "message": {
            "headers": {"message-id": "mg1@mail.example", "to": f"Jane Doe <{PERSON}>, {FRIEND}", "subject": "Dear Jane"}
        },
        "user-variables": {"campaign_id": "cmp_3"},
    }
    yield "mailgun", {"event-data": {"event": "accepted", "recipient": PERSON, **mailgun}}
    fields = {"campaign_id": "cmp_5", "step": "1", "name": "Dear Jane"}
    yield (
        "resend",
        {
            "type": "email.bounced",
            "created_at": TIME,
            "data": {
                "email_id": "re1",
                "to": [f"Jane Doe <{PERSON}>"],
                "subject": "Dear Jane",
                "bounce": {"message": BOUNCE, "type": "Permanent", "subType": "General"},
                "tags": fields,
            },
        },
    )
    tags = [{"name": "campaign_id", "value": "cmp_6"}, {"name": "name", "value": "Dear Jane"}, {"name": "step", "value": "2"}]
    data = {"email_id": "re2", "to": [PERSON], "subject": "Dear Jane", "tags": tags}
    yield "resend", {"type": "email.delivered", "created_at": TIME, "data": data}
    yield (
        "sparkpost",
        [
            {
                "msys": {
                    "message_event": {
                        "type": "bounce",
                        "transmission_id": "sp1",
                        "timestamp": str(SECONDS),
                        "rcpt_to": LOWER,
                        "raw_rcpt_to": PERSON,
                        "bounce_class": "10",
                        "raw_reason": BOUNCE,
                        "rcpt_meta": fields,
                    }
                }
            }
        ],
    )
    mailjet = {"event": "bounce", "time": SECONDS, "MessageID": 123, "email": PERSON, "Payload": json.dumps(fields)}
    yield "mailjet", {**mailjet, "hard_bounce": True, "error_related_to": "recipient", "error": "user unknown", "comment": BOUNCE}
    kinds = {"recipient": "spam reporter", "content": "bad or empty template", "mailjet": "preblocked"}
    for number, (part, error) in enumerate(kinds.items(), 125):
        yield "mailjet", {**mailjet, "MessageID": number, "hard_bounce": True, "error_related_to": part, "error": error}
    # half of a surrogate pair: a subject that was cut in the middle of a picture
    cut = {**fields, "name": "Dear Jane \ud83d"}
    yield "mailjet", {"event": "open", "time": SECONDS, "MessageID": 124, "email": PERSON, "CustomID": json.dumps(cut)}
    yield "mailjet", {"event": "sent", "time": SECONDS, "MessageID": 124, "email": PERSON, "CustomID": json.dumps(cut)}
    brevo = {"event": "hard_bounce", "ts_epoch": SECONDS * 1000, "message-id": "<br1@mail.example>", "email": PERSON}
    yield "brevo", {**brevo, "subject": "Dear Jane", "reason": BOUNCE, "X-Mailin-custom": json.dumps(fields)}
    pairs = f"campaign_id:cmp_6|step:2|reader:{PERSON}|name:Dear Jane"
    yield "brevo", {**brevo, "event": "delivered", "message-id": "<br2@mail.example>", "X-Mailin-custom": pairs}
    yield (
        "mailgun",
        {
            "event-data": {
                "event": "failed",
                "severity": "permanent",
                "reason": "bounce",
                "recipient": PERSON,
                "delivery-status": {"code": 552, "message": f"552 {PERSON} (Jane D. of accounting): mailbox is full"},
                **mailgun,
            }
        },
    )
    yield from bodies_of_later_providers()


def bodies_of_later_providers() -> Iterator[tuple[str, Any]]:
    bounce = f"552 <{PERSON}> (Jane D. of accounting): mailbox is full"
    kinds: dict[str, dict[str, Any]] = {"delivery": {}, "open": {"user_agent": "JanesPhone/7.0", "ip": "203.0.113.77"}}
    for kind, more in kinds.items():
        event = {"event": kind, "message_id": "mt1", "event_id": "e", "timestamp": SECONDS, "email": PERSON, **more}
        yield "mailtrap", {"events": [{**event, "custom_variables": {"campaign_id": "cmp_3", "name": "Dear Jane"}}]}
    report = {"object": "recipient_bounce", "reason": bounce, "readable_reason": "Jane D. of accounting has no space"}
    kinds = {"delivered": {}, "soft_bounced": {"morph": report}}
    for kind, more in kinds.items():
        email = {
            "subject": "Dear Jane",
            "message": {"id": f"ms-{kind}"},
            "recipient": {"email": PERSON},
            "tags": ["campaign_id:cmp_3"],
        }
        data = {"type": kind, "created_at": TIME, "email": email, **more}
        yield "mailersend", {"type": f"activity.{kind}", "created_at": TIME, "data": data}
    # version 2
    data = {"message_id": "ms-2", "recipient": PERSON, "subject": "Dear Jane", "tags": ["campaign_id:cmp_3"]}
    data["meta"] = {"bounce_reason": "Jane D. of accounting has left", "bounce_code": "450"}
    yield "mailersend", {"type": "activity.soft_bounced", "created_at": TIME, "data": data}
    message = {"email": PERSON, "subject": "Dear Jane", "metadata": {"campaign_id": "cmp_3"}, "tags": []}
    events = [
        {"event": "delivered", "_id": "md1", "ts": SECONDS, "msg": message},
        {"event": "click", "_id": "md1", "ts": SECONDS + 9, "msg": message, "url": URL, "user_agent": "JanesPhone/7.0"},
        {"event": "soft_bounce", "_id": "md2", "ts": SECONDS, "msg": message | {"diag": bounce, "bgtools_code": 22}},
    ]
    events.append({"event": "send", "ts": SECONDS, "msg": message | {"_id": "md3"}})
    yield "mandrill", {"mandrill_events": json.dumps(events)}
    cut = {"event": "open", "_id": "md1", "ts": SECONDS + 5, "msg": message | {"subject": "Dear Jane \ud83d"}}
    yield "mandrill", {"mandrill_events": json.dumps([cut | {"user_agent": "JanesPhone/7.0", "ip": "203.0.113.77"}])}
    for number, (kind, postal_report) in enumerate(
        (
            ("MessageSent", {"details": f"Message for {PERSON} accepted", "output": "250 ok\n"}),
            ("MessageDeliveryFailed", {"details": "Permanent SMTP delivery error", "output": bounce + "\n"}),
            ("MessageDeliveryFailed", {"details": f"Maximum number of delivery attempts (18) has been reached. Added {PERSON}."}),
            # an answer without a code
            (
                "MessageDeliveryFailed",
                {"details": "Permanent SMTP delivery error", "output": "Jane D. of accounting is unknown\n"},
            ),
            ("MessageDeliveryFailed", {"details": "Message is likely spam. Threshold is 5 and the message scored 9."}),
        )
    ):
        sent = {
            "id": number,
            "token": f"t{number}",
            "direction": "outgoing",
            "to": PERSON,
            "subject": "Dear Jane",
            "tag": "campaign_id=cmp_3",
        }
        yield "postal", {"event": kind, "timestamp": SECONDS, "uuid": f"u{number}", "payload": {"message": sent, **postal_report}}


def load_mail(settings: Settings) -> None:
    """Loads the same mail for both tenants, with what platforms write into the raw log themselves, and builds."""
    for workspace in (TENANT, OTHER):
        for provider in WEBHOOK_PROVIDERS:
            lines = [json.dumps(body) for name, body in bodies() if name == provider]
            _ingest(settings, provider, workspace, "\n".join(lines))
        native = {"event_id": "n1", "message_id": "n-1", "event_type": "sent", "occurred_at": TIME, "recipient": PERSON}
        # a line that is no JSON, one without a message id, and one that is loaded
        broken = {"event_id": "n2", "event_type": "sent", "occurred_at": TIME, "recipient": PERSON}
        _ingest(settings, "native", workspace, "\n".join([json.dumps(native), json.dumps(broken), f"to: {PERSON}"]), rejected=2)
        load_native(settings, workspace)
    run_dbt(settings, *WITHOUT_UNIT_TESTS)


def load_native(settings: Settings, workspace: str) -> None:
    """Rows of the app's tables, and events with addresses in clear."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("insert into raw.workspaces (workspace_id, name) values (%s, %s)", (workspace, f"Tenant {workspace}"))
        connection.execute(
            "insert into raw.campaigns (campaign_id, workspace_id, name) values (%s, %s, 'A')", (f"c-{workspace}", workspace)
        )
        connection.execute("insert into raw.domains (domain_id, workspace_id) values (%s, %s)", (f"d-{workspace}", workspace))
        connection.execute("insert into raw.domain_ip_assignments values (%s, 'ip', 'active')", (f"d-{workspace}",))
        events: list[tuple[str, dict[str, Any]]] = [
            ("sent", {"recipient_hash": PERSON}),
            ("bounced", {"recipient_hash": PERSON, "diagnostic": BOUNCE, "smtp_code": 550}),
            ("sent", {"recipient_hash": f"{LOWER} (Jane Doe)", "message_id": "n-3"}),
            ("delivered", {"message_id": "n-3"}),
            ("clicked", {"message_id": "n-3", "url": URL, "user_agent": "JanesPhone/7.0"}),
            ("sent", {"message_id": f"to:{LOWER}/4"}),
            ("delivered", {"message_id": f"to:{LOWER}/4", "url": f"https://shop.example/?e={IN_A_URL}"}),
            (
                "sent",
                {"message_id": "n-5", "sequence_id": f"of {PERSON}", "step": PERSON, "variant": LOWER, "tags": ["a", PERSON]},
            ),
        ]
        for number, (kind, more) in enumerate(events):
            row = {"message_id": "n-2", "campaign_id": "cmp_4", **more}
            columns = ", ".join(row)
            connection.execute(
                f"insert into raw.email_events (event_id, workspace_id, event_type, occurred_at, {columns})"
                f" values (%s, %s, %s, %s, {', '.join(['%s'] * len(row))})",
                (f"x{number}", workspace, kind, SENT_AT + timedelta(seconds=number), *row.values()),
            )


def land(settings: Settings, provider: str, workspace: str, body: Any) -> None:
    """Inserts a body as another system does."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into raw.webhook_payloads (provider, workspace_id, payload) values (%s, %s, %s)",
            (provider, workspace, Jsonb(body)),
        )


def _ingest(settings: Settings, provider: str, workspace: str, content: str, rejected: int = 0) -> None:
    path = settings.home / f"{provider}-{workspace}.jsonl"
    path.write_text(content)
    result = mailmart(settings, "ingest", "--provider", provider, "--workspace", workspace, str(path))
    assert f" {rejected} rejected" in result.output, result.output
    for name in (path, path.with_name(f"{path.name}.rejected.jsonl")):
        name.unlink(missing_ok=True)
