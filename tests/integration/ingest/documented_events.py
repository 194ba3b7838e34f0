"""Every event type that a provider documents, as an example written by hand; and bodies that no provider sends."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

from psycopg.types.json import Json

from api.db.connection import connect
from api.intake.sources import WEBHOOK_PROVIDERS
from api.settings import Settings
from tests.integration.ingest.provider_cases import mailersend as mailersend_cases
from tests.integration.ingest.provider_cases import mailtrap as mailtrap_cases
from tests.integration.ingest.provider_cases import mandrill as mandrill_cases
from tests.integration.ingest.provider_cases import postal as postal_cases

SECONDS = 1_700_000_000
TIME = "2023-11-14T22:13:20Z"


def sendgrid(event: str, **more: Any) -> dict[str, Any]:
    return {
        "email": "Jane@Example.com",
        "timestamp": SECONDS,
        "event": event,
        "sg_message_id": "abc.filter1.2.0",
        **more,
    }


def email_activity(*names: str) -> dict[str, Any]:
    """A message of SendGrid's Email Activity API."""
    events = [
        {"event_name": name, "processed": TIME, "reason": "", "bounce_type": "hard", "http_user_agent": "x"} for name in names
    ]
    message = {"from_email": "a@b.example", "msg_id": "abc.filter1.2.0", "to_email": "Jane@Example.com", "status": "delivered"}
    return {**message, "events": events, "unique_args": json.dumps({"campaign_id": "c"}), "categories": ["welcome"]}


def ses(kind: str, detail: dict[str, Any], key: str = "", to: tuple[str, ...] = ("jane@example.com",)) -> dict[str, Any]:
    mail = {"messageId": "abc", "timestamp": TIME, "destination": list(to), "tags": {"campaign_id": ["c"]}}
    return {"eventType": kind, "mail": mail, key or kind.lower(): {"timestamp": TIME, **detail}}


def postmark(record: str, **more: Any) -> dict[str, Any]:
    times = {"DeliveredAt": TIME} if record == "Delivery" else {"ReceivedAt": TIME}
    return {"RecordType": record, "MessageID": "abc", "Recipient": "jane@example.com", **times, **more}


def mailgun(event: str, **more: Any) -> dict[str, Any]:
    message = {"headers": {"message-id": "abc@example.org"}}
    return {
        "event-data": {"event": event, "timestamp": SECONDS + 0.5, "recipient": "jane@example.com", "message": message} | more
    }


def mailgun_log(event: str) -> dict[str, Any]:
    """An event of Mailgun's Logs API."""
    body = mailgun(event)["event-data"]
    del body["timestamp"]
    return {**body, "@timestamp": TIME, "id": "x", "user-variables": json.dumps({"campaign_id": "c"})}


FORM = {"event": "opened", "recipient": "jane@example.com", "timestamp": str(SECONDS), "message-id": "abc@example.org"}


def resend(kind: str, **more: Any) -> dict[str, Any]:
    mail = {
        "email_id": "abc",
        "created_at": TIME,
        "from": "Us <us@example.org>",
        "to": ["Jane <jane@example.com>"],
        "subject": "x",
    }
    return {"type": kind, "created_at": TIME, "data": mail | more}


def sparkpost(kind: str, group: str = "message_event", **more: Any) -> dict[str, Any]:
    event = {"type": kind, "timestamp": str(SECONDS), "transmission_id": "abc", "message_id": "x", "event_id": f"e-{kind}"}
    return {"msys": {group: event | {"rcpt_to": "jane@example.com", "raw_rcpt_to": "Jane@example.com", **more}}}


def mailjet(event: str, **more: Any) -> dict[str, Any]:
    mail = {
        "MessageID": 19421777835146490,
        "email": "jane@example.com",
        "mj_campaign_id": 7257,
        "customcampaign": "",
        "Payload": "",
    }
    return {"event": event, "time": SECONDS, **mail, **more}


def brevo(event: str, **more: Any) -> dict[str, Any]:
    times = {"date": "2023-11-14 23:13:20", "ts": SECONDS, "ts_event": SECONDS, "ts_epoch": SECONDS * 1000}
    return {"event": event, "email": "jane@example.com", "id": 1, "message-id": "<abc@smtp-relay.mailin.fr>", **times, **more}


