"""What the environment says, read once at the start of a process."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from api.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent


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
        query_timeout_seconds: MAILMART_QUERY_TIMEOUT, how long a request's statement may take.
        rate_limit_factor: MAILMART_RATE_LIMIT_FACTOR, by which every endpoint's limit is multiplied.
        cache_megabytes: MAILMART_CACHE_MB, of answers that one process of the API keeps; 0 keeps none.
        jwt_secret: MAILMART_JWT_SECRET, of tokens signed with HS256. One of the three jwt_ keys can be set.
        jwt_public_key: MAILMART_JWT_PUBLIC_KEY, an RSA key in PEM form, or the path of its file, of tokens signed with RS256.
        jwt_jwks_url: MAILMART_JWT_JWKS_URL, where the RSA keys of tokens signed with RS256 are.
        jwt_issuer: MAILMART_JWT_ISSUER, which a token's iss has to be where it is set.
        jwt_audience: MAILMART_JWT_AUDIENCE, which has to be in a token's aud where it is set.
        cors_origins: MAILMART_CORS_ORIGINS, separated by commas: pages of these origins may call the API; none by default.
        metrics_port: MAILMART_METRICS_PORT, the port of 127.0.0.1 that Prometheus reads; 0 for none.
        target: MAILMART_TARGET, the warehouse that is served: `production`, or a developer's schema prefix.
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
    cache_megabytes: int = 64
    jwt_secret: str | None = None
    jwt_public_key: str | None = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    cors_origins: tuple[str, ...] = ()
    metrics_port: int = 0
    target: str = "production"
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
            query_timeout_seconds=_number(environ, "MAILMART_QUERY_TIMEOUT", 10, 1, 3600),
            rate_limit_factor=_number(environ, "MAILMART_RATE_LIMIT_FACTOR", 1, 1, 1_000_000),
            cache_megabytes=_number(environ, "MAILMART_CACHE_MB", 64, 0, 1_000_000),
            jwt_secret=environ.get("MAILMART_JWT_SECRET") or None,
            jwt_public_key=_text_or_file(environ, "MAILMART_JWT_PUBLIC_KEY"),
            jwt_jwks_url=_web_address(environ, "MAILMART_JWT_JWKS_URL"),
            jwt_issuer=environ.get("MAILMART_JWT_ISSUER") or None,
            jwt_audience=environ.get("MAILMART_JWT_AUDIENCE") or None,
            cors_origins=_origins(environ, "MAILMART_CORS_ORIGINS"),
            metrics_port=_number(environ, "MAILMART_METRICS_PORT", 0, 0, 65535),
            target=environ.get("MAILMART_TARGET") or "production",
        )


def _number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise SettingsError(f"{name} is {text!r}", hint=f"Set it to a whole number from {least} to {most}.")
    return int(text)


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


def _web_address(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name) or None
    if text is None:
        return None
    found = urlsplit(text)
    if found.scheme not in ("https", "http") or not found.hostname:
        raise SettingsError(f"{name} is {text!r}", hint="Set it to an address: https://…")
    if found.scheme == "http" and found.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise SettingsError(
            f"{name} is not https", hint="Keys that come over http are anybody's; only this machine may give them so."
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
