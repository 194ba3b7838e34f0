"""Sources of webhooks: create, list, rotate and revoke. A source is a workspace, a provider, a token and signing secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from api.contract.suggestions import nearest
from api.db.connection import connect
from api.errors import MailmartError
from api.intake.signatures.verify import SCHEMES, check_secret
from api.intake.tokens import hash_token, new_source_id, new_token
from api.settings import Settings

WEBHOOK_PROVIDERS = tuple(SCHEMES)
DEFAULT_REQUESTS_PER_MINUTE = 6000
MAX_REQUESTS_PER_MINUTE = 1_000_000
# how long a token, or a signing secret, works after it was replaced
OVERLAP = "1 day"
# of the workspaces that there are, for a hint
WORKSPACES_NAMED = 5
MAX_WORKSPACES_TO_COMPARE = 1000


@dataclass(frozen=True)
class StoredSource:
    """A source as the database stores it: everything except tokens and secrets.

    Attributes:
        was_signed: of a revoked source; None if that is not known.
        is_signed: now; of a revoked source, before.
        old_tokens, old_secrets: how many were replaced and are still valid; the last of them until `…_until`.
    """

    source_id: str
    workspace_id: str
    provider: str
    name: str
    requests_per_minute: int
    created_at: datetime
    revoked_at: datetime | None
    bodies: int
    rejected: int
    signature_failures: int
    last_body_at: datetime | None
    last_rejected_at: datetime | None
    last_rejection: str | None
    last_signature_failure_at: datetime | None
    last_signature_failure: str | None
    was_signed: bool | None
    is_signed: bool | None
    old_tokens: int
    old_tokens_until: datetime | None
    old_secrets: int
    old_secrets_until: datetime | None

    @property
    def state(self) -> str:
        """signed, unsigned or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "signed" if self.is_signed else "unsigned"


def create_source(
    settings: Settings,
    workspace_id: str,
    provider: str,
    *,
    name: str = "",
    signing_keys: Sequence[str] = (),
    requests_per_minute: int = DEFAULT_REQUESTS_PER_MINUTE,
    is_new_workspace: bool = False,
) -> str:
    """Creates a source. The returned token cannot be read again. `is_new_workspace`: raw.workspaces need not have the workspace.

    If raw.workspaces is empty, workspaces are known by their mail alone, and any is accepted.

    Raises:
        MailmartError: the workspace or provider is unknown, the rate is out of bounds, or a signing key is invalid.
    """
    if provider not in WEBHOOK_PROVIDERS:
        raise MailmartError(f"unknown provider {provider!r}", hint=f"Providers are {', '.join(WEBHOOK_PROVIDERS)}.")
    if not 1 <= requests_per_minute <= MAX_REQUESTS_PER_MINUTE:
        raise MailmartError(f"the rate {requests_per_minute} is out of bounds", hint=f"From 1 to {MAX_REQUESTS_PER_MINUTE}.")
    if not workspace_id.strip():
        raise MailmartError("the workspace is empty", hint="A source belongs to one workspace.")
    _check_secrets(provider, signing_keys)
    source_id = new_source_id()
    token = new_token(source_id)
    with connect(settings, "mailmart_owner") as connection:
        if not is_new_workspace:
            _check_workspace(connection, workspace_id)
        connection.execute(
            "insert into app.webhook_sources (source_id, workspace_id, provider, name, requests_per_minute)"
            " values (%s, %s, %s, %s, %s)",
            (source_id, workspace_id, provider, name, requests_per_minute),
        )
        _insert_token(connection, source_id, token)
        _insert_secrets(connection, source_id, signing_keys)
    return token


def list_sources(settings: Settings, workspace_id: str | None = None) -> list[StoredSource]:
    """All sources, or those of a workspace, oldest first."""
    with (
        connect(settings, "mailmart_owner") as connection,
        connection.cursor(row_factory=class_row(StoredSource)) as cursor,
    ):
        return cursor.execute(
            """
            select
                sources.*,
                app.is_webhook_source_signed(sources.source_id) as is_signed,
                tokens.old_tokens,
                tokens.old_tokens_until,
                secrets.old_secrets,
                secrets.old_secrets_until
            from app.webhook_sources as sources
            cross join lateral (
                select
                    count(*) as old_tokens,
                    max(valid_until) as old_tokens_until
                from app.webhook_source_tokens
                where source_id = sources.source_id and valid_until > clock_timestamp()
            ) as tokens
            cross join lateral (
                select
                    count(*) as old_secrets,
                    max(valid_until) as old_secrets_until
                from app.webhook_source_secrets
                where source_id = sources.source_id and valid_until > clock_timestamp()
            ) as secrets
            where %(workspace)s::text is null or sources.workspace_id = %(workspace)s
            order by sources.created_at, sources.source_id
            """,
            {"workspace": workspace_id},
        ).fetchall()


