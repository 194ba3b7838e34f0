"""mailmart keys"""

from __future__ import annotations

from datetime import UTC, datetime

import click

from api.auth.api_keys import create_key, list_keys, revoke_key
from api.auth.principal import SCOPES
from api.erasure.erase import check_not_erased
from api.settings import Settings


@click.group()
def command() -> None:
    """Create, list and revoke API keys. A key is valid for one workspace."""


@command.command()
@click.option("--workspace", required=True, help="Workspace of the key.")
@click.option("--name", default="", help="Name to recognize the key by.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("read",),
    show_default=True,
    help="What the key may do.",
)
@click.option(
    "--expires", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Time when the key expires (UTC). Default: never."
)
def create(workspace: str, name: str, scopes: tuple[str, ...], expires: datetime | None) -> None:
    """Create a key and print it. It is stored as a hash and cannot be shown again."""
    expires_at = expires.replace(tzinfo=UTC) if expires else None
    settings = Settings.from_environment()
    check_not_erased(settings, workspace)
    click.echo(create_key(settings, workspace, name=name, scopes=scopes, expires_at=expires_at))


@command.command("list")
@click.option("--workspace", help="Show only the keys of this workspace.")
def list_command(workspace: str | None) -> None:
    """List keys: id, state, workspace, scopes, last use, expiry, name."""
    keys = list_keys(Settings.from_environment(), workspace)
    if not keys:
        click.echo("no keys yet: create one with `mailmart keys create --workspace ID`")
    for key in keys:
        used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
        expires = f", expires {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else ""
        click.echo(f"{key.key_id}  {key.state:<8}  {key.workspace_id}  {','.join(key.scopes)}  {used}{expires}  {key.name}")


@command.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key. KEY_ID is the part of the key between mm_ and the next underscore."""
    revoke_key(Settings.from_environment(), key_id)
    click.echo(f"key {key_id} is revoked")
