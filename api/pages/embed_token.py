"""Tokens that show one chart of one workspace, for pages of others: JSON Web Tokens (HS256) that the operator's product signs."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

from api.auth.secrets import HOW_TO_GENERATE, check_secret
from api.drawing.picture import THEMES
from api.errors import ApiError, SettingsError
from api.settings import Settings

AUDIENCE = "mailmart-embed"
# of a request line, proxies accept 8,000
MAX_LENGTH = 6000
MAX_LIFETIME_SECONDS = 86_400
# the clocks of two machines
LEEWAY_SECONDS = 60
CLAIMS = ("aud", "chart", "exp", "iat", "params", "theme", "workspace_id")
OTHER_CLAIMS = ("iss", "jti", "nbf", "sub")


class InvalidToken(ApiError):
    """The token shows nothing: not signed by us, changed, expired, or not one of an embedded chart."""

    status = 403
    code = "FORBIDDEN"


@dataclass(frozen=True)
class EmbedToken:
    """What a token shows.

    Attributes:
        chart: the path of the chart below the workspace, as in the API.
        params: the endpoint's parameters, which whoever looks cannot change.
        theme: light or dark; '' for that of whoever looks.
        digest: what its requests are counted by.
    """

    workspace_id: str
    chart: str
    params: Mapping[str, Any] = field(default_factory=dict)
    theme: str = ""
    digest: str = ""


class EmbedTokenVerifier:
    """Verifies tokens against the secrets of MAILMART_EMBED_SECRET: the current one, and maybe the one before it."""

    def __init__(self, settings: Settings) -> None:
        """
        Raises:
            SettingsError: a secret is too weak, or is also that of the API's own tokens.
        """
        self._secrets = _secrets(settings)

    @property
    def is_configured(self) -> bool:
        """Whether the operator has set a secret."""
        return bool(self._secrets)

    def verify(self, token: str) -> EmbedToken:
        """
        Raises:
            InvalidToken: it shows nothing; the message says why.
        """
        if not token:
            raise InvalidToken("The link to this chart is incomplete.")
        if len(token) > MAX_LENGTH:
            raise InvalidToken(
                f"The token of this chart has more than {MAX_LENGTH} characters. Sign fewer or shorter parameters."
            )
        return _read(self._claims(token), token)

    def _claims(self, token: str) -> dict[str, Any]:
        for secret in self._secrets:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    secret,
                    # never by the token's own header
                    algorithms=["HS256"],
                    audience=AUDIENCE,
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["aud", "exp", "iat"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError as error:
                raise InvalidToken("The link to this chart has expired. Reload the page that shows it.") from error
            except jwt.MissingRequiredClaimError as error:
                raise InvalidToken(f"The token of this chart has no claim {error.claim}.") from error
            except jwt.InvalidAudienceError as error:
                raise InvalidToken(f"The token of this chart is not for {AUDIENCE} (claim aud).") from error
            # the token is user input: whatever it breaks in a library, it is invalid
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
                break
            else:
                if not _is_json(claims):
                    break
                return claims
        raise InvalidToken("The link to this chart is not valid: it was changed, or its secret was replaced.")


def _read(claims: Mapping[str, Any], token: str) -> EmbedToken:
    unknown = sorted(set(claims) - {*CLAIMS, *OTHER_CLAIMS})
    if unknown:
        raise InvalidToken(f"The token of this chart has the unknown claim {unknown[0][:60]}. Known: {', '.join(CLAIMS)}.")
    issued_at, expires_at = claims["iat"], claims["exp"]
    if not _is_time(issued_at) or not _is_time(expires_at) or expires_at - issued_at > MAX_LIFETIME_SECONDS:
        raise InvalidToken("The token of this chart is valid for more than a day (claims iat and exp).")
    if issued_at > time.time() + LEEWAY_SECONDS:
        raise InvalidToken("The token of this chart was issued in the future (claim iat): check the clocks.")
    workspace_id, chart = claims.get("workspace_id"), claims.get("chart")
    params, theme = claims.get("params", {}), claims.get("theme", "")
    if not isinstance(workspace_id, str) or not workspace_id or "\0" in workspace_id:
        raise InvalidToken("The token of this chart has no workspace_id.")
    if not isinstance(chart, str) or not re.fullmatch(r"/.+/charts/[a-z0-9_]+", chart):
        raise InvalidToken("The claim chart is no path of a chart, such as /analytics/series/charts/engagement.")
    if not isinstance(params, Mapping):
        raise InvalidToken("The claim params is not an object of parameters.")
    if theme not in ("", *THEMES):
        raise InvalidToken(f"The claim theme must be one of {', '.join(THEMES)}.")
    return EmbedToken(workspace_id, chart, params, theme, hashlib.sha256(token.encode()).hexdigest()[:32])


def _is_json(claims: Mapping[str, Any]) -> bool:
    """Whether the claims are JSON that can be sent: Python's parser takes NaN, and half of a surrogate pair."""
    try:
        json.dumps(claims, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _secrets(settings: Settings) -> Sequence[str]:
    secrets = [secret.strip() for secret in (settings.embed_secret or "").split(",") if secret.strip()]
    if len(secrets) > 2:
        raise SettingsError(
            "MAILMART_EMBED_SECRET has more than two secrets",
            hint="Keep the current one and the one before it. A secret has no comma.",
        )
    for secret in secrets:
        check_secret("MAILMART_EMBED_SECRET", secret)
        if secret == settings.jwt_secret:
            raise SettingsError(
                "MAILMART_EMBED_SECRET is also MAILMART_JWT_SECRET: who signs links to charts could sign in to the API",
                hint=HOW_TO_GENERATE,
            )
    return secrets
