"""Who may ask, and how often: the workspace comes from the credential, and the path has to agree with it."""

from __future__ import annotations

from dataclasses import dataclass

from api.auth.api_keys import ApiKeyStore
from api.auth.jwt import JwtVerifier
from api.auth.principal import Principal
from api.auth.rate_limit import Quota, RateLimiter
from api.errors import Forbidden, RateLimitExceeded, Unauthorized
from api.observability.metrics import RATE_LIMITED

SEND = "Send an API key (Authorization: Bearer mm_…)"


@dataclass(frozen=True)
class AuthorizedRequest:
    """A request that may be answered: whose rows it gets, by its credential alone, and what is left of the limit."""

    workspace_id: str
    quota: Quota


class RequestGuard:
    """Checks a credential, then counts the request."""

    def __init__(self, keys: ApiKeyStore, tokens: JwtVerifier, limits: RateLimiter) -> None:
        self._keys = keys
        self._tokens = tokens
        self._limits = limits

    def authorize(self, authorization: str | None, workspace_id: str, scope: str, name: str, limit: int) -> AuthorizedRequest:
        """Lets a request to the path of `workspace_id` in; it is counted under `name`, with a limit of so many a minute.

        Raises:
            Unauthorized: there is no credential, or none that counts.
            Forbidden: it is another workspace's, whether the path's exists or not; or it lacks the scope.
            RateLimitExceeded: the workspace asked too often.
            WarehouseUnavailable: the database is away.
        """
        principal = self._holder(authorization)
        check_workspace(principal, workspace_id)
        if scope not in principal.scopes:
            raise Forbidden(f"The credential does not have the scope {scope}")
        quota = self._limits.take(principal.workspace_id, name, limit)
        if not quota.counts:
            RATE_LIMITED.labels(name).inc()
            raise RateLimitExceeded(quota.limit, quota.reset, dict(quota.headers))
        return AuthorizedRequest(principal.workspace_id, quota)

    def _holder(self, authorization: str | None) -> Principal:
        kind, _, credential = (authorization or "").partition(" ")
        if kind.lower() != "bearer":
            raise Unauthorized(f"{SEND} or a token (JWT)" if self._tokens.are_configured else SEND)
        credential = credential.strip()
        principal = self._keys.principal(credential) if credential.startswith("mm_") else self._tokens.principal(credential)
        if principal is None:
            raise Unauthorized("The credential is unknown, expired or revoked")
        return principal


def check_workspace(principal: Principal, workspace_id: str) -> None:
    """
    Raises:
        Forbidden: the path's workspace is not the principal's.
    """
    if principal.workspace_id != workspace_id:
        raise Forbidden("The credential is not for this workspace")
