"""mailmart ingest"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, cast

import click
import orjson

from api.cli.progress import counting
from api.ingest.loader import PROVIDERS, LoadResult, land, workspace_is_known
from api.ingest.reader import RejectedLine, documents
from api.settings import Settings


@click.command()
@click.option("--provider", type=click.Choice(PROVIDERS), required=True, help="Whose bodies; native: the project's own events.")
@click.option("--workspace", "workspace_id", required=True, help="The workspace that they belong to.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def command(provider: str, workspace_id: str, files: tuple[str, ...]) -> None:
    """Land webhook bodies out of FILES, or - for standard input: JSON, arrays, or JSON lines, plain or gzip.

    A line that cannot be landed goes to FILE.rejected.jsonl with its number and the reason; the rest lands, and the exit status
    is 1. Landing a file twice changes no number.
    """
    settings = Settings.from_environment()
    if not workspace_id.strip():
        raise click.BadParameter("it is empty", param_hint="--workspace")
    if not workspace_is_known(settings, workspace_id):
        click.echo(f"warning: raw.workspaces has no {workspace_id!r} yet; its mail is landed all the same", err=True)
    rejected = 0
    for name in files:
        outcome = _ingest(settings, provider, workspace_id, name)
        rejected += outcome.rejected
        kind = "events" if provider == "native" else "bodies"
        said = f"{_label(name)}: {outcome.landed} {kind} landed, {outcome.rejected} rejected"
        click.echo(said + (f", see {_rejects_path(name)}" if outcome.rejected else ""))
    sys.exit(1 if rejected else 0)


def _ingest(settings: Settings, provider: str, workspace_id: str, name: str) -> LoadResult:
    with (
        click.open_file(name, "rb") as stream,
        _Rejects(_rejects_path(name)) as rejects,
        counting(f"landing {_label(name)}") as progress,
    ):
        return land(settings, provider, workspace_id, documents(cast(BinaryIO, stream)), rejects.add, progress)


def _label(name: str) -> str:
    return "standard input" if name == "-" else name


def _rejects_path(name: str) -> Path:
    return Path("stdin.rejected.jsonl" if name == "-" else f"{name}.rejected.jsonl")


class _Rejects:
    """Writes rejected lines to a file, which is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, rejected: RejectedLine) -> None:
        if self._file is None:
            self._file = self._path.open("wb")
        line = {"line": rejected.line, "reason": rejected.reason, "text": rejected.text}
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
