"""mailmart batch"""

from __future__ import annotations

import click

from api.batches import go_back, list_batches
from api.settings import Settings


@click.group()
def command() -> None:
    """The builds, and which of them is served."""


@command.command("list")
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
def list_command(limit: int) -> None:
    """List the builds: when, how long, how they ended, what they wrote; * is the one that is served."""
    batches = list_batches(Settings.from_environment(), limit)
    if not batches:
        click.echo("no builds yet: run `mailmart build`")
        return
    click.echo(f"  {'batch':>6}  {'started (UTC)':<19}  {'seconds':>7}  {'status':<9}  {'opened':>9}  {'closed':>9}")
    for batch in batches:
        seconds = f"{(batch.ended_at - batch.started_at).total_seconds():.1f}" if batch.ended_at else ""
        click.echo(
            f"{'*' if batch.is_served else ' '} {batch.batch_id:>6}  {batch.started_at:%Y-%m-%d %H:%M:%S}  {seconds:>7}"
            f"  {batch.status:<9}  {batch.rows_opened:>9}  {batch.rows_closed:>9}"
        )


@command.command()
def rollback() -> None:
    """Serve the publication before the one that is served. The next build publishes as ever."""
    click.echo(f"batch {go_back(Settings.from_environment())} is served")
