"""What the environment says, read once at the start of a process."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from api.errors import SettingsError
from api.net.ssrf import Network, parse_networks

ENCRYPTIONS = ("none", "AES256", "aws:kms")
PROJECT_ROOT = Path(__file__).resolve().parent.parent
# the SDK's own: PostHog's cloud in the United States
POSTHOG_HOST = "https://us.i.posthog.com"


@dataclass(frozen=True)
class Settings:
    """Settings of one process.

    Attributes:
        database_url: MAILMART_DATABASE_URL, a libpq URL of any login that is a member of the roles mailmart_*; None: the
            embedded server's.
        redis_url: MAILMART_REDIS_URL; None: the embedded server's.
        home: MAILMART_HOME, the folder of the embedded servers and what belongs to this installation.
        host: MAILMART_HOST, the address that the API listens at.
        port: MAILMART_PORT.
        pool_size: MAILMART_POOL_SIZE, connections to PostgreSQL of one process of the API.
        pool_timeout_seconds: how long a request waits for one of them.
        query_timeout_seconds: MAILMART_QUERY_TIMEOUT_SECONDS, how long a request's statement may take.
        rate_limit_factor: MAILMART_RATE_LIMIT_FACTOR, by which every endpoint's limit is multiplied.
        response_cache_mb: MAILMART_RESPONSE_CACHE_MB, of answers that one process of the API keeps; 0 keeps none.
        jwt_secret: MAILMART_JWT_SECRET, of tokens signed with HS256. One of the three jwt_ keys can be set.
        jwt_public_key: MAILMART_JWT_PUBLIC_KEY, an RSA key in PEM form, or the path of its file, of tokens signed with RS256.
        jwt_jwks_url: MAILMART_JWT_JWKS_URL, where the RSA keys of tokens signed with RS256 are.
        jwt_issuer: MAILMART_JWT_ISSUER, which a token's iss has to be where it is set.
        jwt_audience: MAILMART_JWT_AUDIENCE, which has to be in a token's aud where it is set.
        cors_origins: MAILMART_CORS_ORIGINS, separated by commas: pages of these origins may call the API; none by default.
        metrics_port: MAILMART_METRICS_PORT, the port of 127.0.0.1 that Prometheus reads; 0 for none.
        export_folder: MAILMART_EXPORT_FOLDER, where exported files are kept; None: `exports` in the home folder.
        export_bucket: MAILMART_EXPORT_BUCKET, the S3 bucket where they are kept instead; the endpoint and the credentials are
            boto3's own variables (AWS_ENDPOINT_URL, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, …).
        export_prefix: MAILMART_EXPORT_PREFIX, before every key in the bucket.
        export_encryption: MAILMART_EXPORT_ENCRYPTION, AES256 or aws:kms; None leaves it to the bucket.
        public_address: MAILMART_PUBLIC_URL, the API's address as its users see it; see `public_url`.
        posthog_key: MAILMART_POSTHOG_KEY, the key of the PostHog project that gets operational events; None sends nothing.
        posthog_host: MAILMART_POSTHOG_HOST, the address of that PostHog.
        smtp_url: MAILMART_SMTP_URL, the server that reports are mailed by; None sends no mail.
        mail_from: MAILMART_MAIL_FROM, the sender of that mail, with or without a name.
        webhook_allowed_networks: MAILMART_WEBHOOK_ALLOWED_NETWORKS, separated by commas: private addresses and
            networks that webhooks may go to.
        target: MAILMART_TARGET, the warehouse that is served: `production`, or a developer's schema prefix.
        nightly_at: MAILMART_NIGHTLY_AT, the time of day, in UTC, at which the nightly run is due.
        project_root: the folder with dbt_project.yml.
    """

    database_url: str | None
    redis_url: str | None
    home: Path
    host: str = "127.0.0.1"
    port: int = 8080
    pool_size: int = 8
    pool_timeout_seconds: float = 3.0
    query_timeout_seconds: int = 10
    rate_limit_factor: int = 1
    response_cache_mb: int = 64
    jwt_secret: str | None = None
    jwt_public_key: str | None = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    cors_origins: tuple[str, ...] = ()
    metrics_port: int = 0
    export_folder: Path | None = None
    export_bucket: str | None = None
    export_prefix: str = ""
    export_encryption: str | None = None
    public_address: str | None = None
    posthog_key: str | None = None
    posthog_host: str = POSTHOG_HOST
    smtp_url: str | None = field(default=None, repr=False)
    mail_from: str | None = None
    webhook_allowed_networks: tuple[Network, ...] = ()
    target: str = "production"
    nightly_at: time = time(2)
    project_root: Path = PROJECT_ROOT

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Reads the settings.

        Raises:
            SettingsError: one of them cannot be used.
        """
        return cls(
            database_url=environ.get("MAILMART_DATABASE_URL") or None,
            redis_url=environ.get("MAILMART_REDIS_URL") or None,
            home=Path(environ.get("MAILMART_HOME") or PROJECT_ROOT / ".mailmart").absolute(),
            host=environ.get("MAILMART_HOST") or "127.0.0.1",
            port=_number(environ, "MAILMART_PORT", 8080, 0, 65535),
            pool_size=_number(environ, "MAILMART_POOL_SIZE", 8, 1, 1000),
            query_timeout_seconds=_number(environ, "MAILMART_QUERY_TIMEOUT_SECONDS", 10, 1, 3600),
            rate_limit_factor=_number(environ, "MAILMART_RATE_LIMIT_FACTOR", 1, 1, 1_000_000),
            response_cache_mb=_number(environ, "MAILMART_RESPONSE_CACHE_MB", 64, 0, 1_000_000),
            jwt_secret=environ.get("MAILMART_JWT_SECRET") or None,
            jwt_public_key=_text_or_file(environ, "MAILMART_JWT_PUBLIC_KEY"),
            jwt_jwks_url=_web_address(environ, "MAILMART_JWT_JWKS_URL", "a key that comes over http"),
            jwt_issuer=environ.get("MAILMART_JWT_ISSUER") or None,
            jwt_audience=environ.get("MAILMART_JWT_AUDIENCE") or None,
            cors_origins=_origins(environ, "MAILMART_CORS_ORIGINS"),
            metrics_port=_number(environ, "MAILMART_METRICS_PORT", 0, 0, 65535),
            posthog_key=environ.get("MAILMART_POSTHOG_KEY", "").strip() or None,
            posthog_host=_web_address(environ, "MAILMART_POSTHOG_HOST", "what is sent over http") or POSTHOG_HOST,
            target=environ.get("MAILMART_TARGET") or "production",
            nightly_at=_time_of_day(environ, "MAILMART_NIGHTLY_AT", "02:00"),
            **_exports(environ),
            **_reports(environ),
        )

    @property
    def is_production(self) -> bool:
        """Whether it is production that is served, whose exports and reports the database holds."""
        return self.target == "production"

    @property
    def public_url(self) -> str:
        """What links to the API begin with, without a slash at the end: never taken from a request."""
        if self.public_address is not None:
            return self.public_address
        # who listens at every address is found at this machine's own
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def _exports(environ: Mapping[str, str]) -> dict[str, Any]:
    bucket = environ.get("MAILMART_EXPORT_BUCKET") or None
    folder = environ.get("MAILMART_EXPORT_FOLDER") or None
    prefix = environ.get("MAILMART_EXPORT_PREFIX", "").strip("/")
    encryption = environ.get("MAILMART_EXPORT_ENCRYPTION") or "none"
    if bucket and folder:
        raise SettingsError(
            "MAILMART_EXPORT_FOLDER and MAILMART_EXPORT_BUCKET are both set", hint="Exports are kept in one of the two."
        )
    if bucket and not re.fullmatch(r"[A-Za-z0-9.:/_-]+", bucket):
        raise SettingsError(f"MAILMART_EXPORT_BUCKET is {bucket!r}", hint="Set it to the name of a bucket, without s3://.")
    if not bucket and (prefix or encryption != "none"):
        name = "MAILMART_EXPORT_PREFIX" if prefix else "MAILMART_EXPORT_ENCRYPTION"
        raise SettingsError(f"{name} is set, and no bucket", hint="It is about MAILMART_EXPORT_BUCKET; a folder has none.")
    if prefix and not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", prefix):
        raise SettingsError(
            f"MAILMART_EXPORT_PREFIX is {prefix!r}", hint="Set it to names with slashes between: mailmart/exports"
        )
    if encryption not in ENCRYPTIONS:
        raise SettingsError(f"MAILMART_EXPORT_ENCRYPTION is {encryption!r}", hint=f"There are {', '.join(ENCRYPTIONS)}.")
    return {
        "export_folder": Path(folder).absolute() if folder else None,
        "export_bucket": bucket,
        "export_prefix": prefix,
        "export_encryption": None if encryption == "none" else encryption,
        "public_address": _public_url(environ, "MAILMART_PUBLIC_URL"),
    }


