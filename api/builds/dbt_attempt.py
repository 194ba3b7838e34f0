"""One try of a nightly run: a whole dbt build, or dbt retry where it can go on from the node that failed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import orjson
import psycopg

from api.db.connection import connect
from api.dbt.profile import dbt_environment
from api.dbt.project_hash import project_hash
from api.dbt.runner import dbt_command
from api.processes.run import Ended, run_child
from api.settings import Settings

# the unit tests tell nothing about the data
BUILD = ("build", "--exclude-resource-type", "unit_test")
REFUSED = re.compile(r"build \d+ is running since [\d-]+ [\d:]+")
LINES_OF_A_FAILURE = 12
# a database that starts anew is back by then; a scheduler that is to end waits for twice as long
SECONDS_TO_READ = 10.0


@dataclass(frozen=True)
class Attempt:
    """How a try ended.

    Attributes:
        status: published; failed; busy: refused, because another build runs; ended: by us, before its end.
        batch_id: its build, where it took a number.
        error: what failed, a line each.
    """

    status: Literal["published", "failed", "busy", "ended"]
    batch_id: int | None = None
    error: str | None = None


def attempt(
    settings: Settings, *, since: datetime, should_continue: Callable[[], bool], show: Callable[[str], None] | None = None
) -> Attempt:
    """Builds, in a folder of the nightly runs' own, so that nobody else's build writes over what dbt retry reads.

    Only one at a time: the caller holds the lock of nightly runs. It goes on only with a build that began `since` the run did.
    """
    folder = settings.home / "nightly" / settings.target
    folder.mkdir(parents=True, exist_ok=True)
    files = project_hash(settings.project_root)
    if _can_go_on(settings, folder, files, since):
        arguments: tuple[str, ...] = ("retry",)
    else:
        arguments = BUILD
        # what an earlier build left says nothing about this one
        _results_file(folder).unlink(missing_ok=True)
        (folder / "project").write_text(files)
    command = dbt_command(
        "--no-use-colors", *arguments, "--target-path", str(folder), "--log-path", str(folder / "logs"), with_parent=True
    )
    before = _invocation(folder)
    ended = run_child(command, _environment(settings), settings.project_root, should_continue=should_continue, show=show)
    invocation = _invocation(folder)
    return _read_end(settings, ended, invocation if invocation != before else None)


def _can_go_on(settings: Settings, folder: Path, files: str, since: datetime) -> bool:
    """Whether the target's last build is the one whose results are here, it failed, and the files are the same.

    Not one of an earlier run: what passed then was of the data of then, and a test that fails for good would be all that is
    ever run again.

    Whether its passed nodes really count is decided when the retry ends, out of what dbt has parsed (macros/versioning/continue_failed_build.sql).
    """
    invocation = _invocation(folder)
    project = folder / "project"
    if invocation is None or not project.exists() or project.read_text() != files:
        return False
    with connect(settings, "mailmart_worker") as connection:
        row = connection.execute(
            "select invocation_id, status, started_at >= %s from app.batches where target = %s order by batch_id desc limit 1",
            (since, settings.target),
        ).fetchone()
    return row == (invocation, "failed", True)


def _read_end(settings: Settings, ended: Ended, invocation: str | None) -> Attempt:
    text = "\n".join(ended.last_lines)
    refused = REFUSED.search(text)
    if ended.status is None:
        return Attempt("ended")
    if ended.status != 0 and refused:
        return Attempt("busy", error=refused[0])
    batch_id, status, failure_summary = _batch(settings, invocation)
    if status == "published":
        return Attempt("published", batch_id)
    if status == "built":
        return Attempt("failed", batch_id, "everything that ran has passed, and that was not all of the project")
    return Attempt("failed", batch_id, failure_summary or _end_of(ended))


def _batch(settings: Settings, invocation: str | None) -> tuple[int | None, str | None, str | None]:
    """What the books say of the build; a database that is away just now may have published it."""
    until = time.monotonic() + SECONDS_TO_READ
    while True:
        try:
            return _read_batch(settings, invocation)
        except psycopg.OperationalError:
            if time.monotonic() >= until:
                raise
        time.sleep(0.5)


def _read_batch(settings: Settings, invocation: str | None) -> tuple[int | None, str | None, str | None]:
    with connect(settings, "mailmart_worker") as connection:
        row = connection.execute(
            "select batch_id, status, failure_summary from app.batches where invocation_id = %s", (invocation,)
        ).fetchone()
    return row or (None, None, None)


def _end_of(ended: Ended) -> str:
    said = [line for line in ended.last_lines if line.strip()]
    return "\n".join([f"dbt ended with exit status {ended.status}", *said[-LINES_OF_A_FAILURE:]])


def _environment(settings: Settings) -> dict[str, str]:
    # what is built is what is served, whatever target a developer's shell has
    target = (
        {"MAILMART_DBT_TARGET": "production"}
        if settings.is_production
        else {
            "MAILMART_DBT_TARGET": "dev",
            "MAILMART_DBT_PREFIX": settings.target,
        }
    )
    return {**os.environ, **dbt_environment(settings), **target}


def _results_file(folder: Path) -> Path:
    return folder / "run_results.json"


def _invocation(folder: Path) -> str | None:
    """The build whose results are in the folder; None where there are none that can be read."""
    try:
        return str(orjson.loads(_results_file(folder).read_bytes())["metadata"]["invocation_id"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
