"""mailmart erase"""

from __future__ import annotations

import sys

import click

from api.erasure.erase import Erasure, erase_recipient, erase_workspace
from api.plurals import counted, plural
from api.settings import Settings


@click.command()
@click.option(
    "--workspace", "workspace_id", help="Workspace to erase; with --recipient, the only one to erase the recipient from."
)
@click.option("--recipient", "address", help="E-mail address of the person to erase; - reads it from standard input.")
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only show how many rows would be deleted or changed.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask for confirmation.")
def command(workspace_id: str | None, address: str | None, is_dry_run: bool, is_confirmed: bool) -> None:
    """Erase a workspace (a tenant) or a recipient (a person). It cannot be undone.

    A workspace: everything of it is deleted, and what is loaded for it later is refused and counted.

    A recipient: the address and its hash are replaced by random ones, in every table; texts, URLs and user agents of the person's
    events are removed. Counts stay.

    Both end when the files of exports are deleted. If the command is interrupted, run it again.
    """
    if workspace_id is None and address is None:
        raise click.UsageError("use --workspace, --recipient or both")
    if workspace_id is not None and not workspace_id.strip():
        raise click.BadParameter("it is empty", param_hint="--workspace")
    settings = Settings.from_environment()
    if address == "-":
        address = sys.stdin.readline()
        if not is_confirmed and not is_dry_run:
            raise click.UsageError(
                "--recipient - needs --yes or --dry-run: the confirmation cannot be read, because standard input is the address"
            )
    if not is_confirmed and not is_dry_run:
        where = f" in the workspace {workspace_id}" if workspace_id is not None else " in all workspaces"
        what = f"everything of the workspace {workspace_id}" if address is None else f"this recipient{where}"
        click.confirm(f"Erase {what}? --dry-run shows how many rows. It cannot be undone", abort=True, err=True)
    if address is None:
        erasure = erase_workspace(settings, workspace_id or "", is_dry_run=is_dry_run, report=_report)
        subject = f"the workspace {workspace_id}"
    else:
        erasure = erase_recipient(settings, address, workspace_id, is_dry_run=is_dry_run, report=_report)
        subject = "this recipient"
    _show(erasure, subject, is_dry_run)


def _report(line: str) -> None:
    click.echo(line, err=True)


def _show(erasure: Erasure, subject: str, is_dry_run: bool) -> None:
    if erasure.is_empty:
        click.echo(f"nothing of {subject} is stored; nothing was changed")
    else:
        click.echo(f"{subject} {'would be' if is_dry_run else 'is'} erased:")
        width = max(len(table) for table in erasure.rows)
        for table, count in sorted(erasure.rows.items()):
            click.echo(f"    {table:<{width}}  {count:>9,} {plural(count, 'row')}")
    if erasure.exports:
        click.echo(f"    files of {counted(erasure.exports, 'export')} {'would be' if is_dry_run else 'are'} deleted")
    if erasure.kept:
        click.echo("not changed, because these tables are the platform's own:")
        for line in erasure.kept:
            click.echo(f"    {line}")
    if not is_dry_run and not erasure.is_empty:
        click.echo("backups, downloaded files and the mail platform's own logs are not reached: docs/how-to/operators/erase.md")
