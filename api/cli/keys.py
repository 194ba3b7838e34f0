"""mailmart keys"""

from __future__ import annotations

from datetime import UTC, datetime

import click

from api.auth.api_keys import create_key, list_keys, revoke_key
from api.auth.principal import SCOPES
from api.settings import Settings


@click.group()
def command() -> None:
    """API keys: each is for one workspace."""


@command.command()
@click.option("--workspace", required=True, help="The workspace that the key is for.")
@click.option("--name", default="", help="What it is for, for people.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=("read",), show_default=True)
@click.option("--expires", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="When it ends (UTC); default: never.")
def create(workspace: str, name: str, scopes: tuple[str, ...], expires: datetime | None) -> None:
    """Make a key and print it: it is shown this once."""
    expires_at = expires.replace(tzinfo=UTC) if expires else None
    click.echo(create_key(Settings.from_environment(), workspace, name=name, scopes=scopes, expires_at=expires_at))


@command.command("list")
@click.option("--workspace", help="Only this workspace's.")
def list_command(workspace: str | None) -> None:
    """List the keys; the keys themselves are not stored."""
    keys = list_keys(Settings.from_environment(), workspace)
    if not keys:
        click.echo("no keys yet: make one with `mailmart keys create --workspace ID`")
    for key in keys:
        used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
        ends = f", until {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else ""
        click.echo(f"{key.key_id}  {key.state:<8}  {key.workspace_id}  {','.join(key.scopes)}  {used}{ends}  {key.name}")


@command.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End a key. KEY_ID is the part between mm_ and the next underscore."""
    revoke_key(Settings.from_environment(), key_id)
    click.echo(f"{key_id} is revoked")
