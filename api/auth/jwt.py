"""JSON Web Tokens of the platform's own sign-in, checked against one configured kind of key."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from api.auth.principal import SCOPES, Principal
from api.errors import SettingsError
from api.settings import Settings

LOG = logging.getLogger(__name__)
SHORTEST_SECRET = 32
SMALLEST_RSA_BITS = 2048
CACHE_TTL_SECONDS = 1.0
MAX_KEPT = 10_000
MAX_TOKEN = 8192
SECONDS_JWKS_KEPT = 300
SECONDS_BETWEEN_FETCHES = 10.0
SECONDS_TO_FETCH = 3


class JwtVerifier:
    """Checks tokens. What one came to is kept for a second, as keys are; a refusal is not."""

    def __init__(self, settings: Settings) -> None:
        """
        Raises:
            SettingsError: more than one kind of key is configured, or one that cannot be used.
        """
        self._settings = settings
        self._kind = _configured(settings)
        self._kept: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def are_configured(self) -> bool:
        """Whether any token can count."""
        return self._kind is not None

    def principal(self, token: str) -> Principal | None:
        """Whose token it is; None for one that does not count: expired, of another issuer, badly signed, without a workspace.

        `scope` is a text of scopes between spaces, or a list; a token without one may read.
        """
        if self._kind is None or len(token) > MAX_TOKEN:
            return None
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(token)
        if kept is not None and now < kept[0]:
            return kept[1]
        try:
            claims = self._claims(token, self._kind)
        # a token is somebody's text: whatever it breaks in a library, it does not count
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            LOG.info("a token does not count: %s", error)
            return None
        principal = _holder(claims)
        if principal is not None:
            self._keep(token, min(now + CACHE_TTL_SECONDS, now + claims["exp"] - time.time()), principal)
        return principal

    def _keep(self, token: str, until: float, principal: Principal) -> None:
        with self._lock:
            self._kept[token] = (until, principal)
            self._kept.move_to_end(token)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

    def _claims(self, token: str, kind: _Kind) -> dict[str, Any]:
        required = ["exp", *(["iss"] if self._settings.jwt_issuer else []), *(["aud"] if self._settings.jwt_audience else [])]
        claims: dict[str, Any] = jwt.decode(
            token,
            kind.key(token),
            # which one is right depends on our key, never on what the token says of itself
            algorithms=[kind.algorithm],
            issuer=self._settings.jwt_issuer,
            audience=self._settings.jwt_audience,
            options={"require": required, "verify_aud": self._settings.jwt_audience is not None},
        )
        return claims


def _holder(claims: dict[str, Any]) -> Principal | None:
    workspace_id = claims.get("workspace_id")
    if not isinstance(workspace_id, str) or not workspace_id or "\0" in workspace_id:
        return None
    given = claims.get("scope", "read")
    named = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    return Principal(workspace_id, frozenset(scope for scope in SCOPES if scope in named))


class _BoundedJwks(jwt.PyJWKClient):
    """Fetches at most once in ten seconds, however many tokens name keys that are not there or however long it fails."""

    def __init__(self, url: str) -> None:
        super().__init__(url, cache_keys=False, lifespan=SECONDS_JWKS_KEPT, timeout=SECONDS_TO_FETCH)
        self._fetching = threading.Lock()
        self._next_fetch = 0.0
        self._last: Any = None

    def fetch_data(self) -> Any:
        with self._fetching:
            if time.monotonic() >= self._next_fetch:
                self._next_fetch = time.monotonic() + SECONDS_BETWEEN_FETCHES
                try:
                    self._last = super().fetch_data()
                except (jwt.PyJWKClientError, json.JSONDecodeError) as error:
                    LOG.warning("the keys of tokens cannot be fetched: %s", error)
        if self._last is None:
            raise jwt.PyJWKClientConnectionError("the keys of tokens could not be fetched yet")
        return self._last


@dataclass(frozen=True)
class _Kind:
    """The algorithm, and the key that a token is checked with."""

    algorithm: str
    key: Callable[[str], Any]


def _configured(settings: Settings) -> _Kind | None:
    kinds = [
        ("MAILMART_JWT_SECRET", settings.jwt_secret, _secret),
        ("MAILMART_JWT_PUBLIC_KEY", settings.jwt_public_key, _public_key),
        ("MAILMART_JWT_JWKS_URL", settings.jwt_jwks_url, _jwks),
    ]
    given = [(name, value, make) for name, value, make in kinds if value]
    if len(given) > 1:
        raise SettingsError(
            f"{' and '.join(name for name, _, _ in given)} are set together",
            hint="Tokens are checked against one kind of key; set one.",
        )
    return next((make(value) for _, value, make in given), None)


def _secret(secret: str) -> _Kind:
    if len(secret.encode()) < SHORTEST_SECRET:
        raise SettingsError(
            f"MAILMART_JWT_SECRET has less than {SHORTEST_SECRET} bytes", hint="Make one: openssl rand -base64 48"
        )
    return _Kind("HS256", lambda token: secret)


def _jwks(url: str) -> _Kind:
    jwks = _BoundedJwks(url)

    def key(token: str) -> RSAPublicKey:
        found = jwks.get_signing_key_from_jwt(token).key
        if not isinstance(found, RSAPublicKey) or found.key_size < SMALLEST_RSA_BITS:
            raise jwt.InvalidKeyError("the key that the token names is not an RSA key of 2048 bits or more")
        return found

    return _Kind("RS256", key)


def _public_key(pem: str) -> _Kind:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            "MAILMART_JWT_PUBLIC_KEY is no public key in PEM form", hint="-----BEGIN PUBLIC KEY----- …"
        ) from error
    if not isinstance(key, RSAPublicKey) or key.key_size < SMALLEST_RSA_BITS:
        raise SettingsError(
            "MAILMART_JWT_PUBLIC_KEY is not an RSA key of 2048 bits or more",
            hint="Tokens are signed with RS256 (or HS256: _SECRET).",
        )
    return _Kind("RS256", lambda token: key)
