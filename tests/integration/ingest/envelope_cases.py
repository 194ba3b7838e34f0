"""Small inputs of the kinds of field.jsonl in the shared data: envelopes, bodies without events, spellings, odd times."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

TIME = "2026-11-20T10:00:00.000Z"
SECONDS = 1795168800


@dataclass(frozen=True)
class Case:
    """Lines for `mailmart ingest`, and what has to come of them: see the README of ../shared/data."""

    provider: str
    bodies: list[str]
    expected: dict[str, Any] = field(default_factory=dict)


def ses(kind: str = "Delivery", to: Any = "jane@example.com", minute: int = 1, **more: Any) -> dict[str, Any]:
    """An event of SES as the destination of a configuration set gets it."""
    addresses = [to] if isinstance(to, str) else to
    mail = {"timestamp": TIME, "messageId": "ses-1", "destination": addresses, "tags": {"campaign_id": ["c1"]}}
    detail: dict[str, Any] = {} if kind == "Send" else {"timestamp": f"2026-11-20T10:{minute:02}:00.000Z"}
    if kind == "Delivery":
        detail["recipients"] = addresses
    return {"eventType": kind, "mail": mail, kind.lower(): detail | more}


def text(value: Any) -> str:
    return json.dumps(value)


def packed(value: Any) -> str:
    return base64.b64encode(text(value).encode()).decode()


def sns(message: Any) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "n-1",
        "TopicArn": "arn:aws:sns:eu-west-1:1:t",
        "Message": message if isinstance(message, str) else text(message),
        "Timestamp": "2026-11-20T10:05:00.000Z",
    }


def eventbridge(detail: Any, kind: str = "Email Delivered") -> dict[str, Any]:
    return {"version": "0", "id": "x", "detail-type": kind, "source": "aws.ses", "time": "2026-11-20T10:06:00Z", "detail": detail}


def sendgrid(event: str = "delivered", **more: Any) -> dict[str, Any]:
    return {
        "email": "jane@example.com",
        "event": event,
        "timestamp": SECONDS,
        "sg_message_id": "sgm1.filter001.1.1",
        "sg_event_id": f"e{event}",
        "campaign_id": "c1",
    } | more


def relayed(event: str = "delivered", smtp_id: str = "<m1@sender.example>", **more: Any) -> dict[str, Any]:
    """An event of SendGrid with both ids of its message; with sg_message_id=None the late bounce has only the sender's."""
    return {key: value for key, value in (sendgrid(event, **more) | {"smtp-id": smtp_id}).items() if value is not None}


def late_bounce(smtp_id: str = "<m1@sender.example>", **more: Any) -> dict[str, Any]:
    return relayed("bounce", smtp_id, **{"sg_message_id": None, "status": "5.1.1", "type": "bounce", "campaign_id": None} | more)


def mailgun(event: str = "delivered", message_id: str = "mg1@x", **more: Any) -> dict[str, Any]:
    return {
        "event": event,
        "timestamp": SECONDS + 0.1,
        "id": f"i{event}",
        "recipient": "jane@example.com",
        "message": {"headers": {"message-id": message_id}},
        "user-variables": {"campaign_id": "c1"},
    } | more


def postmark(record: str = "Delivery", **more: Any) -> dict[str, Any]:
    return {
        "RecordType": record,
        "MessageID": "pm-1",
        "Recipient": "jane@example.com",
        "DeliveredAt": TIME,
        "Metadata": {"campaign_id": "c1"},
    } | more


def native(event_type: str = "sent", **more: Any) -> str:
    event = {
        "event_id": f"{event_type}-1",
        "message_id": "m1",
        "event_type": event_type,
        "occurred_at": TIME,
        "campaign_id": "c1",
    }
    return text(event | more)


ONE = {"sent": 1, "delivered": 1, "campaign_id": "c1", "problems": {}}
NOTHING = {"sent": 0, "problems": {"unreadable_body": 1}}

