"""Verifies JSON Web Tokens of the platform's own sign-in against one configured key: a secret, a public key or a JWKS."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jwt
from cachetools import TLRUCache
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from api.auth.jwks import Jwks
from api.auth.principal import SCOPES, Principal
from api.auth.secrets import check_secret
from api.errors import SettingsError
from api.settings import Settings

LOG = logging.getLogger(__name__)
MIN_RSA_BITS = 2048
MAX_TOKEN_LENGTH = 8192
CACHE_TTL_SECONDS = 1.0
MAX_CACHED_TOKENS = 10_000


@dataclass(frozen=True)
class _VerifiedToken:
    principal: Principal
    expires_at: float


class JwtVerifier:
    """Verifies tokens. A verified token is cached for a second, but not beyond its expiry; a rejected one is not cached."""

    def __init__(self, settings: Settings) -> None:
        """
        Raises:
            SettingsError: more than one key is configured, or the key is invalid.
        """
        self._settings = settings
        self._key = _configured_key(settings)
        self._cache: TLRUCache[str, _VerifiedToken] = TLRUCache(MAX_CACHED_TOKENS, _time_to_use)
        self._lock = threading.Lock()

    @property
    def is_configured(self) -> bool:
        """Whether the operator has configured a key for tokens."""
        return self._key is not None

    def verify(self, token: str) -> Principal | None:
        """The principal of a token; None if it is invalid: expired, of another issuer, badly signed, without a workspace.

        The claim `scope` is a space-separated string or a list; without it, the token may read.
        """
        if self._key is None or len(token) > MAX_TOKEN_LENGTH:
            return None
        principal = self.find_cached(token)
        if principal is not None:
            return principal
        try:
            claims = self._claims(token, self._key)
            expires_at = _numeric_date(claims["exp"])
        # the token is user input: whatever it breaks in a library, it is invalid
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            LOG.info("JWT rejected: %s", error)
            return None
        principal = _principal(claims)
        if principal is not None:
            with self._lock:
                self._cache[token] = _VerifiedToken(principal, expires_at)
        return principal

    def find_cached(self, token: str) -> Principal | None:
        """The principal of a token that was verified within the last second; None if it has to be verified. Never waits."""
        with self._lock, suppress(KeyError):
            # not get(), which fails if the entry expires while it looks
            return self._cache[token].principal
        return None

    def _claims(self, token: str, key: _VerificationKey) -> dict[str, Any]:
        required = ["exp", *(["iss"] if self._settings.jwt_issuer else []), *(["aud"] if self._settings.jwt_audience else [])]
        claims: dict[str, Any] = jwt.decode(
            token,
            key.find(token),
            # fixed by our key, never by the token's own header
            algorithms=[key.algorithm],
            issuer=self._settings.jwt_issuer,
            audience=self._settings.jwt_audience,
            options={"require": required, "verify_aud": self._settings.jwt_audience is not None},
        )
        return claims


def _numeric_date(value: object) -> float:
    """Seconds since 1970 of a claim: a JSON number (RFC 7519). PyJWT accepts a text too.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a time is not a number")
    return float(value)


def _time_to_use(token: str, verified: _VerifiedToken, now: float) -> float:
    """When a cached token expires, by the cache's monotonic clock."""
    return min(now + CACHE_TTL_SECONDS, now + verified.expires_at - time.time())


def _principal(claims: dict[str, Any]) -> Principal | None:
    workspace_id = claims.get("workspace_id")
    if not isinstance(workspace_id, str) or not workspace_id or "\0" in workspace_id:
        return None
    scope = claims.get("scope", "read")
    scopes = scope.split() if isinstance(scope, str) else scope if isinstance(scope, list) else []
    return Principal(workspace_id, frozenset(known for known in SCOPES if known in scopes))


@dataclass(frozen=True)
class _VerificationKey:
    """The one allowed algorithm, and a function that finds the key for a token."""

    algorithm: str
    find: Callable[[str], Any]


def _configured_key(settings: Settings) -> _VerificationKey | None:
    kinds = [
        ("MAILMART_JWT_SECRET", settings.jwt_secret, _secret),
        ("MAILMART_JWT_PUBLIC_KEY", settings.jwt_public_key, _public_key),
        ("MAILMART_JWT_JWKS_URL", settings.jwt_jwks_url, _jwks),
    ]
    configured = [(name, value, make) for name, value, make in kinds if value]
    if len(configured) > 1:
        raise SettingsError(
            f"{' and '.join(name for name, _, _ in configured)} are set together",
            hint="Only one kind of key can verify tokens: set one of them.",
        )
    return next((make(value) for _, value, make in configured), None)


def _secret(secret: str) -> _VerificationKey:
    check_secret("MAILMART_JWT_SECRET", secret)
    return _VerificationKey("HS256", lambda token: secret)


def _jwks(url: str) -> _VerificationKey:
    jwks = Jwks(url)

    def find(token: str) -> RSAPublicKey:
        key = jwks.find(token).key
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
            raise jwt.InvalidKeyError(f"the token's key is not an RSA key of at least {MIN_RSA_BITS} bits")
        return key

    return _VerificationKey("RS256", find)


def _public_key(pem: str) -> _VerificationKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            "MAILMART_JWT_PUBLIC_KEY is not a public key in PEM format", hint="-----BEGIN PUBLIC KEY----- …"
        ) from error
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise SettingsError(
            f"MAILMART_JWT_PUBLIC_KEY is not an RSA key of at least {MIN_RSA_BITS} bits",
            hint="Tokens are signed with RS256 (for HS256, set MAILMART_JWT_SECRET).",
        )
    return _VerificationKey("RS256", lambda token: key)
