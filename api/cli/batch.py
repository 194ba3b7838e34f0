"""mailmart batch"""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime

import click

from api.builds.columnstore import convert_old_chunks
from api.builds.compression import compress_old_rows
from api.builds.nightly import run_manually
from api.builds.repository import list_batches, rollback
from api.builds.retention import remove_old_rows
from api.builds.schedule import next_due
from api.builds.status import (
    BatchStatus,
    LastBuild,
    LockHolder,
    NightlyRunStatus,
    PublicationStatus,
    RetentionStatus,
    batch_status,
)
from api.plurals import counted
from api.settings import Settings

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


@click.group()
def command() -> None:
    """List builds and nightly runs, start a nightly run, roll back to an earlier build."""


@command.command("list")
@click.option("--limit", default=20, show_default=True, help="Number of builds, newest first.")
def list_command(limit: int) -> None:
    """List builds: start, duration, status, rows written. * marks the build that the API serves.

    Rows are known of builds since the publication before the current one.
    """
    batches = list_batches(Settings.from_environment(), limit)
    if not batches:
        click.echo("no builds yet: run `mailmart build`")
        return
    click.echo(f"  {'batch':>6}  {'started (UTC)':<19}  {'seconds':>7}  {'status':<9}  {'inserted':>9}  {'expired':>9}")
    for batch in batches:
        seconds = f"{(batch.ended_at - batch.started_at).total_seconds():.1f}" if batch.ended_at else ""
        click.echo(
            f"{'*' if batch.is_served else ' '} {batch.batch_id:>6}  {_utc(batch.started_at)}  {seconds:>7}"
            f"  {batch.status:<9}  {_known(batch.rows_inserted):>9}  {_known(batch.rows_expired):>9}"
        )


def _known(rows: int | None) -> str:
    return "" if rows is None else str(rows)


@command.command()
@click.option("--runs", default=7, show_default=True, type=click.IntRange(1), help="Number of nightly runs, newest first.")
def status(runs: int) -> None:
    """Show the published build, nightly runs, the models of the last build, retention, and sessions that block builds.

    Times are in UTC. A session whose open transaction has locked a table or a view for a minute can keep a build waiting.
    """
    settings = Settings.from_environment()
    now = datetime.now(UTC)
    current = batch_status(settings, runs)
    lines = [
        *_publication(current, now),
        _continuous(current, settings, now),
        "",
        *_runs(current, settings, now),
        *_last_build(current.last_build),
    ]
    lines += [*_retention(current.retention), *_lock_holders(_strangers(current))]
    if current.advisory_locks:
        lines += ["", "sessions that hold advisory locks of mailmart:", *(f"    {lock}" for lock in current.advisory_locks)]
    for line in lines:
        click.echo(line)


