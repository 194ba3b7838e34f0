"""mailmart sources"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from api.erasure.erase import check_not_erased
from api.errors import MailmartError
from api.intake.sources import (
    DEFAULT_REQUESTS_PER_MINUTE,
    MAX_REQUESTS_PER_MINUTE,
    WEBHOOK_PROVIDERS,
    StoredSource,
    create_source,
    list_sources,
    revoke_source,
    rotate_secrets,
    rotate_token,
)
from api.intake.tokens import source_url
from api.plurals import counted
from api.processes.probe import responds
from api.settings import Settings

NAMES_SHOWN = 5
SIGNING_KEY_HELP = (
    "Signing secret of the provider, or @FILE that contains it. Can be repeated: a signature by any of them is accepted."
)


@click.group()
def command() -> None:
    """Create, list, rotate and revoke sources of webhooks. A provider posts a workspace's events to the URL of a source."""


@command.command()
@click.option("--workspace", required=True, help="Workspace that the events belong to.")
@click.option("--provider", type=click.Choice(WEBHOOK_PROVIDERS), required=True, help="Provider that sends the webhooks.")
@click.option("--name", default="", help="Name to recognize the source by.")
@click.option("--signing-key", "signing_keys", multiple=True, help=f"{SIGNING_KEY_HELP} Without one the source is unsigned.")
@click.option(
    "--rate",
    type=click.IntRange(1, MAX_REQUESTS_PER_MINUTE),
    default=DEFAULT_REQUESTS_PER_MINUTE,
    show_default=True,
    help="Maximum number of requests a minute; more are refused with 429.",
)
@click.option(
    "--new-workspace",
    is_flag=True,
    help="Accept a workspace that raw.workspaces does not have yet. Not needed if that table is empty.",
)
def create(workspace: str, provider: str, name: str, signing_keys: tuple[str, ...], rate: int, new_workspace: bool) -> None:
    """Create a source and print the URL to paste into the provider's settings.

    The URL has a secret token, which is stored as a hash: the URL cannot be shown again. If the provider shows its signing secret
    only afterwards, add it by `mailmart sources rotate ID --signing-key SECRET`.
    """
    settings = Settings.from_environment()
    check_not_erased(settings, workspace)
    token = create_source(
        settings,
        workspace,
        provider,
        name=name,
        signing_keys=[_secret(key) for key in signing_keys],
        requests_per_minute=rate,
        is_new_workspace=new_workspace,
    )
    click.echo(_url(settings, provider, token))
    for note in _notes(list_sources(settings), token.partition("_")[0]):
        click.echo(note, err=True)
    if not signing_keys:
        click.echo(
            f"warning: the source is unsigned: whoever knows the URL can post. Add the signing secret of {provider}:"
            f" mailmart sources rotate {token.partition('_')[0]} --signing-key SECRET",
            err=True,
        )
    _warn_unless_intake_answers(settings)


@command.command("list")
@click.option("--workspace", help="Show only the sources of this workspace.")
def list_command(workspace: str | None) -> None:
    """List sources: id, state, workspace, provider, bodies stored and rejected, last body, signature failures, name.

    Replaced URLs and secrets that are still valid are listed with their end (UTC).
    """
    sources = list_sources(Settings.from_environment(), workspace)
    if not sources:
        where = "" if workspace is None else f" of the workspace {workspace!r}"
        click.echo(f"no sources{where} yet: create one with `mailmart sources create --workspace ID --provider PROVIDER`")
        others = [] if workspace is None else list_sources(Settings.from_environment())
        if others:
            click.echo(f"There are sources of {_names({source.workspace_id for source in others})}.")
    for source in sources:
        click.echo(_line(source))


