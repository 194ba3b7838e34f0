"""One attempt of a nightly run: a whole dbt build, or dbt retry if it can continue the failed build."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import orjson
import psycopg

from api.builds.repository import find_build, is_anything_published, latest_build
from api.builds.slow_payloads import exclude_slow_payloads, needs_search
from api.db.advisory_lock import AdvisoryLock
from api.dbt.build_process import ANOTHER_BUILD_IS_RUNNING, CANNOT_CONTINUE, WHOLE_BUILD_IS_NEEDED, build_command
from api.dbt.profile import dbt_environment
from api.processes.run import Ended, run_child
from api.settings import Settings

# the unit tests say nothing about the data
BUILD = ("build", "--exclude-resource-type", "unit_test")
RETRY = ("retry",)
# Everything but the views; their data tests, too. The database refuses it with WHOLE_BUILD_IS_NEEDED if the project
# or a view may have changed: see macros/versioning/kept_views.sql.
VIEWS = "config.materialized:view"
BUILD_WITHOUT_VIEWS = (*BUILD, "--exclude", VIEWS, "--indirect-selection", "empty")
KEEP_VIEWS = {"MAILMART_DBT_KEEP_VIEWS": "1"}
FAILURE_LINES = 12
# a database that restarts is available again by then; a scheduler that has to stop waits twice as long
SECONDS_TO_RECONNECT = 10.0


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt ended.

    Attributes:
        status: published; failed; busy: refused, because another build is running; stopped: by this process, or because
            another process has taken over the run.
        batch_id: its build, if it began one.
        error: what failed, one line each.
    """

    status: Literal["published", "failed", "busy", "stopped"]
    batch_id: int | None = None
    error: str | None = None


def run_attempt(
    settings: Settings,
    lock: AdvisoryLock,
    *,
    since: datetime,
    should_continue: Callable[[], bool],
    show: Callable[[str], None] | None = None,
) -> AttemptResult:
    """Builds once. Uses a folder of its own, so that no other build overwrites what dbt retry reads.

    `lock` is the lock of nightly runs, which the caller holds. A failed build is continued only if it began `since` then: what
    passed in an earlier run was about older data, and a test that always fails would be all that ever ran again.
    `should_continue` is called several times a second; dbt is stopped as soon as it returns false. `show` gets dbt's lines.

    Raises:
        psycopg.OperationalError: the database is unavailable.
    """
    folder = settings.home / "nightly" / settings.target
    folder.mkdir(parents=True, exist_ok=True)

    def run_dbt(arguments: tuple[str, ...], environment: Mapping[str, str] = MappingProxyType({})) -> Ended:
        paths = ("--target-path", str(folder), "--log-path", str(folder / "logs"))
        command = build_command(["--no-use-colors", *arguments, *paths])
        variables = {**os.environ, **dbt_environment(settings), **environment}
        return run_child(command, variables, settings.project_root, should_continue=should_continue, show=show)

    results = _read_results(folder)
    previous = _invocation(results)
    failed_batch = _batch_to_continue(lock.connection, settings.target, previous, since)
    if failed_batch is not None:
        kept = KEEP_VIEWS if VIEWS in _excluded(results) else {}
        ended = run_dbt(RETRY, {**kept, "MAILMART_DBT_MUST_CONTINUE": str(failed_batch)})
    if failed_batch is None or ended.status in (CANNOT_CONTINUE, WHOLE_BUILD_IS_NEEDED):
        # results of an earlier build say nothing about this one
        _results_file(folder).unlink(missing_ok=True)
        previous = None
        ended = _build(settings, lock, run_dbt)
    if ended.status is None:
        return AttemptResult("stopped")
    invocation = _invocation(_read_results(folder))
    result = read_result(settings, lock, ended, invocation if invocation != previous else None)
    if result.status == "failed" and needs_search(lock.connection, settings.target):
        # the next attempt then does without them
        exclude_slow_payloads(settings, should_continue=should_continue)
    return result


def _build(settings: Settings, lock: AdvisoryLock, run_dbt: Callable[..., Ended]) -> Ended:
    """Builds without the views if they have not changed, else everything."""
    if is_anything_published(lock.connection, settings.target):
        ended = run_dbt(BUILD_WITHOUT_VIEWS, KEEP_VIEWS)
        if ended.status != WHOLE_BUILD_IS_NEEDED:
            return ended
    return run_dbt(BUILD)


def _batch_to_continue(connection: psycopg.Connection, target: str, invocation: str | None, since: datetime) -> int | None:
    """The target's last build, if it failed in this run and its results are in the folder.

    Whether the project is still the same is checked when the retry begins (app.begin_batch), from what dbt has parsed.
    """
    build = latest_build(connection, target)
    if build is None or build.invocation_id != invocation or build.status != "failed" or build.started_at < since:
        return None
    return build.batch_id


def read_result(settings: Settings, lock: AdvisoryLock, ended: Ended, invocation: str | None) -> AttemptResult:
    """Reads how the build of an invocation ended. A database that is unavailable just now may have published it: it tries again.

    Raises:
        psycopg.OperationalError: the database is unavailable.
    """
    deadline = time.monotonic() + SECONDS_TO_RECONNECT
    while True:
        try:
            return _result(lock.connection, settings.target, ended, invocation)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.5)
        try:
            if not lock.acquire():
                return AttemptResult("stopped")
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                raise


def _result(connection: psycopg.Connection, target: str, ended: Ended, invocation: str | None) -> AttemptResult:
    if ended.status == ANOTHER_BUILD_IS_RUNNING:
        other = latest_build(connection, target)
        running = f"build {other.batch_id} is running since {other.started_at:%Y-%m-%d %H:%M:%S}" if other else None
        return AttemptResult("busy", error=running)
    build = find_build(connection, invocation) if invocation is not None else None
    if build is None:
        return AttemptResult("failed", error=_output_end(ended))
    if build.status == "published":
        return AttemptResult("published", build.batch_id)
    if build.status == "built":
        return AttemptResult("failed", build.batch_id, "everything that ran has passed, but that was not the whole project")
    return AttemptResult("failed", build.batch_id, build.failure_summary or _output_end(ended))


def _output_end(ended: Ended) -> str:
    lines = [line for line in ended.last_lines if line.strip()]
    return "\n".join([f"dbt ended with exit status {ended.status}", *lines[-FAILURE_LINES:]])


def _results_file(folder: Path) -> Path:
    return folder / "run_results.json"


def _read_results(folder: Path) -> dict[str, Any]:
    """What dbt wrote about the last invocation in the folder; {} if there is nothing, or it cannot be read."""
    try:
        results = orjson.loads(_results_file(folder).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return results if isinstance(results, dict) else {}


def _invocation(results: Mapping[str, Any]) -> str | None:
    """The dbt invocation of the results; None if there are none."""
    invocation = (results.get("metadata") or {}).get("invocation_id")
    return None if invocation is None else str(invocation)


def _excluded(results: Mapping[str, Any]) -> Sequence[str]:
    """What the invocation of the results has left out."""
    return (results.get("args") or {}).get("exclude") or ()
