"""Verifies webhooks of the providers, and checks the secrets that operators enter for them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from api.errors import SecretError, SignatureError
from api.intake.signatures import credentials, hmac_of_body, mailgun, mandrill, svix
from api.intake.signatures.request import SignedRequest

MAX_SECRET_CHARACTERS = 4096
# what verifies public keys and certificates takes a third of the start of an intake, and few installations need it
IMPORTED_LATER = {
    "sendgrid": ("api.intake.signatures.sendgrid",),
    "ses": ("api.intake.signatures.sns", "api.intake.signatures.sns_certificates"),
    "postal": ("api.intake.signatures.postal",),
}


@dataclass(frozen=True)
class Scheme:
    """How a provider proves that a webhook is its own.

    Attributes:
        verify: raises SignatureError; the secrets are checked ones.
        check: raises ValueError for a secret that does not look like one of this provider.
        looks_like: what the secret is.
        found_at: where in the provider's settings it is, or is entered.
    """

    verify: Callable[[Sequence[str], SignedRequest], None]
    check: Callable[[str], object]
    looks_like: str
    found_at: str


def _verify_sendgrid(secrets: Sequence[str], request: SignedRequest) -> None:
    from api.intake.signatures import sendgrid

    sendgrid.verify(secrets, request)


def _check_sendgrid(secret: str) -> object:
    from api.intake.signatures import sendgrid

    return sendgrid.read_key(secret)


def _verify_ses(secrets: Sequence[str], request: SignedRequest) -> None:
    from api.intake.signatures import sns
    from api.intake.signatures.sns_certificates import cached_certificate

    sns.verify(secrets, request, cached_certificate)


def _check_ses(secret: str) -> None:
    from api.intake.signatures import sns

    sns.check_topic(secret)


def _verify_postal(secrets: Sequence[str], request: SignedRequest) -> None:
    from api.intake.signatures import postal

    postal.verify(secrets, request)


def _check_postal(secret: str) -> object:
    from api.intake.signatures import postal

    return postal.read_key(secret)


SCHEMES: Mapping[str, Scheme] = {
    "sendgrid": Scheme(
        _verify_sendgrid,
        _check_sendgrid,
        "the verification key, a public key in base64 that begins with MFkw",
        "Settings, Mail Settings, Event Webhooks, Signature Verification",
    ),
    "ses": Scheme(
        _verify_ses,
        _check_ses,
        "the topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:mail-events",
        "Amazon SNS, Topics",
    ),
    "postmark": Scheme(
        credentials.verify_basic,
        credentials.check_basic,
        "user:password, which you choose",
        "the webhook's settings, Basic auth credentials",
    ),
    "mailgun": Scheme(
        mailgun.verify,
        hmac_of_body.check_secret,
        "the HTTP webhook signing key",
        "API security (or Sending, Webhooks), HTTP webhook signing key",
    ),
    "resend": Scheme(
        svix.verify,
        svix.read_key,
        "the signing secret, which begins with whsec_",
        "Webhooks, the webhook's page, Signing Secret",
    ),
    "sparkpost": Scheme(
        credentials.verify_sparkpost,
        credentials.check_token,
        "user:password, which you choose, or a token",
        "the webhook's settings, Authentication",
    ),
    "mailjet": Scheme(
        credentials.verify_basic_or_bearer,
        credentials.check_basic,
        "user:password, which you choose",
        "the endpoint's URL under Event notifications: https://user:password@…",
    ),
    "brevo": Scheme(
        credentials.verify_basic_or_bearer,
        credentials.check_token,
        "user:password, which you choose, or a token",
        "the webhook's settings: the URL as https://user:password@…, or the authentication method Token",
    ),
    "mailersend": Scheme(
        hmac_of_body.verify_mailersend,
        hmac_of_body.check_secret,
        "the signing secret",
        "Domains, the domain's page, Webhooks, Signing secret",
    ),
    "mailtrap": Scheme(
        hmac_of_body.verify_mailtrap,
        hmac_of_body.check_secret,
        "the signing secret, 32 hexadecimal digits",
        "Settings, Webhooks, the webhook's page",
    ),
    "mandrill": Scheme(
        mandrill.verify,
        hmac_of_body.check_secret,
        "the webhook's key",
        "Settings, Webhooks, the column Key",
    ),
    "postal": Scheme(
        _verify_postal,
        _check_postal,
        "the installation's public key: its JSON Web Key Set, PEM, base64 or the DKIM record v=DKIM1; …; p=…",
        "/.well-known/jwks.json of the installation, or the command `postal default-dkim-record`",
    ),
}


def prepare(provider: str) -> None:
    """Imports what `verify` needs for a provider: in a thread, so that the first webhook does not keep others waiting."""
    for name in IMPORTED_LATER.get(provider, ()):
        importlib.import_module(name)


def verify(provider: str, secrets: Sequence[str], request: SignedRequest) -> None:
    """Verifies that a webhook is its provider's. Without secrets the source is unsigned, and everything is accepted.

    Any of several secrets is enough, so that an operator can exchange one for another.

    Raises:
        SignatureError: it is not signed with one of the secrets; 401.
        CertificateUnavailable: SNS's certificate cannot be downloaded now; 503, and SNS sends the message again.
    """
    if not secrets:
        return
    scheme = SCHEMES.get(provider)
    if scheme is None:
        raise SignatureError(f"webhooks of {provider} have no signature")
    usable = [secret for secret in secrets if _problem(scheme, secret) is None]
    if not usable:
        raise SignatureError("the source's secret cannot be used: enter it again")
    scheme.verify(usable, request)


def check_secret(provider: str, secret: str) -> None:
    """Checks a secret before it is stored.

    Raises:
        SecretError: it does not look like a secret of this provider. The message does not have the secret.
    """
    scheme = SCHEMES.get(provider)
    if scheme is None:
        raise SecretError(f"webhooks of {provider} have no signature", hint=f"Providers with one: {', '.join(SCHEMES)}.")
    problem = _problem(scheme, secret)
    if problem is not None:
        raise SecretError(
            f"the signing secret is not one of {provider}: {problem}",
            hint=f"It is {scheme.looks_like}. It is found at: {scheme.found_at}.",
        )


def _problem(scheme: Scheme, secret: str) -> str | None:
    if len(secret) > MAX_SECRET_CHARACTERS:
        return f"it has more than {MAX_SECRET_CHARACTERS} characters"
    if secret != secret.strip():
        return "it has spaces around it"
    try:
        scheme.check(secret)
    except ValueError as error:
        return str(error)
    return None