@command.command()
@click.argument("source_id")
@click.option("--signing-key", "signing_keys", multiple=True, help=f"{SIGNING_KEY_HELP} The URL stays.")
@click.option("--now", "is_now", is_flag=True, help="Invalidate the old URL or secrets at once, for example after a leak.")
def rotate(source_id: str, signing_keys: tuple[str, ...], is_now: bool) -> None:
    """Replace the URL of a source, or its signing secrets. The old ones work for one more day, unless --now is used.

    SOURCE_ID is the part of the URL's token before the underscore.
    """
    settings = Settings.from_environment()
    if signing_keys:
        provider, replaced = rotate_secrets(settings, source_id, [_secret(key) for key in signing_keys], is_now=is_now)
        new = counted(len(signing_keys), "new signing secret")
        before = f"; those before {'have ended' if is_now else 'end in a day'}" if replaced else ""
        click.echo(f"source {source_id} of {provider} has {new}{before}")
        return
    provider, token = rotate_token(settings, source_id, is_now=is_now)
    click.echo(_url(settings, provider, token))
    click.echo("the old URL no longer works" if is_now else "the old URL works for one more day", err=True)
    _warn_unless_intake_answers(settings)


@command.command()
@click.argument("source_id")
def revoke(source_id: str) -> None:
    """Revoke a source: its URL returns 404. Events that it delivered are kept."""
    revoke_source(Settings.from_environment(), source_id)
    click.echo(f"source {source_id} is revoked")


def _notes(sources: list[StoredSource], source_id: str) -> list[str]:
    """What may be a mistake: a second source like the new one, or the first one of a workspace, whose name can be mistyped."""
    new = next(source for source in sources if source.source_id == source_id)
    others = [source for source in sources if source.source_id != source_id and source.revoked_at is None]
    same = [source.source_id for source in others if (source.workspace_id, source.provider) == (new.workspace_id, new.provider)]
    if same:
        return [f"note: {new.workspace_id} has other sources of {new.provider}, whose URLs work, too: {', '.join(same)}"]
    workspaces = {source.workspace_id for source in others}
    if workspaces and new.workspace_id not in workspaces:
        first = (
            f"note: this is the first source of the workspace {new.workspace_id!r}. There are sources of {_names(workspaces)}."
        )
        return [f"{first} If it is mistyped: mailmart sources revoke {source_id}"]
    return []


def _names(workspaces: set[str]) -> str:
    """The first of them, and how many more there are."""
    names = sorted(workspaces)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _url(settings: Settings, provider: str, token: str) -> str:
    return source_url(settings.for_intake_address().public_url, provider, token)


def _warn_unless_intake_answers(settings: Settings) -> None:
    """A public URL is that of a proxy, which this machine may be unable to call: only an address of this machine is tried."""
    intake = settings.for_intake_address()
    if intake.public_address is None and not responds(intake, "/healthz"):
        click.echo(
            f"warning: no intake answers at {intake.local_url}. Start `mailmart run`: then this command knows its address,"
            " unless this terminal or .env has other settings. The end of the URL, from /intake on, is right.",
            err=True,
        )


def _secret(text: str) -> str:
    """The secret of an option; of a file, without white space around it."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MailmartError(
            f"the signing key cannot be read from {text[1:]}: {error}", hint="Write @ and the path of a file."
        ) from error


def _line(source: StoredSource) -> str:
    counts = f"{counted(source.bodies, 'body', 'bodies')}, {source.rejected:,} rejected"
    last = f"last {_time(source.last_body_at)}" if source.last_body_at else "none yet"
    parts = [source.source_id, f"{source.state:<8}", source.workspace_id, source.provider, f"{counts}, {last}"]
    if source.last_signature_failure_at:
        parts.append(
            f"{source.signature_failures:,} with a wrong signature, last {_time(source.last_signature_failure_at)}:"
            f" {source.last_signature_failure}"
        )
    parts += [
        *_old("URL", source.old_tokens, source.old_tokens_until),
        *_old("secret", source.old_secrets, source.old_secrets_until),
    ]
    return "  ".join([*parts, source.name]).rstrip()


def _old(what: str, count: int, until: datetime | None) -> list[str]:
    """What was replaced and is still valid."""
    if until is None:
        return []
    return [f"{counted(count, f'old {what}')} valid until {_time(until)}"]


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
