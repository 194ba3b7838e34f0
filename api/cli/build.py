"""mailmart build"""

from __future__ import annotations

import sys
import time

import click

from api.builds.repository import BuildRecord, find_build, written_rows
from api.builds.slow_payloads import exclude_slow_payloads, needs_search
from api.cli.progress import step
from api.db.connection import connect
from api.db.migrate import require_migrations
from api.dbt.build_report import BuildReport
from api.dbt.runner import report_build, run_dbt
from api.plurals import counted
from api.settings import Settings

# with them dbt prints something else than a build
OTHER_OUTPUT = ("-h", "--help", "-q", "--quiet", "--log-format", "--no-print")
WHAT_TO_DO = """The previous publication stays. What to do: docs/how-to/operators/nightly-builds.md#when-a-build-fails
All lines of dbt: mailmart build --verbose, or the file dbt.log in the folder logs (DBT_LOG_PATH).
Each statement of a build in that file: mailmart build --log-level-file debug"""


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.option("--verbose", is_flag=True, help="Print dbt's own lines.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(verbose: bool, arguments: tuple[str, ...]) -> None:
    """Run `dbt build` with ARGUMENTS. Publish the result if the whole project was built and every test passed.

    It prints the progress, the result, and warnings and errors in full. dbt's own output is in its log file.

    If a model that reads the raw logs fails, bodies that cannot be read in a minute are excluded, and the build is repeated.

    The target is MAILMART_TARGET: production by default. Plain `dbt build` builds the schemas of the target dev instead.
    """
    settings = Settings.from_environment()
    require_migrations(settings)
    build = _run_verbose if verbose or any(each.partition("=")[0] in OTHER_OUTPUT for each in arguments) else _run
    status = build(settings, arguments)
    if status != 0 and _needs_search(settings):
        click.echo("a model that reads the raw logs failed: looking for bodies that cannot be read", err=True)
        found = exclude_slow_payloads(settings)
        if found:
            for payload in found:
                click.echo(f"excluded: {payload.reason}", err=True)
            status = build(settings, arguments)
    sys.exit(status)


def _run_verbose(settings: Settings, arguments: tuple[str, ...]) -> int:
    return run_dbt(settings, ["build", *arguments]).returncode


def _run(settings: Settings, arguments: tuple[str, ...]) -> int:
    """Builds, and prints a short progress and the result."""
    report = BuildReport()
    started = time.monotonic()
    with step("building", report.progress) as done:
        status = report_build(settings, ["build", *arguments], report)
        done(report.counts() if status == 0 else "failed")
    for note in report.notes:
        click.echo(note, err=True)
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    if status != 0:
        for error in report.errors:
            click.echo(f"error: {error}", err=True)
        if report.skipped:
            click.echo(f"{counted(report.skipped, 'node')} skipped, because a node before failed", err=True)
        click.echo(WHAT_TO_DO, err=True)
    for line in _result(settings, report, time.monotonic() - started):
        click.echo(line)
    return status


def _result(settings: Settings, report: BuildReport, seconds: float) -> list[str]:
    """The batch and whether it is published; nothing if dbt has not begun a batch."""
    if report.invocation_id is None:
        return []
    with connect(settings, "mailmart_owner") as connection:
        build = find_build(connection, report.invocation_id)
        if build is None:
            return []
        rows = written_rows(connection, build.batch_id).rows
    return [f"batch {build.batch_id} {_outcome(build)} ({report.counts()}; {counted(rows, 'row')} written; {seconds:.1f} s)"]


def _outcome(build: BuildRecord) -> str:
    if build.status == "published":
        return "is published"
    if build.status == "built":
        return "is built but not published, because only a part of the project was selected"
    return f"has {build.status}" if build.status == "failed" else f"is {build.status}"


def _needs_search(settings: Settings) -> bool:
    with connect(settings, "mailmart_owner") as connection:
        return needs_search(connection, settings.target)
