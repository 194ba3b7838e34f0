"""Authorizes requests: the workspace comes from the credential, and the path has to agree with it; then the rate limit."""

from __future__ import annotations

from typing import NamedTuple

from api.auth.api_keys import KEY_PREFIX, ApiKeyStore
from api.auth.failed_logins import FailedLogins
from api.auth.jwt import JwtVerifier
from api.auth.principal import Principal
from api.auth.rate_limit import Quota, RateLimiter
from api.errors import Forbidden, RateLimitExceeded, TooManyFailedLogins, Unauthorized
from api.observability.metrics import RATE_LIMITED

CREDENTIAL_HINT = "Send an API key (Authorization: Bearer mm_…)"


class AuthorizedRequest(NamedTuple):
    """An allowed request: the workspace of its credential, and the remaining quota of its rate limit."""

    workspace_id: str
    quota: Quota


class RequestGuard:
    """Checks a request's credential, then its rate limit."""

    def __init__(self, keys: ApiKeyStore, tokens: JwtVerifier, limiter: RateLimiter) -> None:
        self._keys = keys
        self._tokens = tokens
        self._limiter = limiter
        self._failed_logins = FailedLogins()

    def authorize(
        self, authorization: str | None, workspace_id: str, scope: str, name: str, limit: int, *, address: str
    ) -> AuthorizedRequest:
        """Authorizes a request of a client to the path of `workspace_id`, and counts it under `name`, with a limit a minute.

        Raises:
            Unauthorized: the credential is missing or invalid.
            TooManyFailedLogins: the credential is not known, and the client sent too many invalid ones.
            Forbidden: the credential belongs to another workspace (whether the path's exists or not), or lacks the scope.
            RateLimitExceeded: the workspace exceeded the limit.
            WarehouseUnavailable: the database is unavailable.
        """
        principal = self._authenticate(authorization, address)
        check_workspace(principal, workspace_id)
        if scope not in principal.scopes:
            raise Forbidden(f"The credential does not have the scope {scope}")
        return self._count(principal, name, limit)

    def identify(self, authorization: str | None, name: str, limit: int, *, address: str) -> tuple[Principal, AuthorizedRequest]:
        """The principal of a request whose path names no workspace; counted as `authorize` does, whatever its scopes.

        Raises:
            Unauthorized, TooManyFailedLogins, RateLimitExceeded, WarehouseUnavailable: see `authorize`.
        """
        principal = self._authenticate(authorization, address)
        return principal, self._count(principal, name, limit)

    def authorize_token(self, workspace_id: str, digest: str, name: str, limit: int) -> AuthorizedRequest:
        """A request with a signed token that was verified already; counted by the token, and not by its workspace.

        Raises:
            RateLimitExceeded: requests with the token exceeded the limit.
        """
        return AuthorizedRequest(workspace_id, self.count(digest, name, limit))

    def is_known(self, authorization: str, workspace_id: str, scope: str) -> bool:
        """Whether a credential was checked within the last second and may do this; if not, `authorize` decides. Never waits."""
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return False
        credential = credential.strip()
        store = self._keys if credential.startswith(KEY_PREFIX) else self._tokens
        principal = store.find_cached(credential)
        return principal is not None and principal.workspace_id == workspace_id and scope in principal.scopes

    async def count_on_loop(self, workspace_id: str, name: str, limit: int) -> Quota:
        """Counts a request whose credential `is_known`, without a thread. If it is not allowed, `authorize` refuses it."""
        return await self._limiter.acquire_on_loop(workspace_id, name, limit)

    def workspace_of(self, authorization: str | None, scope: str, *, address: str) -> str | None:
        """The workspace of a valid credential with a scope, before the request is read; else None.

        It counts as no request and as no failed login, because `authorize` follows.

        Raises:
            WarehouseUnavailable: the database is unavailable.
        """
        try:
            principal = self._principal(authorization, address)
        except (Unauthorized, TooManyFailedLogins):
            return None
        return principal.workspace_id if principal is not None and scope in principal.scopes else None

    def count(self, counted: str, name: str, limit: int) -> Quota:
        """Counts a request, or an additional cost of it, for a workspace or a token.

        Raises:
            RateLimitExceeded: the limit was exceeded.
        """
        quota = self._limiter.acquire(counted, name, limit)
        if not quota.is_allowed:
            RATE_LIMITED.labels(name).inc()
            raise RateLimitExceeded(quota.limit, quota.reset, dict(quota.headers))
        return quota

    def _count(self, principal: Principal, name: str, limit: int) -> AuthorizedRequest:
        return AuthorizedRequest(principal.workspace_id, self.count(principal.workspace_id, name, limit))

    def _authenticate(self, authorization: str | None, address: str) -> Principal:
        principal = self._principal(authorization, address)
        if principal is None:
            self._failed_logins.record(address)
            raise Unauthorized("The credential is unknown, expired or revoked")
        return principal

    def _principal(self, authorization: str | None, address: str) -> Principal | None:
        """The principal of a credential; None if it is unknown, expired or revoked.

        Raises:
            Unauthorized: the request has no credential.
            TooManyFailedLogins: this process does not know it, and the client sent too many invalid ones.
        """
        scheme, _, credential = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized(f"{CREDENTIAL_HINT} or a token (JWT)" if self._tokens.is_configured else CREDENTIAL_HINT)
        credential = credential.strip()
        is_key = credential.startswith(KEY_PREFIX)
        # clients behind one address that use a valid key are not blocked with the one that tries others
        seconds = self._failed_logins.seconds_blocked(address) if is_key else 0
        if seconds and not self._keys.was_valid(credential):
            raise TooManyFailedLogins(seconds)
        return self._keys.authenticate(credential) if is_key else self._tokens.verify(credential)


def check_workspace(principal: Principal, workspace_id: str) -> None:
    """
    Raises:
        Forbidden: the principal belongs to another workspace than the path.
    """
    if principal.workspace_id != workspace_id:
        raise Forbidden("The credential is not for this workspace")