def rotate_token(settings: Settings, source_id: str, *, is_now: bool = False) -> tuple[str, str]:
    """Gives a source another token. The one before works for a day; with `is_now` it ends, within a second.

    Returns:
        The provider and the new token.

    Raises:
        MailmartError: no source has this id, or it is revoked.
    """
    token = new_token(source_id)
    with connect(settings, "mailmart_owner") as connection:
        provider = _lock_source(connection, source_id)
        _expire(connection, "webhook_source_tokens", source_id, is_now=is_now)
        _insert_token(connection, source_id, token)
    return provider, token


def rotate_secrets(settings: Settings, source_id: str, signing_keys: Sequence[str], *, is_now: bool = False) -> tuple[str, bool]:
    """Gives a source other signing keys. Those before are accepted for a day; with `is_now` they end, within a second.

    Returns:
        The provider, and whether there were valid keys before.

    Raises:
        MailmartError: no source has this id, it is revoked, or a key does not look like one of its provider.
    """
    with connect(settings, "mailmart_owner") as connection:
        provider = _lock_source(connection, source_id)
        _check_secrets(provider, signing_keys)
        replaced = _expire(connection, "webhook_source_secrets", source_id, is_now=is_now)
        _insert_secrets(connection, source_id, signing_keys)
    return provider, replaced


def revoke_source(settings: Settings, source_id: str) -> None:
    """Revokes a source, and deletes its tokens and secrets. The intake may accept its bodies for one more second.

    Raises:
        MailmartError: no source has this id, or it is revoked already.
    """
    with connect(settings, "mailmart_owner") as connection:
        _lock_source(connection, source_id)
        connection.execute(
            "update app.webhook_sources"
            " set revoked_at = clock_timestamp(), was_signed = app.is_webhook_source_signed(source_id)"
            " where source_id = %s",
            (source_id,),
        )
        connection.execute("delete from app.webhook_source_tokens where source_id = %s", (source_id,))
        connection.execute("delete from app.webhook_source_secrets where source_id = %s", (source_id,))


def _check_workspace(connection: psycopg.Connection, workspace_id: str) -> None:
    """Refuses a workspace that the app does not have. An installation without the app's tables knows workspaces by mail alone."""
    known = [
        each
        for (each,) in connection.execute(
            "select distinct workspace_id from raw.workspaces where workspace_id <> '' order by workspace_id limit %s",
            (MAX_WORKSPACES_TO_COMPARE,),
        )
    ]
    if not known or workspace_id in known:
        return
    row = connection.execute("select exists (select from raw.workspaces where workspace_id = %s)", (workspace_id,)).fetchone()
    if row == (True,):
        return
    match = nearest(workspace_id, known)
    raise MailmartError(
        f"raw.workspaces has no workspace {workspace_id!r}",
        hint=(f"Did you mean {match}? " if match else "")
        + f"It has {', '.join(known[:WORKSPACES_NAMED])}{', and others' if len(known) > WORKSPACES_NAMED else ''}."
        " For a workspace whose row comes later, repeat the command with --new-workspace.",
    )


def _check_secrets(provider: str, signing_keys: Sequence[str]) -> None:
    for key in signing_keys:
        check_secret(provider, key)


def _lock_source(connection: psycopg.Connection, source_id: str) -> str:
    """The provider of a source that is not revoked, whose row is locked."""
    row = connection.execute(
        "select provider, revoked_at from app.webhook_sources where source_id = %s for update", (source_id,)
    ).fetchone()
    if row is None:
        raise MailmartError(f"no source {source_id}", hint="`mailmart sources list` shows the ids.")
    provider: str = row[0]
    if row[1] is not None:
        raise MailmartError(
            f"the source {source_id} is revoked, since {row[1]:%Y-%m-%d %H:%M}",
            hint="Create another one: mailmart sources create.",
        )
    return provider


def _expire(connection: psycopg.Connection, table: str, source_id: str, *, is_now: bool) -> bool:
    """Deletes expired rows, and sets the end of valid ones in a day, or at once. Returns whether any was valid."""
    connection.execute(
        f"delete from app.{table} where source_id = %s and valid_until <= clock_timestamp()".encode(),  # noqa: S608 - ours
        (source_id,),
    )
    if is_now:
        return connection.execute(f"delete from app.{table} where source_id = %s".encode(), (source_id,)).rowcount > 0  # noqa: S608 - ours
    return (
        connection.execute(
            f"update app.{table} set valid_until = clock_timestamp() + interval '{OVERLAP}'"  # noqa: S608 - ours
            " where source_id = %s and valid_until is null".encode(),
            (source_id,),
        ).rowcount
        > 0
    )


def _insert_token(connection: psycopg.Connection, source_id: str, token: str) -> None:
    connection.execute(
        "insert into app.webhook_source_tokens (token_hash, source_id) values (%s, %s)", (hash_token(token), source_id)
    )


def _insert_secrets(connection: psycopg.Connection, source_id: str, signing_keys: Sequence[str]) -> None:
    for key in signing_keys:
        connection.execute("insert into app.webhook_source_secrets (source_id, secret) values (%s, %s)", (source_id, key))
