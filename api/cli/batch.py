"""mailmart batch"""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime

import click

from api.builds.nightly import run_manually
from api.builds.repository import list_batches, rollback
from api.builds.schedule import next_due
from api.builds.status import BatchStatus, LastBuild, NightlyRunStatus, PublicationStatus, batch_status
from api.settings import Settings

SECOND = "%Y-%m-%d %H:%M:%S"


@click.group()
def command() -> None:
    """The builds, which of them is served, and the nightly runs."""


@command.command("list")
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
def list_command(limit: int) -> None:
    """List the builds: when, how long, how they ended, what they wrote; * is the one that is served."""
    batches = list_batches(Settings.from_environment(), limit)
    if not batches:
        click.echo("no builds yet: run `mailmart build`")
        return
    click.echo(f"  {'batch':>6}  {'started (UTC)':<19}  {'seconds':>7}  {'status':<9}  {'inserted':>9}  {'expired':>9}")
    for batch in batches:
        seconds = f"{(batch.ended_at - batch.started_at).total_seconds():.1f}" if batch.ended_at else ""
        click.echo(
            f"{'*' if batch.is_served else ' '} {batch.batch_id:>6}  {_utc(batch.started_at)}  {seconds:>7}"
            f"  {batch.status:<9}  {batch.rows_inserted:>9}  {batch.rows_expired:>9}"
        )


@command.command()
@click.option("--runs", default=7, show_default=True, type=click.IntRange(1), help="How many nightly runs, newest first.")
def status(runs: int) -> None:
    """Show what is served, the last nightly runs, when the next one is due, and the models of the last build (times in UTC)."""
    settings = Settings.from_environment()
    now = datetime.now(UTC)
    found = batch_status(settings, runs)
    for line in [*_publication(found.publication), "", *_runs(found, settings, now), *_last_build(found.last_build)]:
        click.echo(line)


@command.command()
def run() -> None:
    """Make the nightly run now, in the foreground: build and publish; what fails is tried again from where it failed, twice."""
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    if not run_manually(Settings.from_environment(), ending, click.echo):
        click.echo("error: nothing was published; what was served is served on", err=True)
        sys.exit(1)


@command.command("rollback")
def rollback_command() -> None:
    """Serve the publication before the one that is served. The next build publishes as ever."""
    click.echo(f"batch {rollback(Settings.from_environment())} is served")


def _publication(publication: PublicationStatus | None) -> list[str]:
    if publication is None:
        return ["nothing is served yet: run `mailmart build`"]
    batch = publication
    lines = [f"batch {batch.batch_id} is served since {_utc(batch.since)}, with all events loaded by {_utc(batch.data_as_of)}"]
    if batch.late_after is not None:
        lines.append(f"late since {_utc(batch.late_after)}" if batch.is_late else f"not late until {_utc(batch.late_after)}")
    return lines


def _runs(found: BatchStatus, settings: Settings, now: datetime) -> list[str]:
    due = f"the next nightly run is due at {_utc(next_due(now, settings.nightly_at))}"
    if not found.runs:
        return ["no nightly runs yet", due]
    head = f"{'nightly run of':<19}  {'status':<9}  {'attempts':>5}  {'seconds':>7}  {'batch':>6}"
    return [head, *(line for run in found.runs for line in _run(run, now)), due]


def _run(run: NightlyRunStatus, now: datetime) -> list[str]:
    seconds = ((run.ended_at or now) - run.started_at).total_seconds()
    line = f"{_utc(run.scheduled_for)}  {run.status:<9}  {run.attempts:>5}  {seconds:>7.1f}  {run.batch_id or '':>6}"
    if run.is_manual:
        line += "  by hand"
    return [line, *(f"    {said}" for said in (run.error or "").splitlines())]


def _last_build(last: LastBuild | None) -> list[str]:
    if last is None:
        return []
    build = last.build
    lines = ["", f"the last build is batch {build.batch_id}: {build.status}"]
    if build.continues is not None:
        lines[-1] += f", continuing batch {build.continues}, which failed"
    lines += [f"    {said}" for said in (build.failure_summary or "").splitlines()]
    if last.models:
        lines.append(f"    {'model':<30}  {'inserted':>9}  {'expired':>9}  {'seconds':>7}")
    for model in last.models:
        lines.append(f"    {model.model:<30}  {model.rows_inserted:>9}  {model.rows_expired:>9}  {model.seconds:>7.1f}")
    return lines


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(SECOND)