SES_ENVELOPES: dict[str, Any] = {
    "plain": ses(),
    "an array": [ses()],
    "sns": sns(ses()),
    "sns of an object": sns("") | {"Message": ses()},
    "eventbridge": eventbridge(ses()),
    "lambda of sns": {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns(ses())}]},
    "sns of eventbridge": sns(eventbridge(ses())),
    "lambda of sqs of sns": {"Records": [{"messageId": "m", "eventSource": "aws:sqs", "body": text(sns(ses()))}]},
    "lambda of sqs, raw": {"Records": [{"messageId": "m", "eventSource": "aws:sqs", "body": text(ses())}]},
    "lambda of sqs of eventbridge": {"Records": [{"messageId": "m", "body": text(eventbridge(ses()))}]},
    "sqs of sns": {"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "Body": text(sns(ses()))}]},
    "sqs, raw": {"Messages": [{"MessageId": "m", "Body": text(ses())}]},
    "one message of sqs": {"MessageId": "m", "ReceiptHandle": "r", "Body": text(sns(ses()))},
    "one record of lambda": {"messageId": "m", "body": text(sns(ses()))},
    "a list of messages of sqs": [{"MessageId": "m", "Body": text(sns(ses()))}],
    "firehose to http": {"requestId": "r", "timestamp": 1, "records": [{"data": packed(ses())}]},
    "lambda of firehose": {"invocationId": "i", "records": [{"recordId": "r", "data": packed(ses())}]},
    "lambda of kinesis": {"Records": [{"kinesis": {"partitionKey": "p", "data": packed(ses())}, "eventSource": "aws:kinesis"}]},
    "logs": {
        "messageType": "DATA_MESSAGE",
        "logGroup": "g",
        "logEvents": [{"id": "1", "timestamp": 1, "message": text(eventbridge(ses()))}],
    },
    "api gateway": {"httpMethod": "POST", "headers": {}, "body": text(sns(ses())), "isBase64Encoded": False},
    "api gateway, packed": {"httpMethod": "POST", "headers": {}, "body": packed(sns(ses())), "isBase64Encoded": True},
}

# name: provider, and bodies in which no event is read
UNREADABLE: dict[str, tuple[str, str]] = {
    "sns, cut off": ("ses", text(sns(text(ses())[:-40]))),
    "sqs, cut off": ("ses", text({"Messages": [{"Body": text(sns(ses()))[:-3]}]})),
    "eventbridge without detail": ("ses", text({"version": "0", "detail-type": "Email Delivered", "detail": {}})),
    "sns of a json text in a json text": ("ses", text(sns(text(text(ses()))))),
    "sns of words": ("ses", text(sns("hello"))),
    "sns of a number": ("ses", text(sns("5"))),
    "kinesis that is no base64": ("ses", text({"Records": [{"kinesis": {"data": "%%%"}}]})),
    "kinesis of bytes": ("ses", text({"Records": [{"kinesis": {"data": base64.b64encode(b"\xff\x00{}").decode()}}]})),
    "mailgun in ses": ("ses", text({"event-data": mailgun()})),
    "postmark in ses": ("ses", text(postmark())),
    "ses in sendgrid": ("sendgrid", text(sns(ses()))),
    "mailgun in sendgrid": ("sendgrid", text(mailgun())),
    "brevo in sendgrid": (
        "sendgrid",
        text({"event": "delivered", "email": "a@b.c", "id": 1, "ts": SECONDS, "message-id": "<x>"}),
    ),
    "mailjet in sendgrid": ("sendgrid", text([{"event": "sent", "time": SECONDS, "MessageID": 1, "email": "a@b.c"}])),
    "mailtrap in sendgrid": (
        "sendgrid",
        text({"events": [{"event": "delivery", "timestamp": SECONDS, "message_id": "m", "email": "a@b.c", "event_id": "e"}]}),
    ),
    "mandrill in mailgun": ("mailgun", text([{"event": "send", "_id": "x", "msg": {"email": "a@b.c"}, "ts": SECONDS}])),
    "sendgrid in mailgun": ("mailgun", text([sendgrid()])),
    "sendgrid in postmark": ("postmark", text([sendgrid()])),
    "an empty object": ("postmark", "{}"),
    "nulls": ("mailgun", "[null, null, 1, [], [[]]]"),
    "sparkpost in postmark": ("postmark", text([{"msys": {"message_event": {"type": "delivery", "message_id": "m"}}}])),
    "counts of sendgrid": ("sendgrid", text({"messages": [{"msg_id": "x", "to_email": "a@b.c", "status": "delivered"}]})),
    "a text": ("sendgrid", text(text([sendgrid()]))),
    "cut off": ("sendgrid", text([sendgrid()])[:-5]),
    "a csv file": ("sendgrid", "email,event,timestamp"),
}

