"""mailmart bench"""

from __future__ import annotations

from statistics import median

import click

from api.exports.formats import FORMATS
from api.settings import Settings
from api.tools.bench.api import bench_api
from api.tools.bench.batch import History, Run, bench_batch
from api.tools.bench.export import COPY, bench_export
from api.tools.bench.marts import Asked, bench_marts
from api.tools.bench.report import BARE, CACHED, NOT_MODIFIED, SQL, STATIC_BARE, STATIC_FLASK, UNCACHED, Options, Report

# what is kept in tables; the rest are views
MODELS_SHOWN = ("fct_", "dim_")


@click.group()
def command() -> None:
    """Measure, on servers of its own, beside controls of the same run."""


@command.command("batch")
@click.option(
    "--messages", type=click.IntRange(1000), default=2_000_000, show_default=True, help="Over --days: the volume of a day."
)
@click.option("--days", type=click.IntRange(30), default=120, show_default=True)
@click.option("--history", "histories", type=click.IntRange(30), multiple=True, default=(30, 120, 365), show_default=True)
@click.option("--nights", type=click.IntRange(1), default=3, show_default=True, help="Nightly runs on each; medians are shown.")
def batch(messages: int, days: int, histories: tuple[int, ...], nights: int) -> None:
    """First builds and nightly runs, against the same work in plain SQL.

    A night brings 1 % of --messages, a tenth of the events late.
    """
    measured = bench_batch(
        Settings.from_environment(), messages, days, histories, nights, lambda line: click.echo(f"  {line}", err=True)
    )
    for history in measured:
        _show(history)
    if len(measured) > 1:
        shortest, longest = min(measured, key=lambda found: found.days), max(measured, key=lambda found: found.days)
        ratio = _models(longest.nightly) / _models(shortest.nightly)
        click.echo(f"a night on {longest.days} days against one on {shortest.days} days: {ratio:.2f}")


def _show(history: History) -> None:
    first = history.first
    click.echo(
        f"\n{history.days} days, {history.messages:,} messages;"
        f" database {first.database_bytes / 2**30:.2f} GiB, at most {first.peak_bytes / 2**30:.2f} GiB while it was built"
    )
    _table("first build", (first,))
    click.echo(f"    {history.messages / first.models:,.0f} messages and {first.rows / first.models:,.0f} rows a second")
    _table(f"a night (median of {len(history.nightly)})", history.nightly)


def _table(title: str, runs: tuple[Run, ...]) -> None:
    plain = {step: median(run.plain[step] for run in runs) for step in runs[0].plain}
    ours = {model: median(run.sql.get(model, 0) for run in runs) for model in runs[0].sql}
    whole = median(run.whole for run in runs)
    tests = median(run.tests for run in runs)
    itself = median(run.whole - run.busy for run in runs)
    models, control, added = _models(runs), sum(plain.values()), sum(ours.values())
    click.echo(f"  {title}: models {models:.2f} s, plain SQL {control:.2f} s, ratio {models / control:.2f}")
    click.echo(
        f"    the whole dbt build {whole:.2f} s: data tests {tests:.2f} s of SQL, dbt itself (no statement runs) {itself:.2f} s"
    )
    click.echo(f"    each model by itself, two of which can run at the same time: {added:.2f} s, ratio {added / control:.2f}")
    shown = {model: seconds for model, seconds in ours.items() if model.startswith(MODELS_SHOWN)}
    for model, seconds in sorted(shown.items(), key=lambda pair: -pair[1]):
        click.echo(f"    {model:<28}{seconds:8.2f} s")
    click.echo(f"    {'views, seeds, hooks':<28}{added - sum(shown.values()):8.2f} s")
    click.echo("    plain: " + ", ".join(f"{step} {seconds:.2f} s" for step, seconds in plain.items()))


def _models(runs: tuple[Run, ...]) -> float:
    return median(run.models for run in runs)


@command.command("api")
@click.option("--messages", type=click.IntRange(1000), default=200_000, show_default=True)
@click.option("--days", type=click.IntRange(30), default=120, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="Of each measurement, after a warm-up."
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Of everything; medians are shown.")
@click.option("--connections", type=click.IntRange(1, 64), multiple=True, default=(1, 8, 32), show_default=True)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of the service and of each control."
)
@click.option("--endpoint", "endpoints", multiple=True, help="Its exposure's name; default: all of them.")
def api(
    messages: int,
    days: int,
    seconds: float,
    rounds: int,
    connections: tuple[int, ...],
    workers: int,
    endpoints: tuple[str, ...],
) -> None:
    """Requests a second and their times, against the same SQL in pgbench and in a bare WSGI function, and a static route."""
    options = Options(messages, days, seconds, rounds, connections, workers, endpoints)
    report = bench_api(Settings.from_environment(), options, lambda line: click.echo(f"  {line}", err=True))
    click.echo(f"\n{messages:,} messages over {days} days; {workers} worker(s); medians of {rounds} rounds of {seconds:g} s")
    _show_measured(report, connections)
    _show_ratios(report, connections)
    if report.without_etag:
        click.echo(f"\n304 is not measured, as the answer has no ETag: {', '.join(report.without_etag)}")


