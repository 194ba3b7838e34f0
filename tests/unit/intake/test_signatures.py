"""Each provider's signature against a case that somebody else published, and what is refused of it.

The values are facts, with their source beside them. Only Postal has no published case: those values are what the openssl
program signs with the key of Postal's own test installation.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography.x509 import Certificate, load_pem_x509_certificate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.errors import CertificateUnavailable, SecretError, SignatureError
from api.intake.signatures import sns
from api.intake.signatures.request import SignedRequest
from api.intake.signatures.sns_certificates import CertificateCache
from api.intake.signatures.verify import SCHEMES, check_secret, verify

VECTORS = Path(__file__).parent / "vectors"
CERTIFICATE = load_pem_x509_certificate((VECTORS / "sns.pem").read_bytes())


@dataclasses.dataclass(frozen=True)
class Case:
    """A published webhook: the provider, its secret and the request; `other` is another secret of the same form."""

    provider: str
    secret: str
    other: str
    request: SignedRequest


def request(
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    at: int = 1_700_000_000,
    url: str = "https://mail.example.com/intake/x/token",
    form: Mapping[str, str] | None = None,
) -> SignedRequest:
    return SignedRequest(url, headers or {}, body, form, datetime.fromtimestamp(at, UTC))


def mandrill() -> Case:
    # mandrill-rails, spec/fixtures/webhook_examples/click_with_signature.json: what Mandrill sent to requestb.in
    body = (VECTORS / "mandrill_click.form").read_bytes()
    signed = request(
        body,
        {"x-mandrill-signature": "7rUa4lNJitlb178MgGOcHO6T4Bg="},
        url="http://requestb.in/q9a918q9",
        form=dict(parse_qsl(body.decode())),
    )
    return Case("mandrill", "ntynTMaFpM_octE5R1DKAw", "ntynTMaFpM_octE5R1DKAx", signed)


POSTAL_BODY = b'{"event":"MessageSent","timestamp":1477945177.12994,"payload":{"status":"Sent"},"uuid":"0c5ae9a6"}'
POSTAL_SHA256 = (
    "CfdTVMxrn4zkz1K8RRFF+rDWcfJlbHuWqYZ3Eet5pi/IyZCiTcAfB8jqjIX+Mca6DTCTpPIriZEdxtMJP6kWbp4DFFMYPvZiZjsnx57zMY76e4dUAbSCY4IMUq6A"
    "SwjYI4rai8uAay7Pf/ZFOYjodk8e3uyvwepmJq/Lkget1tk="
)
POSTAL_SHA1 = (
    "adCOh4IGAlnBvKNfL6aPeHHS87/f/DKnaWKmlczuHzeTyfYgp48NDRIyOmpsoyg9aJK9udJpSYpcRw2UWOWyPQjwV/6Mf3IY2vUU4FWjg2urG4bmcuArmxFRLIJM"
    "uiHR76o5jIV8Lm9IwX6V1lwbiAsAHZ5DCTrrx1ONI3eCUg4="
)
POSTAL_KEY = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDWt+8XMJEoeOd5DW0ETcj7oklUiyd39h71ZsBxlZSOSydsb+ft26C/dfJmT/1W38oxhct1iuRN6ETNHNeLtwry"
    "sxhpmSiea/eU8Iv3s4WVgdTJyneTH++yuXwOyEmb1opc7igSRfbFLkeVcYm45rnzbjf/26UaFwmtZlxPI0LZrQIDAQAB"
)
OTHER_RSA_KEY = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDHS02HoFmda+XrThEbncLPHDXho0VqMubo2Lz4ARIvDnycps3zPaFV+xmq0iZlvB3QsUoj7kBUZ5CcDGOX"
    "bs3dFblzkoBRcD36fy7q7nSNZzHUnBD1yPSHPbjyv+pS55SqPo3kw1JqpwNDnkoaT57XuTd5n1hgJBw/HAX1oOBPIwIDAQAB"
)

CASES = [
    # sendgrid-python, test/unit/test_eventwebhook.py
    Case(
        "sendgrid",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA==",
        request(
            b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
            b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
            b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
            b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n',
            {
                "x-twilio-email-event-webhook-signature": (
                    "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
                ),
                "x-twilio-email-event-webhook-timestamp": "1600112502",
            },
        ),
    ),
    # mailgun-php, tests/Api/WebhookTest.php
    Case(
        "mailgun",
        "key-3ax6xnjp29jd6fds4gc373sgvjxteol0",
        "key-3ax6xnjp29jd6fds4gc373sgvjxteol1",
        request(
            b'{"signature": {"timestamp": "1403645220", "token": "5egbgr1vjgqxtrnp65xfznchgdccwh5d6i09vijqi3whgowmn6",'
            b' "signature": "9cfc5c41582e51246e73c88d34db3af0a3a2692a76fbab81492842f000256d33"}, "event-data": {}}',
            at=1_403_645_280,
        ),
    ),
    # docs.svix.com/receiving/verifying-payloads/how-manual
    Case(
        "resend",
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "whsec_plJ3nmyCDGBKInavdOK15jsm",
        request(
            b'{"event_type":"ping","data":{"success":true}}',
            {
                "svix-id": "msg_loFOjxBNrRLzqYUf",
                "svix-timestamp": "1731705121",
                "svix-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            },
            at=1_731_705_122,
        ),
    ),
    # standard-webhooks, libraries/python/tests/test_webhooks.py; its secret needs no prefix there
    Case(
        "resend",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx",
        request(
            b'{"test": 2432232314}',
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v2,g0hM9SsE+OTPJTGt v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= "
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            at=1_614_265_330,
        ),
    ),
    # symfony/mailer, Bridge/Resend/Tests/Webhook: a body that Resend sent
    Case(
        "resend",
        "whsec_ESwTAuuIe3yfH4DgdgI+ENsiNzPAGdp+",
        "whsec_ESwTAuuIe3yfH4DgdgI+ENsiNzPAGdp/",
        request(
            (VECTORS / "resend_sent.json").read_bytes().replace(b"\n", b"\r\n"),
            {
                "svix-id": "172c41ce-ba6d-4281-8a7a-541faa725748",
                "svix-timestamp": "1712569389",
                "svix-signature": "v1,4wjuRp64yC/2itgCQwl2xPePVwSPTdPbXLIY6IxGLTA=",
            },
            at=1_712_569_390,
        ),
    ),
    # symfony/mailer, Bridge/MailerSend/Tests/Webhook/MailerSendSignedRequestParserTest.php
    Case(
        "mailersend",
        "GvLY88Uyj70jQm3fUwYyWmAaiz98wWim",
        "GvLY88Uyj70jQm3fUwYyWmAaiz98wWin",
        request(
            (VECTORS / "mailersend_sent.json").read_bytes(),
            {"signature": "e60f87b019f0aaae29042b14762991765ebb0cd6f6d42884af9fccca4cbd16e7"},
        ),
    ),
    # the fixture that Mailtrap's six SDKs share: mailtrap-python, tests/unit/test_webhook_signature.py
    Case(
        "mailtrap",
        "8d9a3c0e7f5b2d4a6c1e9f8b3a7d5c2e",
        "8d9a3c0e7f5b2d4a6c1e9f8b3a7d5c2f",
        request(
            b'{"event":"delivery","sending_stream":"transactional","category":"welcome",'
            b'"message_id":"a8b1d8f6-1f8d-4a3c-9b2e-1a2b3c4d5e6f","email":"recipient@example.com",'
            b'"event_id":"f1e2d3c4-b5a6-7890-1234-567890abcdef","timestamp":1716070000}',
            {"mailtrap-signature": "6d262e2611cd09be1f948382b5c611d63b0e585c4c9c5e40139d6ac3876d5433"},
        ),
    ),
    mandrill(),
    # openssl dgst -sha256 -sign, with docker/ci-config/signing.key of postalserver/postal
    Case("postal", POSTAL_KEY, OTHER_RSA_KEY, request(POSTAL_BODY, {"x-postal-signature-256": POSTAL_SHA256})),
    Case("postal", POSTAL_KEY, OTHER_RSA_KEY, request(POSTAL_BODY, {"x-postal-signature": POSTAL_SHA1})),
    # RFC 7617, sections 2 and 2.1
    Case(
        "postmark",
        "Aladdin:open sesame",
        "Aladdin:close sesame",
        request(b"{}", {"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}),
    ),
    Case("mailjet", "test:123£", "test:124£", request(b"[]", {"authorization": "basic dGVzdDoxMjPCow=="})),
    # RFC 6750, section 2.1
    Case("brevo", "mF_9.B5f-4.1JqM", "mF_9.B5f-4.1JqN", request(b"{}", {"authorization": "Bearer mF_9.B5f-4.1JqM"})),
    Case("sparkpost", "mF_9.B5f-4.1JqM", "mF_9.B5f-4.1JqN", request(b"[]", {"authorization": "Bearer mF_9.B5f-4.1JqM"})),
    Case(
        "sparkpost", "5ebe2294ecd0e0f", "5ebe2294ecd0e0e", request(b"[]", {"x-messagesystems-webhook-token": "5ebe2294ecd0e0f"})
    ),
]
IDS = [f"{case.provider}{number}" for number, case in enumerate(CASES)]
CREDENTIALS = ("postmark", "mailjet", "brevo", "sparkpost")


def refused(provider: str, secrets: list[str], signed: SignedRequest) -> str:
    with pytest.raises(SignatureError) as caught:
        verify(provider, secrets, signed)
    return caught.value.reason


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_published_webhook_is_accepted(case: Case) -> None:
    check_secret(case.provider, case.secret)
    check_secret(case.provider, case.other)
    verify(case.provider, [case.secret], case.request)
    # while one secret is exchanged for another
    verify(case.provider, [case.other, case.secret], case.request)
    verify(case.provider, [case.secret, case.other], case.request)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_another_secret_is_refused(case: Case) -> None:
    reason = refused(case.provider, [case.other], case.request)
    assert case.secret not in reason
    assert case.other not in reason


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_webhook_without_signature_is_refused(case: Case) -> None:
    bare = dataclasses.replace(case.request, headers={})
    if case.provider == "mailgun":
        bare = dataclasses.replace(bare, body=b'{"event-data": {}}')
    assert refused(case.provider, [case.secret], bare).startswith(("no header", "the body has no"))
    verify(case.provider, [], bare)


@pytest.mark.parametrize("case", [case for case in CASES if case.provider not in (*CREDENTIALS, "mailgun")])
def test_another_body_is_refused(case: Case) -> None:
    form = None if case.request.form is None else {name: value + " " for name, value in case.request.form.items()}
    refused(case.provider, [case.secret], dataclasses.replace(case.request, body=case.request.body + b" ", form=form))


def test_every_provider_has_a_case() -> None:
    assert {case.provider for case in CASES} | {"ses"} == set(SCHEMES)


# --- ages


@pytest.mark.parametrize(
    ("provider", "age", "is_accepted"),
    [
        ("resend", timedelta(minutes=4, seconds=59), True),
        ("resend", timedelta(minutes=5, seconds=2), False),
        ("resend", -timedelta(minutes=4, seconds=59), True),
        ("resend", -timedelta(minutes=5, seconds=2), False),
        ("mailgun", timedelta(hours=23, minutes=58), True),
        ("mailgun", timedelta(hours=24, minutes=1), False),
        # both say nothing of it, and a repeated event changes nothing
        ("sendgrid", timedelta(days=3650), True),
        ("mailtrap", timedelta(days=3650), True),
    ],
)
def test_old_webhooks_are_refused(provider: str, age: timedelta, is_accepted: bool) -> None:
    case = next(case for case in CASES if case.provider == provider)
    late = dataclasses.replace(case.request, received_at=case.request.received_at + age)
    if is_accepted:
        verify(provider, [case.secret], late)
    else:
        assert "minutes" in refused(provider, [case.secret], late)


# --- what providers do besides


def test_mandrill_signs_its_test_before_there_is_a_key() -> None:
    # symfony/mailer, Bridge/Mailchimp/Tests/Webhook/MailchimpRequestParserTest.php
    signed = request(
        headers={"x-mandrill-signature": "QANhYzyeonX51wyzKImgnLZ27CE="}, url="http://localhost/", form={"mandrill_events": "[]"}
    )
    verify("mandrill", ["key-0p6mqbf74lb20gzq9f4dhpn9rg3zyk26"], signed)
    refused("mandrill", ["key-0p6mqbf74lb20gzq9f4dhpn9rg3zyk26"], dataclasses.replace(signed, form={"mandrill_events": "[{}]"}))


def test_mandrill_names_the_url_without_its_token() -> None:
    case = mandrill()
    moved = dataclasses.replace(case.request, url="https://mail.example.com/intake/mandrill/wh_secret")
    reason = refused("mandrill", [case.secret], moved)
    assert "https://mail.example.com/intake/mandrill/…" in reason
    assert "wh_secret" not in reason


def test_mailersend_signs_its_test_with_a_public_secret() -> None:
    # developers.mailersend.com, Webhooks; the body is that of hookdeck/webhook-skills, mailersend-webhooks
    body = b'{"type":"webhook.test","message":"This is a ping test message","created_at":"2026-03-27T07:24:20.577080Z"}'
    secret = "GvLY88Uyj70jQm3fUwYyWmAaiz98wWim"
    verify("mailersend", [secret], request(body, {"signature": mailersend_test_signature(body)}))
    # the public secret is good for nothing else
    event = body.replace(b"webhook.test", b"activity.sent")
    refused("mailersend", [secret], request(event, {"signature": mailersend_test_signature(event)}))


def mailersend_test_signature(body: bytes) -> str:
    return hmac.new(b"test_Am3L1GuOIc4blLUuHqAPxxwkZaJyEk8G", body, hashlib.sha256).hexdigest()


def test_mailgun_signs_forms_and_subaccounts_too() -> None:
    secret = "key-3ax6xnjp29jd6fds4gc373sgvjxteol0"
    fields = {
        "timestamp": "1403645220",
        "token": "5egbgr1vjgqxtrnp65xfznchgdccwh5d6i09vijqi3whgowmn6",
        "signature": "9cfc5c41582e51246e73c88d34db3af0a3a2692a76fbab81492842f000256d33",
    }
    at = 1_403_645_280
    verify("mailgun", [secret], request(b"-", form={"event": "opened", **fields}, at=at))
    own = {**fields, "signature": "0" * 64}
    verify("mailgun", [secret], request(json.dumps({"signature": own, "parent-signature": fields}).encode(), at=at))
    # a number, and a subject with half of a pair of surrogates, which is not JSON for every parser
    body = json.dumps({"signature": {**fields, "timestamp": 1403645220}, "event-data": {"subject": "\ud83d"}}).encode()
    verify("mailgun", [secret], request(body, at=at))
    for broken in (b"", b"[]", b"{", b'{"signature": 1}', b'{"signature": {"token": {}}}', b"[" * 200_000):
        refused("mailgun", [secret], request(broken, at=at))


def test_postal_does_not_fall_back_to_the_old_signature() -> None:
    headers = {"x-postal-signature-256": POSTAL_SHA1, "x-postal-signature": POSTAL_SHA1}
    assert "X-Postal-Signature-256" in refused("postal", [POSTAL_KEY], request(POSTAL_BODY, headers))


@pytest.mark.parametrize(
    "key",
    [
        f"-----BEGIN PUBLIC KEY-----\n{POSTAL_KEY[:64]}\n{POSTAL_KEY[64:]}\n-----END PUBLIC KEY-----",
        f"v=DKIM1; t=s; h=sha256; p={POSTAL_KEY};",
        f"p={POSTAL_KEY}",
        # what /.well-known/jwks.json has
        (
            '{"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "e": "AQAB", "n": "1rfvFzCRKHjneQ1tBE3I-6JJVIsnd_Ye9WbAcZWUj'
            "ksnbG_n7dugv3XyZk_9Vt_KMYXLdYrkTehEzRzXi7cK8rMYaZkonmv3lPCL97OFlYHUycp3kx_vsrl8DshJm9aKXO4oEkX2xS5HlXGJuOa58243_9ulGhcJrWZcTyNC2a0"
            '"}]}'
        ),
    ],
)
def test_public_keys_are_read_as_they_are_copied(key: str) -> None:
    check_secret("postal", key)
    verify("postal", [key], request(POSTAL_BODY, {"x-postal-signature-256": POSTAL_SHA256}))


# --- SNS


def certificate_of(_url: str) -> Certificate:
    return CERTIFICATE


# aws-sdk-ruby, gems/aws-sdk-sns/spec/message_verifier_spec.rb: what SNS sent, version 1 (SHA-1) and 2 (SHA-256)
SNS_MESSAGES = json.loads((VECTORS / "sns.json").read_bytes())
SNS_AT = 1_659_043_450


def refused_by_sns(message: Mapping[str, object], at: int = SNS_AT, topic: object = None) -> str:
    secrets = [str(topic or message["TopicArn"])]
    with pytest.raises(SignatureError) as caught:
        sns.verify(secrets, request(json.dumps(message).encode(), at=at), certificate_of)
    return caught.value.reason


@pytest.mark.parametrize("message", SNS_MESSAGES, ids=["version1", "version2"])
def test_sns_notifications(message: dict[str, str]) -> None:
    check_secret("ses", message["TopicArn"])
    sns.verify([message["TopicArn"]], request(json.dumps(message).encode(), at=SNS_AT), certificate_of)
    # as Lambda spells it
    renamed = {("SigningCertUrl" if name == "SigningCertURL" else name): value for name, value in message.items()}
    sns.verify([message["TopicArn"]], request(json.dumps(renamed).encode(), at=SNS_AT), certificate_of)

    for name in ("Message", "MessageId", "Timestamp"):
        assert "does not match" in refused_by_sns({**message, name: message[name] + "x"})
        assert refused_by_sns({key: value for key, value in message.items() if key != name}) == f"no field {name}"
    assert "does not match" in refused_by_sns({**message, "Subject": "another"})
    assert "does not match" in refused_by_sns({**message, "SignatureVersion": "2" if message["SignatureVersion"] == "1" else "1"})
    assert "neither 1 nor 2" in refused_by_sns({**message, "SignatureVersion": "3"})
    assert "not base64" in refused_by_sns({**message, "Signature": "!"})
    assert "SNS does not sign messages of this Type" in refused_by_sns({**message, "Type": "Other"})
    assert "topic" in refused_by_sns(message, topic=message["TopicArn"] + "x")
    # the certificate was valid from September 2021 to August 2022
    assert "not valid at this time" in refused_by_sns(message, at=SNS_AT + 86_400 * 60)
    assert "not valid at this time" in refused_by_sns(message, at=SNS_AT - 86_400 * 400)


def test_sns_without_a_signature() -> None:
    topic = SNS_MESSAGES[0]["TopicArn"]
    raw = request(b'{"eventType": "Delivery", "mail": {}}', {"x-amz-sns-rawdelivery": "true"})
    assert "raw message delivery" in refused("ses", [topic], raw)
    assert "raw message delivery" in refused("ses", [topic], request(b'{"eventType": "Delivery", "mail": {}}'))
    assert "not JSON" in refused("ses", [topic], request(b"eventType=Delivery"))


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com/a.key",
        "https://sns.us-east-2.amazonaws.com/?Action=x&.pem",
        "https://sns.us-east-2.amazonaws.com/a.pem#",
        "https://sns.us-east-2.amazonaws.com/a?x=.pem",
        "https://sns.us-east-2.amazonaws.com:8443/a.pem",
        "https://sns.us-east-2.amazonaws.com:x/a.pem",
        "https://user@sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com.evil.example/a.pem",
        "https://sns.us-east-2.amazonaws.com.cn.evil.example/a.pem",
        "https://sns.evil.example/a.pem",
        "https://evil.example/sns.us-east-2.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com\\@evil.example/a.pem",
        "https://sns.us-east-2.amazonaws.com\n.evil.example/a.pem",
        "https://snsxus-east-2.amazonaws.com/a.pem",
        "https://s3.us-east-2.amazonaws.com/a.pem",
        "https://sns.us.east.amazonaws.com/a.pem",
        "https://[::1]/a.pem",
        "https://[/a.pem",
        "//sns.us-east-2.amazonaws.com/a.pem",
        "",
        "é",
    ],
)
def test_a_certificate_from_elsewhere_is_not_downloaded(url: str) -> None:
    message = {**SNS_MESSAGES[0], "SigningCertURL": url}

    def download(_url: str) -> Certificate:
        raise AssertionError

    with pytest.raises(SignatureError):
        sns.verify([message["TopicArn"]], request(json.dumps(message).encode(), at=SNS_AT), download)


@pytest.mark.parametrize(
    "host", ["sns.us-west-2.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn", "SNS.us-gov-east-1.amazonaws.com"]
)
def test_urls_of_sns(host: str) -> None:
    assert sns.is_sns_url(f"https://{host}/SimpleNotificationService-0.pem")
    assert sns.is_sns_url(f"https://{host}:443/?Action=ConfirmSubscription&Token=2")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_certificates_are_downloaded_once_a_day() -> None:
    urls: list[str] = []

    def download(url: str) -> bytes:
        urls.append(url)
        return (VECTORS / "sns.pem").read_bytes()

    clock = Clock()
    cache = CertificateCache(download, clock)
    assert cache.get("a") == cache.get("a") == cache.get("b") == CERTIFICATE
    assert urls == ["a", "b"]
    clock.now = 25 * 3600
    cache.get("a")
    assert urls == ["a", "b", "a"]


@pytest.mark.parametrize("content", [b"", b"<xml/>", b"-----BEGIN CERTIFICATE-----\nMI\n-----END CERTIFICATE-----", b"\xff" * 99])
def test_a_url_without_certificate_is_remembered_for_a_minute(content: bytes) -> None:
    urls: list[str] = []

    def download(url: str) -> bytes:
        urls.append(url)
        return content

    clock = Clock()
    cache = CertificateCache(download, clock)
    for _ in range(2):
        with pytest.raises(SignatureError):
            cache.get("a")
    assert urls == ["a"]
    clock.now = 61
    with pytest.raises(SignatureError):
        cache.get("a")
    assert urls == ["a", "a"]


def test_a_download_that_fails_is_tried_again() -> None:
    contents = [(VECTORS / "sns.pem").read_bytes(), None]

    def download(_url: str) -> bytes:
        content = contents.pop()
        if content is None:
            raise CertificateUnavailable("no network")
        return content

    cache = CertificateCache(download)
    with pytest.raises(CertificateUnavailable):
        cache.get("a")
    assert cache.get("a") == CERTIFICATE


# --- secrets


@pytest.mark.parametrize(
    ("provider", "secret"),
    [
        ("sendgrid", "SG.notakey"),
        ("sendgrid", POSTAL_KEY),
        ("sendgrid", "MFkw" * 2000),
        ("ses", "mail-events"),
        ("ses", "arn:aws:ses:eu-west-1:123456789012:identity/example.com"),
        ("postmark", "d1e2f3a4-0000-4000-8000-000000000000"),
        ("postmark", ":password"),
        ("mailjet", "a:b"),
        ("resend", "re_123456789"),
        ("resend", "whsec_"),
        ("resend", "whsec_short"),
        ("resend", "whsec_ü"),
        ("sparkpost", "short"),
        ("brevo", "line\nbreak-in-it"),
        ("mailersend", ""),
        ("mailtrap", "two words of it"),
        ("mandrill", " ntynTMaFpM_octE5R1DKAw"),
        ("mailgun", "schlüssel-key"),
        ("postal", "-----BEGIN PRIVATE KEY-----\nMIIC\n-----END PRIVATE KEY-----"),
        ("postal", '{"keys": []}'),
        ("postal", '{"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0"}]}'),
        ("postal", "[" * 100),
        ("native", "whatever-it-is"),
    ],
)
def test_a_wrong_secret_says_what_it_should_be(provider: str, secret: str) -> None:
    with pytest.raises(SecretError) as caught:
        check_secret(provider, secret)
    assert caught.value.hint.startswith(("It is", "Providers"))
    assert len(secret) < 8 or secret not in caught.value.message
    # a secret that was stored nevertheless accepts nothing
    refused(provider, [secret], request(b"{}", {"authorization": f"Basic {secret}"}))


# --- whatever a stranger sends

HEADERS = sorted({name for case in CASES for name in case.request.headers} | {"x-amz-sns-rawdelivery"})
TEXT = st.text(max_size=60) | st.sampled_from(["v1,", "v1,=", "Basic ", "Bearer ", "=", "0" * 5000, "9" * 30, "-1", "\udc80"])
SCALAR = st.none() | st.integers() | TEXT
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
SIGNATURE = st.dictionaries(st.sampled_from(["timestamp", "token", "signature"]), JSON)
SNS_BODY = st.fixed_dictionaries({}, optional={name: JSON | st.just(value) for name, value in SNS_MESSAGES[0].items()})
MAILGUN_BODY = st.fixed_dictionaries({}, optional={"signature": SIGNATURE, "parent-signature": JSON})
BODY = st.binary(max_size=60) | (SNS_BODY | MAILGUN_BODY | JSON).map(lambda value: json.dumps(value).encode())


@pytest.mark.slow
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=st.sampled_from(CASES), data=st.data())
def test_whatever_is_sent_raises_nothing_else(case: Case, data: st.DataObject) -> None:
    values = TEXT | st.sampled_from(list(case.request.headers.values()) or [""])
    headers = data.draw(st.dictionaries(st.sampled_from(HEADERS), values))
    form = data.draw(st.none() | st.dictionaries(TEXT, TEXT, max_size=3))
    signed = request(data.draw(BODY), headers, url=data.draw(TEXT), form=form, at=data.draw(st.integers(0, 2**31)))
    if case.provider in CREDENTIALS and set(headers.values()) & set(case.request.headers.values()):
        return
    reason = refused(case.provider, [case.secret], signed)
    assert reason
    assert "\n" not in reason


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(body=BODY)
def test_whatever_sns_sends_raises_nothing_else(body: bytes) -> None:
    with pytest.raises(SignatureError):
        sns.verify([SNS_MESSAGES[0]["TopicArn"]], request(body, at=SNS_AT + 10**8), certificate_of)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True)
@given(secret=TEXT | st.binary(max_size=40).map(lambda value: value.hex()), provider=st.sampled_from(sorted(SCHEMES)))
def test_whatever_is_entered_as_a_secret(secret: str, provider: str) -> None:
    try:
        check_secret(provider, secret)
    except SecretError:
        return
    refused(provider, [secret], request(b"{}"))