@command.command()
def run() -> None:
    """Start a nightly run now, in the foreground: build, publish, remove data that is older than the retention settings, and
    compress old events (MAILMART_COMPRESS_AFTER).

    A failed build is retried twice, from the node that failed.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    settings = Settings.from_environment()
    is_published = run_manually(settings, stopping, click.echo)
    for table, rows in remove_old_rows(settings, stopping).items():
        if rows:
            click.echo(f"retention has removed {counted(rows, 'row')} of {table}")
    for table, rows in (compress_old_rows(settings, stopping) or {}).items():
        if rows:
            click.echo(f"{counted(rows, 'row')} of {table} compressed")
    for chunk in convert_old_chunks(settings, stopping):
        click.echo(f"{chunk} is in the columnstore")
    if not is_published:
        click.echo("error: the run published nothing; the API still serves the previous publication", err=True)
        sys.exit(1)


@command.command("rollback")
def rollback_command() -> None:
    """Go back to the previous publication. The next successful build is published as usual."""
    click.echo(f"batch {rollback(Settings.from_environment())} is the current publication")


def _retention(tables: list[RetentionStatus]) -> list[str]:
    if not tables:
        return []
    lines = ["", "rows removed by retention:", f"    {'table':<30}  {'last run':>11}  {'in total':>11}  removed if older than"]
    for table in tables:
        state = "" if table.ended_at is not None else ", not done yet"
        rows = f"{table.rows_removed:>11}  {table.total_rows_removed:>11}"
        lines.append(f"    {table.relation:<30}  {rows}  {_utc(table.removed_until)}{state}")
        if table.oldest_kept is not None:
            lines.append(f"        older rows are kept, since {_utc(table.oldest_kept)}: no published build has read them yet")
    return lines


def _strangers(current: BatchStatus) -> list[LockHolder]:
    """The sessions that hold locks, without those of the build that is running: nobody should end it to let it go on."""
    own = current.last_build.sessions if current.last_build is not None else {}
    return [session for session in current.lock_holders if session.is_blocking or session.pid not in own]


def _lock_holders(sessions: list[LockHolder]) -> list[str]:
    if not sessions:
        return []
    lines = ["", "open transactions that hold locks:"]
    for session in sessions:
        times = (("in a transaction since", session.transaction_started_at), ("last query at", session.query_started_at))
        known = ", ".join(f"{label} {_utc(moment)}" for label, moment in times if moment is not None)
        lines += [
            f"    pid {session.pid}, login {session.login}, application {session.application or 'unknown'}"
            + (f", {session.state}" if session.state else "")
            + (", ANOTHER SESSION WAITS FOR IT" if session.is_blocking else ""),
            f"        {known or 'its start is visible to members of pg_read_all_stats only'}",
            f"        {', '.join(session.relations)}",
            f"        to end it: select pg_terminate_backend({session.pid});",
        ]
    return lines


def _publication(current: BatchStatus, now: datetime) -> list[str]:
    building = _running(current.last_build, now)
    if current.publication is None:
        return [f"nothing is published yet: {building or 'run `mailmart build`'}"]
    return [*_published(current.publication), *([building] if building else [])]


def _running(last: LastBuild | None, now: datetime) -> str | None:
    """The build that is running, if there is one."""
    if last is None or last.build.status != "running":
        return None
    seconds = (now - last.build.started_at).total_seconds()
    nodes = [node for node in last.sessions.values() if node]
    return ", ".join(
        [f"batch {last.build.batch_id} is building since {_utc(last.build.started_at)}, for {seconds:.0f} s", *nodes]
        if last.sessions
        else [f"batch {last.build.batch_id} began at {_utc(last.build.started_at)}, and has no session just now"]
    )


def _published(publication: PublicationStatus) -> list[str]:
    since, data_as_of = _utc(publication.since), _utc(publication.data_as_of)
    lines = [f"batch {publication.batch_id} is published since {since}, with all events loaded until {data_as_of}"]
    if publication.unpublished_since is not None:
        lines.append(f"not published yet: rows loaded since {_utc(publication.unpublished_since)}")
    if publication.late_after is not None:
        lines.append(
            f"its data are late since {_utc(publication.late_after)}"
            if publication.is_late
            else f"its data are late after {_utc(publication.late_after)}"
        )
    return lines


def _continuous(current: BatchStatus, settings: Settings, now: datetime) -> str:
    """How often the leading scheduler builds, whatever this command's setting is. The last turn shows whether it does."""
    continuous = current.continuous
    if continuous is None or (continuous.every_seconds is None and continuous.failures == 0):
        if settings.build_every is None:
            return "continuous builds: off"
        return f"continuous builds: none yet, and every {_interval(settings.build_every)} is set here; is a scheduler running?"
    every = "off" if continuous.every_seconds is None else f"every {_interval(continuous.every_seconds)}"
    turn = f"last turn at {_utc(continuous.checked_at)}, {(now - continuous.checked_at).total_seconds():.0f} s ago"
    if continuous.failures == 0 or continuous.failed_at is None:
        return f"continuous builds: {every}, {turn}"
    return (
        f"continuous builds: {continuous.failures} failed in a row, the last one at {_utc(continuous.failed_at)}; {every}, {turn}"
    )


def _interval(seconds: int) -> str:
    """As MAILMART_BUILD_EVERY has it: 90s, 5m, 1h."""
    return next(f"{seconds // unit}{name}" for unit, name in ((3600, "h"), (60, "m"), (1, "s")) if seconds % unit == 0)


def _runs(current: BatchStatus, settings: Settings, now: datetime) -> list[str]:
    due = f"the next nightly run is due at {_utc(next_due(now, settings.nightly_at))}"
    if not current.runs:
        return ["no nightly runs yet", due]
    head = f"{'scheduled for':<19}  {'status':<9}  {'attempts':>8}  {'seconds':>7}  {'batch':>6}"
    return [head, *(line for run in current.runs for line in _run(run, now)), due]


def _run(run: NightlyRunStatus, now: datetime) -> list[str]:
    seconds = ((run.ended_at or now) - run.started_at).total_seconds()
    summary = f"{_utc(run.scheduled_for)}  {run.status:<9}  {run.attempts:>8}  {seconds:>7.1f}  {run.batch_id or '':>6}"
    if run.is_manual:
        summary += "  by hand"
    return [summary, *(f"    {line}" for line in (run.error or "").splitlines())]


def _last_build(last: LastBuild | None) -> list[str]:
    if last is None:
        return []
    build = last.build
    lines = ["", f"the last build is batch {build.batch_id}: {build.status}"]
    if build.continues is not None:
        lines[-1] += f", continued from batch {build.continues}, which failed"
    lines += [f"    {line}" for line in (build.failure_summary or "").splitlines()]
    if last.models:
        lines.append(f"    {'model':<30}  {'inserted':>9}  {'expired':>9}  {'seconds':>7}")
    for model in last.models:
        lines.append(f"    {model.model:<30}  {model.rows_inserted:>9}  {model.rows_expired:>9}  {model.seconds:>7.1f}")
    return lines


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).strftime(TIME_FORMAT)