def _reports(environ: Mapping[str, str]) -> dict[str, Any]:
    smtp_url, mail_from = environ.get("MAILMART_SMTP_URL") or None, environ.get("MAILMART_MAIL_FROM") or None
    if smtp_url and not mail_from:
        raise SettingsError("MAILMART_SMTP_URL is set, and no sender", hint="Set MAILMART_MAIL_FROM to an address of yours.")
    try:
        allowed = parse_networks(environ.get("MAILMART_WEBHOOK_ALLOWED_NETWORKS", "").split(","))
    except ValueError as error:
        raise SettingsError(
            f"MAILMART_WEBHOOK_ALLOWED_NETWORKS has what is no network: {error}", hint="Write it as 10.1.2.3,192.168.0.0/24."
        ) from error
    return {"smtp_url": smtp_url, "mail_from": mail_from, "webhook_allowed_networks": allowed}


def _public_url(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name) or None
    if text is None:
        return None
    found = urlsplit(text)
    is_address = re.fullmatch(r"https?://[^\s?#@]+", text) and found.hostname
    if not is_address:
        raise SettingsError(f"{name} is {text!r}", hint="Set it to what the API's addresses begin with: https://mail.example.com")
    return text.rstrip("/")


def _number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise SettingsError(f"{name} is {text!r}", hint=f"Set it to a whole number from {least} to {most}.")
    return int(text)