TO_TWO = ("jane@example.com", "joe@example.com")
CASES: list[tuple[str, Any, list[str]]] = [
    ("sendgrid", sendgrid("processed"), ["queued"]),
    ("sendgrid", sendgrid("deferred", response="451 4.7.1 try later"), ["deferred"]),
    ("sendgrid", sendgrid("delivered", response="250 OK"), ["delivered"]),
    ("sendgrid", sendgrid("bounce", type="bounce", reason="550 5.1.1 no", status="5.1.1"), ["bounced"]),
    ("sendgrid", sendgrid("bounce", type="blocked", reason="421 busy", status="4.0.0"), ["bounced"]),
    ("sendgrid", sendgrid("dropped", reason="Bounced Address", status="5.0.0"), ["rejected"]),
    ("sendgrid", sendgrid("open", sg_machine_open=True), ["opened"]),
    ("sendgrid", sendgrid("click", url="https://x.example/"), ["clicked"]),
    ("sendgrid", sendgrid("spamreport"), ["complained"]),
    ("sendgrid", sendgrid("unsubscribe"), ["unsubscribed"]),
    ("sendgrid", sendgrid("group_unsubscribe", asm_group_id=1), ["unsubscribed"]),
    ("sendgrid", sendgrid("group_resubscribe", asm_group_id=1), ["subscribed"]),
    ("sendgrid", sendgrid("account_status_change", type="compliance_suspend"), ["account_status_change"]),
    ("sendgrid", [sendgrid("open"), sendgrid("click", url="https://x.example/")], ["clicked", "opened"]),
    ("sendgrid", sendgrid("cancel_drop"), ["rejected"]),
    *(
        ("sendgrid", email_activity(name), [ours])
        for name, ours in {
            "processed": "queued",
            "delivered": "delivered",
            "deferred": "deferred",
            "bounced": "bounced",
            "dropped": "rejected",
            "opened": "opened",
            "clicked": "clicked",
            "spam_report": "complained",
            "unsubscribe": "unsubscribed",
            "group_unsubscribe": "unsubscribed",
            "group_resubscribe": "subscribed",
        }.items()
    ),
    ("ses", ses("Send", {}), ["sent"]),
    ("ses", ses("Delivery", {"recipients": ["jane@example.com"], "smtpResponse": "250 ok"}), ["delivered"]),
    ("ses", ses("Delivery", {"recipients": list(TO_TWO)}, to=TO_TWO), ["delivered", "delivered"]),
    (
        "ses",
        ses("Bounce", {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": "a@b.example"}]}),
        ["bounced"],
    ),
    (
        "ses",
        ses("Bounce", {"bounceType": "Transient", "bouncedRecipients": [{"emailAddress": "a@b.example"}]}),
        ["bounced"],
    ),
    *(
        ("ses", ses("Bounce", {**verdict, "bouncedRecipients": [{"emailAddress": "a@b.example", **report}]}), [ours])
        for verdict, report, ours in (
            ({"bounceType": "Transient", "bounceSubType": "General"}, {}, "autoresponded"),
            ({"bounceType": "Undetermined", "bounceSubType": "Undetermined"}, {}, "autoresponded"),
            ({"bounceType": "Transient", "bounceSubType": "General"}, {"status": "4.4.7"}, "bounced"),
            ({"bounceType": "Transient", "bounceSubType": "General"}, {"diagnosticCode": "smtp; 450 later"}, "bounced"),
            ({"bounceType": "Transient", "bounceSubType": "MailboxFull"}, {}, "bounced"),
            ({"bounceType": "Permanent", "bounceSubType": "Suppressed"}, {"status": "5.1.1"}, "rejected"),
            ({"bounceType": "Permanent", "bounceSubType": "OnAccountSuppressionList"}, {"status": "5.1.1"}, "rejected"),
        )
    ),
    # it names nobody: the mail's only recipient, and of several none
    ("ses", ses("Bounce", {"bounceType": "Permanent", "bouncedRecipients": []}), ["bounced"]),
    ("ses", ses("Bounce", {"bounceType": "Permanent", "bouncedRecipients": []}, to=TO_TWO), ["Bounce/no-recipient"]),
    (
        "ses",
        ses("Complaint", {"complaintFeedbackType": "not-spam", "complainedRecipients": [{"emailAddress": "a@b.example"}]}),
        ["Complaint/not-spam"],
    ),
    ("ses", ses("Complaint", {"complainedRecipients": [{"emailAddress": "a@b.example"}]}), ["complained"]),
    (
        "ses",
        ses(
            "Complaint",
            {"complaintSubType": "OnAccountSuppressionList", "complainedRecipients": [{"emailAddress": "a@b.example"}]},
        ),
        ["rejected"],
    ),
    ("ses", ses("Reject", {"reason": "Bad content"}), ["rejected"]),
    ("ses", ses("Open", {"userAgent": "x"}), ["opened"]),
    ("ses", ses("Click", {"link": "https://x.example/"}), ["clicked"]),
    ("ses", ses("Rendering Failure", {"errorMessage": "no name"}, "failure"), ["failed"]),
    (
        "ses",
        ses("DeliveryDelay", {"delayedRecipients": [{"emailAddress": "a@b.example"}]}, "deliveryDelay"),
        ["deferred"],
    ),
    ("ses", ses("Subscription", {"newTopicPreferences": {"unsubscribeAll": True}}), ["unsubscribed"]),
    ("ses", ses("Subscription", {"newTopicPreferences": {"unsubscribeAll": False}}), ["subscribed"]),
    ("ses", {"Type": "Notification", "Timestamp": TIME, "Message": json.dumps(ses("Click", {}))}, ["clicked"]),
    ("ses", {"Type": "SubscriptionConfirmation", "Message": "You have chosen to subscribe", "Timestamp": TIME}, []),
    ("postmark", postmark("Delivery", Details="250 OK"), ["delivered"]),
    ("postmark", postmark("Open"), ["opened"]),
    ("postmark", postmark("Click", OriginalLink="https://x.example/"), ["clicked"]),
    ("postmark", postmark("SpamComplaint", Type="SpamComplaint"), ["complained"]),
    (
        "postmark",
        postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression"),
        ["unsubscribed"],
    ),
    (
        "postmark",
        postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression", Origin="Recipient"),
        ["unsubscribed"],
    ),
    (
        "postmark",
        postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression", Origin="Customer"),
        ["SuppressedBySender"],
    ),
    ("postmark", postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="HardBounce"), ["HardBounce"]),
    (
        "postmark",
        postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="SpamComplaint"),
        ["complained"],
    ),
    ("postmark", postmark("SubscriptionChange", SuppressSending=False), ["subscribed"]),
    *(
        ("postmark", postmark("Bounce", Type=kind), [ours])
        for kind, ours in {
            "HardBounce": "bounced",
            "SoftBounce": "bounced",
            "Blocked": "bounced",
            "DMARCPolicy": "bounced",
            "VirusNotification": "bounced",
            "Unknown": "bounced",
            "SomethingNew": "bounced",
            "Transient": "deferred",
            "DnsError": "deferred",
            "SpamNotification": "complained",
            "SpamComplaint": "complained",
            "Unsubscribe": "unsubscribed",
            "Subscribe": "subscribed",
            "AutoResponder": "autoresponded",
            "AddressChange": "autoresponded",
            "ChallengeVerification": "autoresponded",
            "BadEmailAddress": "rejected",
            "ManuallyDeactivated": "rejected",
            "Unconfirmed": "rejected",
            "SMTPApiError": "failed",
            "TemplateRenderingFailed": "failed",
            "InboundError": "InboundError",
            "OpenRelayTest": "OpenRelayTest",
        }.items()
    ),
    ("mailgun", mailgun("accepted"), ["queued"]),
    ("mailgun", mailgun("delivered"), ["delivered"]),
    ("mailgun", mailgun("delivered", flags={"is-test-mode": True, "is-routed": False}), ["test/delivered"]),
    ("mailgun", mailgun("delivered", flags={"is-test-mode": False, "is-routed": True}), ["routed/delivered"]),
    ("mailgun", mailgun("failed", severity="temporary", reason="greylisted"), ["deferred"]),
    ("mailgun", mailgun("failed", severity="permanent", reason="bounce"), ["bounced"]),
    ("mailgun", mailgun("failed", severity="permanent", reason="suppress-unsubscribe"), ["rejected"]),
    ("mailgun", mailgun("rejected", reject={"reason": "Sandbox"}), ["rejected"]),
    ("mailgun", mailgun("opened", **{"client-info": {"bot": "apple"}}), ["opened"]),
    ("mailgun", mailgun("clicked", url="https://x.example/"), ["clicked"]),
    ("mailgun", mailgun("complained"), ["complained"]),
    ("mailgun", mailgun("unsubscribed"), ["unsubscribed"]),
    ("mailgun", mailgun("stored"), ["stored"]),
    ("mailgun", mailgun("unique_opened"), ["opened"]),
    ("mailgun", {"items": [mailgun_log("delivered"), mailgun_log("unique_clicked")], "pagination": {}}, ["clicked", "delivered"]),
    ("mailgun", mailgun("accepted")["event-data"], ["queued"]),
    ("mailgun", {"items": [mailgun("accepted")["event-data"], mailgun("opened")["event-data"]]}, ["opened", "queued"]),
    ("resend", resend("email.sent"), ["sent"]),
    ("resend", resend("email.sent", to=list(TO_TWO)), ["sent"]),
    ("resend", resend("email.scheduled"), ["email.scheduled"]),
    ("resend", resend("email.delivered"), ["delivered"]),
    ("resend", resend("email.delivery_delayed"), ["deferred"]),
    *(
        ("resend", resend("email.bounced", bounce={"message": "x", "type": kind, "subType": subtype}), [ours])
        for kind, subtype, ours in (
            ("Permanent", "General", "bounced"),
            ("Transient", "MailboxFull", "bounced"),
            ("Permanent", "Suppressed", "rejected"),
            ("Permanent", "OnAccountSuppressionList", "rejected"),
        )
    ),
    ("resend", resend("email.bounced", bounce={"message": "The provider sent a hard bounce message."}), ["bounced"]),
    ("resend", resend("email.suppressed", suppressed={"message": "x", "type": "OnAccountSuppressionList"}), ["rejected"]),
    ("resend", resend("email.failed", failed={"reason": "reached_daily_quota"}), ["failed"]),
    ("resend", resend("email.opened", open={"timestamp": TIME, "userAgent": "x"}), ["opened"]),
    ("resend", resend("email.clicked", click={"link": "https://x.example/", "timestamp": TIME}), ["clicked"]),
    ("resend", resend("email.complained"), ["complained"]),
    ("resend", resend("email.received"), []),
    ("resend", resend("email.sent", to=["Test <delivered+one@resend.dev>"]), []),
    ("resend", {"type": "contact.created", "created_at": TIME, "data": {"id": "1", "email": "jane@example.com"}}, []),
    ("resend", {"type": "suppression.added", "created_at": TIME, "data": {"id": "1", "email": "jane@example.com"}}, []),
    ("sparkpost", [sparkpost("injection")], ["queued"]),
    ("sparkpost", [sparkpost("delivery")], ["delivered"]),
    ("sparkpost", [sparkpost("delay", raw_reason="454 4.4.4 [internal] no MX", bounce_class="21")], ["deferred"]),
    *(
        ("sparkpost", [sparkpost(kind, bounce_class=bounce_class, raw_reason="550 5.1.1 no")], [ours])
        for kind in ("bounce", "out_of_band")
        for bounce_class, ours in {
            "1": "bounced",
            "10": "bounced",
            "22": "bounced",
            "25": "rejected" if kind == "bounce" else "bounced",
            "60": "autoresponded",
            "80": "subscribed",
            "90": "unsubscribed",
            "100": "autoresponded",
        }.items()
    ),
    ("sparkpost", [sparkpost("policy_rejection", bounce_class="25", raw_reason="550 5.7.1 suppressed")], ["rejected"]),
    ("sparkpost", [sparkpost("spam_complaint", fbtype="abuse")], ["complained"]),
    ("sparkpost", [sparkpost("spam_complaint", fbtype="not-spam")], ["spam_complaint/not-spam"]),
    ("sparkpost", [sparkpost("sms_status")], ["sms_status"]),
    *(
        ("sparkpost", [sparkpost(kind, "track_event", is_prefetched=True)], ["opened"])
        for kind in ("open", "initial_open", "amp_open", "amp_initial_open")
    ),
    *(
        ("sparkpost", [sparkpost(kind, "track_event", target_link_url="https://x.example/")], ["clicked"])
        for kind in ("click", "amp_click")
    ),
    ("sparkpost", [sparkpost("generation_failure", "gen_event", timestamp=TIME)], ["failed"]),
    ("sparkpost", [sparkpost("generation_rejection", "gen_event")], ["rejected"]),
    ("sparkpost", [sparkpost("list_unsubscribe", "unsubscribe_event")], ["unsubscribed"]),
    ("sparkpost", [sparkpost("link_unsubscribe", "unsubscribe_event")], ["unsubscribed"]),
    ("sparkpost", [sparkpost("relay_injection", "relay_event"), {"msys": {"relay_message": {"rcpt_to": "a@b.example"}}}], []),
    ("sparkpost", [sparkpost("ab_test_completed", "ab_test_event"), sparkpost("success", "ingest_event")], []),
    ("sparkpost", [{"msys": {}}], []),
    (
        "sparkpost",
        [sparkpost("open", "track_event", user_agent_parsed={"agent_family": "x", "is_proxy": True, "is_prefetched": True})],
        ["opened"],
    ),
    ("sparkpost", [sparkpost("click", "track_event", user_agent_parsed={"is_prefetched": False})], ["clicked"]),
    ("sparkpost", [sparkpost("delivery", rcpt_to="jane@example.com.sink.sparkpostmail.com")], []),
    (
        "sparkpost",
        {"results": [sparkpost("delivery", customer_id="1", timestamp=TIME)["msys"]["message_event"]], "total_count": 1},
        ["delivered"],
    ),
    ("mailjet", mailjet("sent", smtp_reply="sent (250 2.0.0 OK 1433333948 fa5si855896wjc.199 - gsmtp)"), ["delivered"]),
    ("mailjet", [mailjet("open", agent="x", ip="127.0.0.1"), mailjet("click", url="https://x.example/")], ["clicked", "opened"]),
    (
        "mailjet",
        mailjet("bounce", hard_bounce=True, blocked=True, error_related_to="recipient", error="user unknown"),
        ["bounced"],
    ),
    ("mailjet", mailjet("bounce", hard_bounce=False, error_related_to="recipient", error="quota exceeded"), ["bounced"]),
    ("mailjet", mailjet("bounce", hard_bounce=False, error_related_to="domain", error="greylisted"), ["deferred"]),
    ("mailjet", mailjet("bounce", hard_bounce=True, error_related_to="domain", error="greylisted"), ["bounced"]),
    ("mailjet", mailjet("blocked", error_related_to="mailjet", error="preblocked"), ["rejected"]),
    ("mailjet", mailjet("blocked", error_related_to="domain", error="typofix"), ["rejected"]),
    ("mailjet", mailjet("bounce", hard_bounce=False, error_related_to="mailjet", error="duplicate in campaign"), ["rejected"]),
    ("mailjet", mailjet("bounce", hard_bounce=True, error_related_to="recipient", error="spam reporter"), ["rejected"]),
    ("mailjet", mailjet("bounce", hard_bounce=True, error_related_to="content", error="bad or empty template"), ["failed"]),
    ("mailjet", mailjet("spam", source="JMRPP"), ["complained"]),
    ("mailjet", mailjet("unsub", mj_list_id=1), ["unsubscribed"]),
    ("mailjet", mailjet("sent", email="api@mailjet.com"), []),
    ("mailjet", {"Sender": "a@b.example", "Recipient": "c@d.example", "Headers": {}, "Parts": []}, []),
    *(
        ("brevo", brevo(event), [ours])
        for event, ours in {
            "request": "queued",
            "sent": "queued",
            "delivered": "delivered",
            "deferred": "deferred",
            "soft_bounce": "bounced",
            "hard_bounce": "bounced",
            "invalid_email": "bounced",
            "blocked": "rejected",
            "error": "failed",
            "opened": "opened",
            "unique_opened": "opened",
            "proxy_open": "opened",
            "unique_proxy_open": "opened",
            "click": "clicked",
            "spam": "complained",
            "complaint": "complained",
            "unsubscribed": "unsubscribed",
            "unsubscribe": "unsubscribed",
            "reply": "replied",
        }.items()
    ),
    ("brevo", [brevo("request"), brevo("delivered")], ["delivered", "queued"]),
    ("brevo", {"event": "list_addition", "email": ["jane@example.com"], "list_id": [1], "ts": SECONDS}, []),
    (
        "brevo",
        {"id": 1, "to": "33600000000", "sms_count": 1, "messageId": "2", "msg_status": "delivered", "type": "transactional"},
        [],
    ),
    ("brevo", {"event": "contact_updated", "email": "jane@example.com", "id": 1, "ts": SECONDS, "date": TIME}, []),
    ("brevo", {"items": [{"Uuid": ["x"], "MessageId": "<y@z>", "From": {"Address": "a@b.example"}}]}, []),
]