LEFT_OUT: dict[str, tuple[str, Any, str]] = {
    "an empty array": ("sendgrid", [], "empty_body"),
    "an empty page": ("mailgun", {"items": [], "paging": {"next": "https://x.example/"}}, "empty_body"),
    "no records": ("ses", {"Records": []}, "empty_body"),
    "sns subscription": ("ses", {"Type": "SubscriptionConfirmation", "Message": "You have chosen", "Token": "t"}, "heartbeat"),
    "sns unsubscription": ("ses", {"Type": "UnsubscribeConfirmation", "Message": "You have chosen", "Token": "t"}, "heartbeat"),
    "ses topic": ("ses", sns("Successfully validated SNS topic for Amazon SES event publishing."), "heartbeat"),
    "ses notifications": ("ses", sns({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You"}), "heartbeat"),
    "logs control": ("ses", {"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "CWL CONTROL MESSAGE"}]}, "heartbeat"),
    "ses advisor": ("ses", eventbridge({"version": "1.0.0"}, "Advisor Recommendation Status Open"), "account_event"),
    "ses inbound": ("ses", sns({"notificationType": "Received", "mail": {"messageId": "x"}, "receipt": {}}), "inbound_mail"),
    "sendgrid account": (
        "sendgrid",
        [{"event": "account_status_change", "sg_event_id": "x", "timestamp": SECONDS, "type": "compliance_suspend"}],
        "account_event",
    ),
    "postmark inbound": ("postmark", {"FromFull": {"Email": "a@b.c"}, "MailboxHash": "", "MessageID": "x"}, "inbound_mail"),
    "postmark suppression": (
        "postmark",
        postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="HardBounce", ChangedAt=TIME),
        "repeated_bounce",
    ),
    "mailgun stored": ("mailgun", {"event-data": mailgun("stored")}, "inbound_mail"),
    **{
        f"mailgun {kind}": ("mailgun", {"items": [{"event": kind, "timestamp": SECONDS, "id": "x"}]}, "account_event")
        for kind in ("list_member_uploaded", "list_member_upload_error", "list_uploaded", "email_validation")
    },
}

TESTS: dict[str, tuple[str, Any]] = {
    "sendgrid, one event": ("sendgrid", [sendgrid(sg_message_id="14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0")]),
    "sendgrid, by smtp-id": (
        "sendgrid",
        [sendgrid(sg_message_id="sg_message_id", **{"smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>"})],
    ),
    "mailgun": ("mailgun", {"signature": {}, "event-data": mailgun(message_id="20130503182626.18666.16540@mg.example.com")}),
    "mailgun, complained": ("mailgun", {"event-data": mailgun("complained", "20110215055645.25246.63817@mg.example.com")}),
    "postmark": ("postmark", postmark(MessageID="00000000-0000-0000-0000-000000000000")),
    "postmark, bounce": ("postmark", postmark("Bounce", Type="HardBounce", MessageID="00000000-0000-0000-0000-000000000000")),
    "ses simulator": ("ses", sns(ses(to="Success <success+1@simulator.amazonses.com>"))),
    "postmark bounce testing": (
        "postmark",
        postmark("Bounce", Recipient="hardbounce@bounce-testing.postmarkapp.com", Type="HardBounce"),
    ),
}

# pairs of spellings of one address
SPELLINGS = {
    "comment": ("jane@example.com (Jane)", "jane@example.com"),
    "comment before": ("(Jane (J.)) jane@example.com", "jane@example.com"),
    "comment within": ("jane(work)@(here)example.com", "jane@example.com"),
    "comment with an address": ("jane@example.com (jane@other.example)", "jane@example.com"),
    "display name": ("Jane Doe <jane@example.com>", "jane@example.com"),
    "quoted display name": ('"Doe, Jane \\"JD\\" <x@y.z>" <jane@example.com>', "jane@example.com"),
    "name and comment": ("Jane <jane@example.com> (work)", "jane@example.com"),
    "encoded display name": ("=?UTF-8?B?SmFuZQ==?= <jane@example.com>", "jane@example.com"),
    "brackets": ("<jane@example.com>", " jane@example.com "),
    "case of the domain": ("jane@EXAMPLE.Com", "jane@example.com"),
    "case": ("Jane@example.com", "jane@example.com"),
    "final dot": ("jane@example.com.", "jane@example.com"),
    "quotes without need": ('"jane.doe"@example.com', "jane.doe@example.com"),
    "quotes with an escape": ('"jane\\.doe"@example.com', "jane.doe@example.com"),
    "quotes with need": ('Jane <"jane doe"@example.com>', '"jane doe"@Example.com'),
    "an at in quotes": ('Jane <"jane@home"@example.com>', '"jane@home"@example.com'),
    "folded": ("Jane\r\n <jane@example.com>", "jane@example.com"),
    "white space": ("jane @ example . com", "jane@example.com"),
    "idn": ("jane@bücher.example", "jane@xn--bcher-kva.example"),
    "idn in capitals": ("Jane <jane@BÜCHER.example>", "jane@xn--bcher-kva.example"),
    "idn with other forms": ("jane@bu\u0308cher.example", "jane@bücher.example"),
    "idn of other letters": ("jane@例え。テスト", "jane@xn--r8jz45g.xn--zckzah"),
    "idn of arabic": ("jane@مثال.إختبار", "jane@xn--mgbh0fb.xn--kgbechtv"),
}
OTHERS = {
    "plus": ("jane+a@example.com", "jane@example.com"),
    "dots": ("j.ane@example.com", "jane@example.com"),
    "quoted white space": ('"jane  doe"@example.com', '"jane doe"@example.com'),
    "domain": ("jane@example.com", "jane@example.org"),
}

GOOD_TIMES = {
    "2026-11-20T10:00:00Z": "2026-11-20T10:00:00+00:00",
    "2026-11-20t10:00:00z": "2026-11-20T10:00:00+00:00",
    "2026-11-20 10:00:00Z": "2026-11-20T10:00:00+00:00",
    "2026-11-20T10:00:00.5-00:00": "2026-11-20T10:00:00.500000+00:00",
    "2026-11-20T10:00:00.123456789123456789+01:30": "2026-11-20T08:30:00.123456+00:00",
    "2026-11-20T10:00:00.9999999Z": "2026-11-20T10:00:00.999999+00:00",
    "2026-11-20T23:59:59-23:59": "2026-11-21T23:58:59+00:00",
    "2016-12-31T23:59:60Z": "2017-01-01T00:00:00+00:00",
    "2016-12-31T15:59:60.25-08:00": "2017-01-01T00:00:00.250000+00:00",
    "2024-02-29T00:00:00Z": "2024-02-29T00:00:00+00:00",
}
BAD_TIMES = [
    *(
        "now",
        "yesterday",
        "today",
        "tomorrow",
        "infinity",
        "-infinity",
        "epoch",
        "allballs",
        "1795168800",
        "1795168800.5",
        "20261120",
    ),
    *("11/12/2026", "12.11.2026 10:00", "2026-11-20", "2026-11-20T10:00:00", "2026-11-20T10:00Z", "2026-11-20T10Z"),
    *("2026-11-20T10:00:00+00", "2026-11-20T10:00:00+0000", "2026-11-20 10:00:00+00", "2026-11-20T10:00:00 Z"),
    *("2026-11-20T10:00:00 UTC", "2026-11-20T10:00:00 Europe/Berlin", "2026-11-20T10:00:00EST", "20 Nov 2026 10:00:00 +0000"),
    *("Fri, 20 Nov 2026 10:00:00 GMT", "2026-02-30T10:00:00Z", "2026-13-01T10:00:00Z", "2025-02-29T00:00:00Z"),
    *("2026-11-20T24:00:00Z", "2026-11-20T10:60:00Z", "2026-11-20T10:00:61Z", "2026-11-20T10:00:60Z", "2026-06-15T23:59:60Z"),
    *("2026-11-20T10:00:00+24:00", "2026-11-20T10:00:00+01:60", "2026-11-20T10:00:00,5Z", "2026-11-20T10:00:00.Z"),
    *("2026-W47-5T10:00:00Z", "2026-324T10:00:00Z", "J2461365", "+2026-11-20T10:00:00Z", "0000-01-01T00:00:00Z"),
    *(
        "2026-11-20T10:00:0\N{FULLWIDTH DIGIT TWO}Z",
        "\N{FULLWIDTH DIGIT TWO}026-11-20T10:00:00Z",
        " 2026-11-20T10:00:00Z",
        "2026-11-20T10:00:00Z\n",
        "2026-11-20T10:00:00Z BC",
    ),
]


def _cases() -> dict[str, Case]:
    cases = {f"ses: {name}": Case("ses", [text(body)], ONE) for name, body in SES_ENVELOPES.items()}
    cases |= {f"unreadable: {name}": Case(provider, [body], NOTHING) for name, (provider, body) in UNREADABLE.items()}
    cases |= {
        f"left out: {name}": Case(provider, [text(body)], {"sent": 0, "problems": {}, "left_out": {reason: 1}})
        for name, (provider, body, reason) in LEFT_OUT.items()
    }
    cases |= {
        f"test: {name}": Case(provider, [text(body)], {"sent": 0, "problems": {"provider_test": 1}})
        for name, (provider, body) in TESTS.items()
    }
    cases |= {
        f"one: {name}": Case("ses", [text(ses("Send", first)), text(ses("Delivery", second))], ONE)
        for name, (first, second) in SPELLINGS.items()
    }
    cases |= {
        f"two: {name}": Case("ses", [text(ses("Send", first)), text(ses("Delivery", second))], {"sent": 2, "delivered": 1})
        for name, (first, second) in OTHERS.items()
    }
    opened = ses("Open", ["jane@example.com", "Jane <JANE@example.com>"], 30, userAgent="x")
    to_two = ["jane@example.com", "joe@example.com"]
    parts = text(ses()) + text(ses("Open", minute=30)) + text(ses("Click", minute=31, link="https://e.com/"))
    wide = sns({**ses("Open", minute=9), "open": {"timestamp": "2026-11-20T10:09:00Z", "userAgent": "\0 \\u0000"}})
    cases |= {
        "twice by two envelopes": Case(
            "ses", [text(sns(ses())), text(eventbridge(ses())), text(ses())], ONE | {"events_landed": 1}
        ),
        "open of one recipient in two spellings": Case(
            "ses", [text(ses()), text(opened)], {"sent": 1, "opened": 1, "problems": {}}
        ),
        "open of one of two": Case(
            "ses",
            [text(ses("Delivery", to_two)), text(ses("Open", to_two, 30))],
            {"sent": 2, "delivered": 2, "opened": 0, "problems": {"engagement_without_delivery": 1}},
        ),
        "delivery to one of two": Case(
            "ses",
            [
                text(ses("Send", to_two)),
                text(ses("Delivery", to_two) | {"delivery": {"recipients": to_two[:1], "timestamp": TIME}}),
            ],
            {"sent": 2, "delivered": 1, "problems": {}},
        ),
        "firehose without line ends": Case(
            "ses", [parts], {"sent": 1, "delivered": 1, "opened": 1, "clicked": 1, "problems": {}}
        ),
        "firehose, cut off": Case(
            "ses", [parts[:-30]], {"delivered": 1, "opened": 1, "clicked": 0, "problems": {"unreadable_body": 1}}
        ),
        "firehose over lines": Case(
            "ses",
            (json.dumps(ses(), indent=1) + json.dumps(ses("Open", minute=30), indent=1)).split("\n"),
            {"sent": 1, "delivered": 1, "opened": 1, "problems": {}},
        ),
        "byte order marks": Case(
            "ses", ["\ufeff" + text(ses()), "\ufeff" + text(ses("Open"))], {"delivered": 1, "opened": 1, "problems": {}}
        ),
        "nul in a text of sns": Case("ses", [text(sns(ses())), text(wide)], {"sent": 1, "opened": 1, "problems": {}}),
        "one record of three is unreadable": Case(
            "ses",
            [text({"Records": [{"Sns": sns(ses())}, {"Sns": sns("{")}, {"body": text(ses("Open", minute=30))}]})],
            {"delivered": 1, "opened": 1, "problems": {"unreadable_body": 1}},
        ),
        "an element of an array is unreadable": Case(
            "sendgrid",
            [text([sendgrid(), 5, [sendgrid("open")], {"a": 1}])],
            {"delivered": 1, "opened": 0, "problems": {"unreadable_body": 3}},
        ),
        "an array in sqs": Case(
            "sendgrid", [text({"Messages": [{"Body": text([sendgrid(), sendgrid("open")])}]})], {"opened": 1, "problems": {}}
        ),
        "arguments named as envelopes": Case(
            "sendgrid", [text([sendgrid(items=[1], Message="{}", detail={}, body="x", Records=[])])], ONE
        ),
        "two ids of one message": Case(
            "sendgrid",
            [text([relayed("processed"), relayed(), sendgrid("open")]), text(late_bounce(timestamp=SECONDS + 90000))],
            {"sent": 1, "delivered": 0, "bounced": 1, "campaign_id": "c1", "provider_message_ids": ["<m1@sender.example>"]},
        ),
        "two ids, the event under the second one first": Case(
            "sendgrid",
            [text(late_bounce("m1@sender.example", sg_message_id="")), text(relayed())],
            {"sent": 1, "delivered": 0, "bounced": 1, "campaign_id": "c1", "provider_message_ids": ["<m1@sender.example>"]},
        ),
        "one second id of two recipients": Case(
            "sendgrid",
            [
                text([relayed(), relayed(email="joe@example.com", sg_message_id="sgm2.filter001.1.1")]),
                text(late_bounce(email="joe@example.com")),
            ],
            {"sent": 2, "delivered": 1, "bounced": 1, "campaign_id": "c1"},
        ),
        "a second id that sendgrid made": Case(
            "sendgrid",
            [text(sendgrid()), text(late_bounce("<sgm1@geopod-ismtpd-3-2>"))],
            {"sent": 1, "bounced": 1, "provider_message_ids": ["sgm1"]},
        ),
        "a second id that sendgrid made of another message": Case(
            "sendgrid",
            [text(late_bounce("<sgm9@ismtpd0006p1sjc2.sendgrid.net>")), text(relayed(smtp_id="<sgm9@ismtpd-555>"))],
            {"sent": 1, "bounced": 1, "provider_message_ids": ["sgm1"]},
        ),
        "a second id that nobody taught": Case(
            "sendgrid",
            [text(relayed()), text(late_bounce("<m2@sender.example>"))],
            {"sent": 2, "delivered": 1, "bounced": 1, "provider_message_ids": ["<m1@sender.example>", "<m2@sender.example>"]},
        ),
        "two ids and one of the sender's software": Case(
            "sendgrid",
            [text(late_bounce()), text([sendgrid("open", anymail_id="a1"), relayed(anymail_id="a1")])],
            {"sent": 1, "bounced": 1, "provider_message_ids": ["a1"]},
        ),
        "a page of mailgun": Case(
            "mailgun",
            [text({"items": [mailgun("accepted"), mailgun(), mailgun("opened")], "paging": {}})],
            {"sent": 1, "delivered": 1, "opened": 1, "problems": {}},
        ),
        "a form of mailgun": Case(
            "mailgun",
            [
                urlencode(
                    {
                        "recipient": "jane@example.com",
                        "Message-Id": "<mg1@x>",
                        "campaign_id": "c1",
                        "event": event,
                        "timestamp": SECONDS,
                    }
                    | {"token": "t", "signature": "s", "message-headers": text([["Message-Id", "<mg1@x>"]]), "tag": "x"}
                )
                for event in ("delivered", "opened", "clicked")
            ],
            {"sent": 1, "delivered": 1, "opened": 1, "clicked": 1, "campaign_id": "c1", "problems": {}},
        ),
        "a form of mailgun about a bounce": Case(
            "mailgun",
            [
                urlencode(
                    {
                        "event": "bounced",
                        "recipient": "jane@example.com",
                        "Message-Id": "<mg1@x>",
                        "code": "550",
                        "timestamp": SECONDS,
                    }
                    | {"error": "5.1.1 The email account that you tried to reach does not exist"}
                )
            ],
            {"sent": 1, "bounced": 1, "hard": 1, "reason": "invalid_recipient"},
        ),
        "a form of mailgun about a dropped message": Case(
            "mailgun",
            [
                urlencode({"event": "dropped", "recipient": "a@b.c", "Message-Id": "<mg1@x>", "code": code, "timestamp": SECONDS})
                for code in ("605",)
            ],
            {"sent": 0, "bounced": 0, "events": ["rejected"], "problems": {}},
        ),
        "a form of mandrill in sendgrid": Case(
            "sendgrid", [urlencode({"mandrill_events": text([{"event": "send", "_id": "x", "msg": {}, "ts": SECONDS}])})], NOTHING
        ),
        "pages of postmark": Case(
            "postmark",
            [
                text(postmark()),
                text({"TotalCount": 1, "Opens": [postmark("Open", ReceivedAt="2026-11-20T10:30:00Z")]}),
                text(
                    {
                        "TotalCount": 1,
                        "Clicks": [postmark("Click", ReceivedAt="2026-11-20T10:31:00Z", OriginalLink="https://e.com")],
                    }
                ),
            ],
            {"sent": 1, "delivered": 1, "opened": 1, "clicked": 1, "problems": {}},
        ),
        "a page of bounces of postmark": Case(
            "postmark",
            [
                text(
                    {
                        "TotalCount": 1,
                        "Bounces": [postmark("Bounce", Type="HardBounce", Details="550 5.1.1 no such user", BouncedAt=TIME)],
                    }
                )
            ],
            {"sent": 1, "bounced": 1, "hard": 1},
        ),
        "engagement before its delivery": Case(
            "native",
            [native("opened", event_id="o"), native("delivered", event_id="d")],
            {"sent": 1, "delivered": 1, "opened": 1, "problems": {}},
        ),
        "engagement of a bounced message": Case(
            "native",
            [native("sent"), native("bounced", smtp_status="5.1.1"), native("clicked"), native("replied")],
            {"sent": 1, "bounced": 1, "clicked": 0, "problems": {"engagement_without_delivery": 1}},
        ),
        "complaint without delivery": Case(
            "native", [native("sent"), native("complained")], {"sent": 1, "problems": {"engagement_without_delivery": 1}}
        ),
        "several recipients": Case(
            "native",
            [native("sent", event_id="1", recipient="a@x.com"), native("delivered", event_id="2", recipient="b@x.com")],
            {"sent": 1, "problems": {"message_id_with_several_recipients": 1}},
        ),
        "one recipient in two spellings": Case(
            "native",
            [native("sent", recipient="A <a@x.com>"), native("delivered", recipient="a@X.com (A)"), native("opened")],
            {"sent": 1, "delivered": 1, "opened": 1, "problems": {}},
        ),
        "unknown types decide nothing": Case(
            "native",
            [native(), native("delivered"), native("teleported", occurred_at="2026-11-20T11:00:00Z", campaign_id="c2")],
            {"sent": 1, "delivered": 1, "campaign_id": "c1", "problems": {"unknown_event_type": 1}},
        ),
        "an unknown type alone names no campaign": Case(
            "native",
            [native(campaign_id=None), native("teleported", campaign_id="c2")],
            {"sent": 1, "campaign_id": "", "problems": {"unknown_event_type": 1}},
        ),
        "times in RFC 3339": Case(
            "native",
            [native(event_id=f"e{n}", message_id=f"m{n}", occurred_at=time) for n, time in enumerate(GOOD_TIMES)],
            {"sent": len(GOOD_TIMES), "times": sorted(GOOD_TIMES.values()), "problems": {}},
        ),
        "other times": Case(
            "native",
            [native(event_id=f"e{n}", message_id=f"m{n}", occurred_at=time) for n, time in enumerate(BAD_TIMES)],
            {"sent": 0, "problems": {"not_rfc3339": len(BAD_TIMES)}},
        ),
        "a number as time": Case("native", [native(occurred_at=SECONDS)], {"sent": 0, "problems": {"not_rfc3339": 1}}),
        "a time and another fault": Case(
            "native", [native(occurred_at="now", message_id="")], {"sent": 0, "problems": {"invalid_event": 1}}
        ),
    }
    return cases


CASES = _cases()
