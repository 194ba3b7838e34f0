"""mailmart ingest"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, cast

import click
import orjson

from api.cli.progress import counting
from api.erasure.erase import is_erased_workspace
from api.errors import MailmartError
from api.ingest.loader import PROVIDERS, LoadResult, load, workspace_exists
from api.ingest.reader import RejectedLine, read_documents
from api.plurals import counted
from api.settings import Settings


@click.command()
@click.option(
    "--provider",
    type=click.Choice(PROVIDERS),
    required=True,
    help="Provider of the webhook bodies. native: mailmart's own event format.",
)
@click.option("--workspace", "workspace_id", required=True, help="Workspace that the events belong to.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def command(provider: str, workspace_id: str, files: tuple[str, ...]) -> None:
    """Load webhook bodies or events from FILES, or from standard input (-): JSON or JSON lines, plain or gzip.

    A line that cannot be loaded is written to FILE.rejected.jsonl with its number and the reason. All other lines are loaded, and
    the exit status is 1. Nothing is loaded for an erased workspace; the exit status is then 1, too. Loading is idempotent:
    a file that is loaded twice changes no metric.

    A body has at most 10 MiB, 10,000 events and 100 levels. A larger array is split: each element is a body.
    """
    settings = Settings.from_environment()
    if not workspace_id.strip():
        raise click.BadParameter("it is empty", param_hint="--workspace")
    is_erased = is_erased_workspace(settings, workspace_id)
    if is_erased:
        click.echo(f"warning: the workspace {workspace_id!r} was erased; what is loaded for it is refused and counted", err=True)
    elif not workspace_exists(settings, workspace_id):
        click.echo(f"warning: raw.workspaces has no workspace {workspace_id!r} yet; its events are loaded anyway", err=True)
    loaded = rejected = 0
    nouns = ("event", "events") if provider == "native" else ("body", "bodies")
    for name in files:
        result = _ingest(settings, provider, workspace_id, name)
        loaded += result.loaded
        rejected += result.rejected
        summary = f"{_label(name)}: {counted(result.loaded, *nouns)} loaded, {result.rejected:,} rejected"
        if result.rejected:
            counts = ", ".join(f"{count:,} {problem}" for problem, count in sorted(result.problems.items()))
            summary += f" ({counts}), see {_rejects_path(name)}"
        click.echo(summary)
    if len(files) > 1:
        click.echo(f"{counted(len(files), 'file')}: {counted(loaded, *nouns)} loaded, {rejected:,} rejected")
    sys.exit(1 if rejected or is_erased else 0)


def _ingest(settings: Settings, provider: str, workspace_id: str, name: str) -> LoadResult:
    with (
        click.open_file(name, "rb") as stream,
        _RejectsFile(_rejects_path(name)) as rejects,
        counting(f"loading {_label(name)}") as progress,
    ):
        documents = read_documents(cast(BinaryIO, stream))
        return load(settings, provider, workspace_id, documents, rejects.add, progress, source=_label(name))


def _label(name: str) -> str:
    return "standard input" if name == "-" else name


def _rejects_path(name: str) -> Path:
    return Path("stdin.rejected.jsonl" if name == "-" else f"{name}.rejected.jsonl")


class _RejectsFile:
    """Writes rejected lines to a file, which is created with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _RejectsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, rejected: RejectedLine) -> None:
        if self._file is None:
            try:
                self._file = self._path.open("wb")
            except OSError as error:
                raise MailmartError(
                    f"{self._path} cannot be written: {error.strerror}",
                    hint="Rejected lines are written there. Make the folder writable, or copy the file to another one.",
                ) from error
        line = {"line": rejected.line, "problem": rejected.problem, "reason": rejected.reason, "text": rejected.text}
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