# custom fields and tags, as each provider carries them
FIELDS = {"campaign_id": "c", "mailbox_id": "b", "domain_id": "d", "sequence_id": "s", "step": "2", "variant": "B"}
WITHOUT_CAMPAIGN = {name: value for name, value in FIELDS.items() if name != "campaign_id"}
PAIRS = "|".join(f"{name}: {value}" for name, value in FIELDS.items())
# an event of Brevo's campaigns: no message id
MARKETING = {"event": "opened", "email": "jane@example.com", "camp_id": "c", "campaign name": "C", "ts_event": SECONDS}
EMPTY_TAGS: tuple[dict[str, Any], ...] = ({"tags": []}, {"tags": None, "tag": ""}, {"tag": "[]"})
TAG_LISTS = {name: [value] for name, value in FIELDS.items()}
LABELED: list[tuple[str, Any, list[str] | None]] = [
    ("sendgrid", sendgrid("open", category=["cold", "cold", " q4 ", ""], **FIELDS), ["cold", "q4"]),
    ("sendgrid", sendgrid("open", category="cold", unique_args=FIELDS | {"step": 2}), ["cold"]),
    ("sendgrid", sendgrid("open", custom_args=FIELDS), None),
    ("ses", ses("Open", {}) | {"mail": ses("Open", {})["mail"] | {"tags": TAG_LISTS | {"tags": ["cold", "q4"]}}}, ["cold", "q4"]),
    ("postmark", postmark("Open", Metadata=FIELDS, Tag="cold"), ["cold"]),
    ("postmark", postmark("Open", Metadata=FIELDS | {"tags": "q4"}, Tag=""), ["q4"]),
    ("mailgun", mailgun("opened", tags=["cold", "q4"], **{"user-variables": FIELDS}), ["cold", "q4"]),
    ("mailgun", FORM | FIELDS | {"tag": "cold"}, ["cold"]),
    ("resend", resend("email.opened", tags=FIELDS | {"tags": "cold"}), ["cold"]),
    (
        "resend",
        resend("email.opened", tags=[{"name": name, "value": value} for name, value in (FIELDS | {"tags": "cold"}).items()]),
        ["cold"],
    ),
    ("resend", resend("email.opened", tags=[*({"name": name, "value": value} for name, value in FIELDS.items()), {}, "x"]), None),
    (
        "sparkpost",
        [sparkpost("open", "track_event", rcpt_meta=FIELDS, campaign_id="other", rcpt_tags=["cold", "q4"])],
        ["cold", "q4"],
    ),
    ("sparkpost", [sparkpost("open", "track_event", rcpt_meta=WITHOUT_CAMPAIGN, campaign_id="c")], None),
    ("mailjet", mailjet("open", Payload=json.dumps(FIELDS | {"tags": ["cold"]}), customcampaign="other"), ["cold"]),
    ("mailjet", mailjet("open", CustomID=json.dumps(WITHOUT_CAMPAIGN), customcampaign="c"), None),
    (
        "brevo",
        brevo("opened", tags=["cold", "q4"], tag='["cold","q4"]', **{"X-Mailin-custom": json.dumps(FIELDS)}),
        ["cold", "q4"],
    ),
    ("brevo", brevo("opened", tag='["cold","q4"]', **{"X-Mailin-custom": PAIRS}), ["cold", "q4"]),
    ("brevo", MARKETING | {"event": "click", "URL": "https://x.example/", "tag": "cold", "X-Mailin-custom": PAIRS}, ["cold"]),
    ("brevo", MARKETING | {"tag": "cold", "X-Mailin-custom": json.dumps(WITHOUT_CAMPAIGN)}, ["cold"]),
    # what is there and empty hides nothing
    ("sendgrid", sendgrid("open", category=[], unique_args={}, custom_args=FIELDS | {"tags": ["cold"]}), ["cold"]),
    ("mailgun", mailgun("opened", tags=[], **{"user-variables": FIELDS | {"tags": ["cold"]}}), ["cold"]),
    ("mailgun", FORM | FIELDS | {"tag": "", "tags": ["cold"]}, ["cold"]),
    ("sparkpost", [sparkpost("open", "track_event", rcpt_tags=[], rcpt_meta=FIELDS | {"tags": ["cold"]})], ["cold"]),
    ("sparkpost", [sparkpost("open", "track_event", rcpt_tags=None, rcpt_meta={}, metadata=FIELDS | {"tags": "cold"})], ["cold"]),
    ("mailjet", mailjet("open", Payload="{}", CustomID=json.dumps(FIELDS | {"tags": ["cold"]})), ["cold"]),
    # cut in the middle of a pair of surrogates
    ("mailjet", mailjet("open", Payload=json.dumps(FIELDS | {"tags": ["cold"], "name": "x\ud83d"})), ["cold"]),
    *(
        ("brevo", brevo("opened") | empty | {"X-Mailin-custom": json.dumps(FIELDS | {"tags": ["cold"]})}, ["cold"])
        for empty in EMPTY_TAGS
    ),
    ("brevo", MARKETING | {"X-Mailin-custom": json.dumps(FIELDS | {"campaign_id": ""})}, None),
]

