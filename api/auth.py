"""Who asks: the workspace comes from the credential, and the path has to agree with it."""

from __future__ import annotations

from api.errors import Forbidden, Unauthorized
from api.keys import KeyHolder, Keys


def authenticate(keys: Keys, authorization: str | None, workspace_id: str, scope: str) -> KeyHolder:
    """The holder of the key in an Authorization header.

    Raises:
        Unauthorized: there is no key, or none that counts.
        Forbidden: the key is another workspace's, whether the path's exists or not; or it lacks the scope.
        WarehouseUnavailable: the database is away.
    """
    if not authorization:
        raise Unauthorized("Send an API key: Authorization: Bearer mm_…")
    kind, _, key = authorization.partition(" ")
    if kind.lower() != "bearer":
        raise Unauthorized("Send the API key as a bearer token: Authorization: Bearer mm_…")
    holder = keys.holder(key.strip())
    if holder is None:
        raise Unauthorized("The API key is unknown, expired or revoked")
    if holder.workspace_id != workspace_id:
        raise Forbidden("The API key is not for this workspace")
    if scope not in holder.scopes:
        raise Forbidden(f"The API key does not have the scope {scope}")
    return holder