def _time_of_day(environ: Mapping[str, str], name: str, default: str) -> time:
    text = environ.get(name) or default
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise SettingsError(f"{name} is {text!r}", hint="Set it to a time of day in UTC, from 00:00 to 23:59: 02:00.")
    return time.fromisoformat(text)


def _text_or_file(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name) or None
    if text is None or text.lstrip().startswith("-----"):
        return text
    try:
        return Path(text).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{name} is no key, and no file that can be read: {error}", hint="Set it to a key in PEM form."
        ) from error


def _web_address(environ: Mapping[str, str], name: str, what: str) -> str | None:
    """`what` over http is anybody's."""
    text = environ.get(name) or None
    if text is None:
        return None
    found = urlsplit(text)
    if found.scheme not in ("https", "http") or not found.hostname:
        raise SettingsError(f"{name} is {text!r}", hint="Set it to an address: https://…")
    if found.scheme == "http" and found.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise SettingsError(
            f"{name} is not https", hint=f"{what[0].upper()}{what[1:]} is anybody's; http is for this machine alone."
        )
    return text


def _origins(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    given = tuple(text.strip() for text in environ.get(name, "").split(",") if text.strip())
    for origin in given:
        if not re.fullmatch(r"https?://[^/\s*?#@]+", origin):
            raise SettingsError(
                f"{name} has {origin!r}, which is no origin", hint="An origin is like https://dashboard.example.com"
            )
    return given