MODULES: dict[str, ModuleType] = {
    "mailersend": mailersend_cases,
    "mailtrap": mailtrap_cases,
    "mandrill": mandrill_cases,
    "postal": postal_cases,
}
CASES += [(provider, body, types) for provider, module in MODULES.items() for body, types in module.EVENTS]
BOUNCES: list[tuple[str, Any, str]] = [
    ("resend", resend("email.bounced", bounce={"message": "x", "type": "Permanent", "subType": "General"}), "invalid_recipient"),
    ("resend", resend("email.bounced", bounce={"message": "x", "type": "Transient", "subType": "MailboxFull"}), "mailbox_full"),
    ("resend", resend("email.bounced", bounce={"message": "x", "type": "Transient", "subType": "General"}), "undetermined"),
    (
        "resend",
        resend(
            "email.bounced",
            bounce={"message": "x", "type": "Permanent", "subType": "General", "diagnosticCode": ["smtp; 552 mailbox full"]},
        ),
        "mailbox_full",
    ),
    ("resend", resend("email.bounced", bounce={"message": "The provider sent a hard bounce message."}), "invalid_recipient"),
    *(
        ("sparkpost", [sparkpost("bounce", bounce_class=bounce_class, raw_reason="[internal]")], reason)
        for bounce_class, reason in {
            "1": "undetermined",
            "10": "invalid_recipient",
            "20": "undetermined",
            "21": "server_unavailable",
            "22": "mailbox_full",
            "23": "message_too_large",
            "24": "timed_out",
            "30": "invalid_recipient",
            "40": "undetermined",
            "50": "blocked",
            "51": "blocked",
            "52": "content_rejected",
            "53": "content_rejected",
            "54": "blocked",
            "70": "server_unavailable",
        }.items()
    ),
    # the receiving server's own words come first
    ("sparkpost", [sparkpost("bounce", bounce_class="10", raw_reason="552 5.2.2 mailbox full")], "mailbox_full"),
    *(
        ("mailjet", mailjet("bounce", hard_bounce=is_hard, error_related_to=part, error=error), reason)
        for is_hard, part, error, reason in (
            (True, "recipient", "user unknown", "invalid_recipient"),
            (True, "recipient", "mailbox inactive", "mailbox_disabled"),
            (False, "recipient", "quota exceeded", "mailbox_full"),
            (True, "domain", "invalid domain", "invalid_domain"),
            (True, "domain", "no mail host", "invalid_domain"),
            (False, "domain", "relay/access denied", "blocked"),
            (True, "spam", "sender blocked", "blocked"),
            (False, "spam", "content blocked", "content_rejected"),
            (False, "spam", "policy issue", "blocked"),
            (False, "system", "system issue", "server_unavailable"),
            (False, "system", "connection issue", "server_unavailable"),
            (False, "system", "protocol issue", "server_unavailable"),
            (True, "domain", "typofix", "invalid_domain"),
            (True, "recipient", "", "invalid_recipient"),
            (1, "recipient", "", "invalid_recipient"),
            (0, "recipient", "", "undetermined"),
        )
    ),
    ("brevo", brevo("hard_bounce"), "invalid_recipient"),
    ("brevo", brevo("invalid_email"), "invalid_recipient"),
    ("brevo", brevo("soft_bounce"), "undetermined"),
    ("brevo", brevo("soft_bounce", reason="552 5.2.2 mailbox is full"), "mailbox_full"),
]
BOUNCES += [(provider, body, reason) for provider, module in MODULES.items() for body, reason in module.BOUNCES]