def _show_measured(report: Report, connections: tuple[int, ...]) -> None:
    click.echo("requests a second; ms within which half and 99 % of them were answered\n")
    click.echo(f"{'connections':<30}" + "".join(f"{number:>26}" for number in connections))
    click.echo(f"{'':<30}" + f"{'a second':>10}{'p50':>8}{'p99':>8}" * len(connections))
    for endpoint in report.endpoints:
        click.echo(f"{endpoint} ({report.body_bytes[endpoint]:,} bytes)")
        for kind in (UNCACHED, BARE, SQL, CACHED, NOT_MODIFIED):
            _show_row(report, endpoint, kind, connections)
    click.echo("controls of cached and 304")
    for kind in (STATIC_FLASK, STATIC_BARE):
        _show_row(report, "", kind, connections)


def _show_row(report: Report, endpoint: str, kind: str, connections: tuple[int, ...]) -> None:
    values = [report.value(endpoint, kind, number) for number in connections]
    cells = [f"{value.rate:>10,.0f}{value.p50:>8.2f}{value.p99:>8.2f}" for value in values if value]
    if cells:
        click.echo(f"  {kind:<28}" + "".join(cells))


def _show_ratios(report: Report, connections: tuple[int, ...]) -> None:
    click.echo("\nratios of requests a second; connections" + "".join(f"{number:>8}" for number in connections))
    for endpoint in report.endpoints:
        click.echo(endpoint)
        for kind, control in (
            (UNCACHED, (endpoint, BARE)),
            (UNCACHED, (endpoint, SQL)),
            (CACHED, ("", STATIC_FLASK)),
            (NOT_MODIFIED, ("", STATIC_FLASK)),
        ):
            ratios = [report.ratio(endpoint, kind, control, number) for number in connections]
            cells = [f"{ratio:>8.2f}" for ratio in ratios if ratio is not None]
            if cells:
                click.echo(f"  {kind + ' / ' + control[1]:<38}" + "".join(cells))


@command.command("export")
@click.option(
    "--size", "sizes", type=click.IntRange(1000), multiple=True, default=(100_000, 1_000_000, 5_000_000), show_default=True
)
@click.option("--format", "formats", type=click.Choice(list(FORMATS)), multiple=True, default=list(FORMATS), show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True, help="Of each; medians are shown.")
def export(sizes: tuple[int, ...], formats: tuple[str, ...], rounds: int) -> None:
    """Rows a second and peak memory of exports of messages, beside COPY … TO STDOUT (FORMAT csv) of the same rows.

    Each is a process of its own; COPY's is read and thrown away.
    """
    found = bench_export(Settings.from_environment(), sizes, formats, rounds, lambda line: click.echo(f"  {line}", err=True))
    smallest = min(found)
    for kinds in found.values():
        copied = median(one.rows / one.seconds for one in kinds[COPY])
        click.echo(f"\n{kinds[COPY][0].rows:,} rows")
        click.echo(f"  {'':<10}{'rows a second':>15}{'to COPY':>9}{'MB':>9}{'peak MB':>9}{f'over {smallest:,}':>16}")
        for kind, measured in kinds.items():
            rate = median(one.rows / one.seconds for one in measured)
            peak = max(one.peak for one in measured) / 1e6
            least = max(one.peak for one in found[smallest][kind]) / 1e6
            megabytes = measured[0].size / 1e6
            click.echo(f"  {kind:<10}{rate:>15,.0f}{rate / copied:>9.2f}{megabytes:>9.1f}{peak:>9.1f}{peak - least:>+13.1f} MB")


@command.command("marts")
@click.option("--messages", type=click.IntRange(1000), default=2_000_000, show_default=True, help="Of one workspace.")
@click.option("--days", type=click.IntRange(1), default=120, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Of each query; medians are shown.")
@click.option("--plans", is_flag=True, help="Show the plan of each view's slowest query.")
def marts(messages: int, days: int, rounds: int, plans: bool) -> None:
    """Each query of the API's over 90 days: its time, the facts that it reads from end to end, its plan.

    Run as the API runs it: its role, its settings, the published batch.
    """
    measured = bench_marts(Settings.from_environment(), messages, days, rounds, lambda line: click.echo(f"  {line}", err=True))
    click.echo(f"\n{messages:,} messages over {days} days in one workspace; medians of {rounds} rounds, planning and execution\n")
    for asked in measured:
        _show_asked(asked)
    slow = sum(asked.is_slow for asked in measured)
    scanning = sum(bool(asked.scanned) for asked in measured)
    click.echo(f"\n{len(measured)} queries: {slow} over their limit, {scanning} read a fact from end to end")
    if plans:
        slowest = {asked.view: asked for asked in sorted(measured, key=lambda asked: asked.milliseconds)}
        for asked in slowest.values():
            click.echo(f"\n{asked.view}, {asked.about}\n{asked.plan}")


def _show_asked(asked: Asked) -> None:
    said = ["over the limit"] if asked.is_slow else []
    said += [f"reads {fact} from end to end" for fact in asked.scanned]
    measured = f"{asked.endpoint:<20} {asked.view:<30} {asked.about:<14}{asked.milliseconds:8.2f} ms of {asked.limit:>3}"
    click.echo("  ".join([measured, *said]))