MALFORMED: list[Any] = [
    *(body for module in MODULES.values() for body in module.MALFORMED),
    *([], {}, [1, "x", None, [], {}], {"event": None}, {"event": {}, "timestamp": {}, "email": []}),
    {"event": "open", "timestamp": "tomorrow", "email": 7, "sg_message_id": ["x"], "sg_machine_open": "perhaps"},
    {"event": "open", "timestamp": 9e30, "email": "a@b@c", "sg_message_id": "", "unique_args": "x"},
    {"eventType": "Bounce", "bounce": "x", "mail": "y"},
    {"eventType": "Bounce", "bounce": {"bouncedRecipients": "x", "timestamp": "99-99"}, "mail": {"destination": "x"}},
    {"eventType": "Open", "mail": {"destination": {"a": 1}}, "open": None},
    {"eventType": 5, "notificationType": [], "mail": []},
    {"Type": "Notification", "Message": "{", "Timestamp": "x"},
    {"Type": "Notification", "Message": "[1]", "Timestamp": "x"},
    {"RecordType": "Bounce", "Type": {}, "Details": [], "BouncedAt": "x", "Email": {}, "Metadata": "x"},
    {"RecordType": "SubscriptionChange", "SuppressSending": "x", "MessageID": None},
    {"event-data": {"event": "failed", "delivery-status": "x", "message": 1, "timestamp": "x", "user-variables": []}},
    {"event-data": {"event": "failed", "delivery-status": {"code": "99999999999", "message": "a" * 10_000}}},
    {"event-data": "x"},
    {"items": "x"},
    {"type": "email.bounced", "created_at": "yesterday", "data": {"to": {"a": 1}, "bounce": "x", "tags": [], "email_id": {}}},
    {"type": "email.clicked", "created_at": 5, "data": {"to": [[["x"]]], "click": [], "email_id": ["x"]}},
    {"type": ["email.sent"], "created_at": TIME, "data": "x"},
    {"msys": "x"},
    {"msys": {"message_event": "x"}},
    {"msys": {"message_event": [{"type": {}}]}},
    {"msys": {"message_event": {"type": "bounce", "timestamp": "x", "error_code": "9" * 30, "rcpt_meta": "x", "rcpt_tags": {}}}},
    {"msys": {"track_event": {"type": "open", "is_prefetched": "perhaps", "timestamp": 9e30, "transmission_id": ["x"]}}},
    {"event": "bounce", "time": "x", "MessageID": 0, "email": [], "Payload": "{", "CustomID": "[[[", "hard_bounce": "x"},
    {"event": "open", "time": 9e30, "MessageID": 1e300, "Payload": "7", "CustomID": {"a": 1}},
    {"event": "request", "email": {}, "message-id": "<>", "ts_epoch": "9" * 40, "X-Mailin-custom": ":|:::|", "tag": "[[["},
    {"event": "opened", "email": "a@b.example", "message-id": "m", "ts_epoch": -1, "ts_event": "x", "tags": {"a": []}},
]
WITH_ONE_ID = ("sendgrid", "postmark", "mailgun", "resend", "sparkpost", "mailjet", "brevo", *MODULES)


def load_documented_events(settings: Settings) -> None:
    """Loads each body into a workspace of its own."""
    with connect(settings, "mailmart_owner") as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into raw.webhook_payloads (provider, workspace_id, payload) values (%s, %s, %s)",
            [(provider, f"case-{number}", Json(body)) for number, (provider, body, _) in enumerate(CASES)]
            + [(provider, f"bounce-{number}", Json(body)) for number, (provider, body, _) in enumerate(BOUNCES)]
            + [(provider, f"labeled-{number}", Json(body)) for number, (provider, body, _) in enumerate(LABELED)]
            + [
                (provider, f"malformed-{number}", Json(body))
                for provider in WEBHOOK_PROVIDERS
                for number, body in enumerate(MALFORMED)
            ]
            # each under the name of each other provider
            + [
                (other, f"misnamed-{number}", Json(body))
                for number, (provider, body, _) in enumerate(CASES)
                for other in WEBHOOK_PROVIDERS
                if other != provider
            ],
        )
