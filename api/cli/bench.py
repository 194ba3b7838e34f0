"""mailmart bench"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import TypeVar

import click

from api.exports.formats import FORMATS
from api.plurals import counted
from api.settings import Settings
from api.tools.bench import cube as cube_bench
from api.tools.bench.api import bench_api
from api.tools.bench.batch import History, Run, bench_batch
from api.tools.bench.erase import MeasuredErase
from api.tools.bench.export import COPY, bench_export
from api.tools.bench.fresh import bench_fresh
from api.tools.bench.intake import INTAKE, PGBENCH, STATIC, bench_intake
from api.tools.bench.marts import MeasuredQuery, bench_marts
from api.tools.bench.measured import median_ratio, medians
from api.tools.bench.node_program import is_available
from api.tools.bench.other_server import OtherServer
from api.tools.bench.postgraphile import MAILMART, POSTGRAPHILE, bench_postgraphile
from api.tools.bench.report import (
    BARE,
    CACHED,
    NOT_MODIFIED,
    PREPARED,
    SQL,
    STATIC_BARE,
    STATIC_FLASK,
    UNCACHED,
    Options,
    Report,
)
from api.tools.bench.send_time import EACH_DAY, FLAT, TUESDAY, bench_send_time

# models that are tables; all others are views
TABLE_PREFIXES = ("fct_", "dim_")


Command = TypeVar("Command", bound=Callable[..., None])


def load_options(*, seconds: float, max_connections: int = 64) -> Callable[[Command], Command]:
    """The options of a command that sends requests for a while: --connections, --rounds and --seconds."""
    options = (
        click.option(
            "--connections",
            type=click.IntRange(1, max_connections),
            multiple=True,
            default=(1, 8, 32),
            show_default=True,
            help="Number of connections.",
        ),
        click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Rounds; results are medians."),
        click.option(
            "--seconds", type=click.FloatRange(0.1, 60), default=seconds, show_default=True, help="Length of a measurement."
        ),
    )

    def decorate(function: Command) -> Command:
        # the first option is the first of the help
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def other_server_options(function: Command) -> Command:
    """The options of a command that can measure another server than an embedded one."""
    options = (
        click.option(
            "--database-url",
            envvar="MAILMART_BENCH_DATABASE_URL",
            show_envvar=True,
            help="Measure the server of this connection string instead of an embedded one, in the scratch database that it names."
            " If it does not exist, it is created, and dropped afterwards; if it does, it has to be empty.",
        ),
        click.option("--timescale", is_flag=True, help="With --database-url: as after `mailmart migrate --timescale`."),
        click.option("--citus", is_flag=True, help="With --database-url: as after `mailmart migrate --citus`."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _other_server(database_url: str | None, timescale: bool, citus: bool) -> OtherServer | None:
    if database_url:
        return OtherServer(database_url, timescale, citus)
    if timescale or citus:
        raise click.UsageError("the embedded server has no extensions: name a server with --database-url")
    return None


@click.group()
def command() -> None:
    """Measure builds, queries, the API, exports and the intake, compared with controls, on temporary embedded servers.

    `batch` and `api` can measure another server.
    """


@command.command("batch")
@click.option(
    "--messages",
    type=click.IntRange(1000),
    default=2_000_000,
    show_default=True,
    help="Messages of --days days: the daily volume of all histories.",
)
@click.option("--days", type=click.IntRange(30), default=120, show_default=True, help="Days over which --messages are sent.")
@click.option(
    "--history",
    "histories",
    type=click.IntRange(30),
    multiple=True,
    default=(30, 120, 365),
    show_default=True,
    help="Length of a history in days.",
)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Nightly runs on each history.")
@click.option(
    "--workspaces",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Workspaces that share the messages, each with 15 campaigns. On a Citus cluster, each is on one node.",
)
@click.option("--built-empty", is_flag=True, help="Also measure the first mail of a warehouse that was built while it was empty.")
@click.option(
    "--erase",
    is_flag=True,
    help="Also measure the erasure of the workspace in one transaction, while other sessions read and load.",
)
@other_server_options
def batch(
    messages: int,
    days: int,
    histories: tuple[int, ...],
    runs: int,
    workspaces: int,
    built_empty: bool,
    erase: bool,
    database_url: str | None,
    timescale: bool,
    citus: bool,
) -> None:
    """Measure first builds and nightly runs, compared with the same work in plain SQL.

    Before each nightly run, 1 % of --messages are loaded; a tenth of the events are late. Results are medians.

    Of another server, times of models are those that dbt measures. Its processor time is known if it runs on this machine.
    """
    other = _other_server(database_url, timescale, citus)
    if other is not None and erase:
        raise click.UsageError("--erase is measured on the embedded server only")
    measured = bench_batch(
        Settings.from_environment(),
        messages,
        days,
        histories,
        runs,
        lambda line: click.echo(f"  {line}", err=True),
        built_empty=built_empty,
        erase=erase,
        other=other,
        workspaces=workspaces,
    )
    for history in measured:
        _show(history)
    if len(measured) > 1:
        shortest, longest = min(measured, key=lambda history: history.days), max(measured, key=lambda history: history.days)
        ratio = _models(longest.nightly) / _models(shortest.nightly)
        click.echo(f"nightly run on {counted(longest.days, 'day')} / on {counted(shortest.days, 'day')}: {ratio:.2f}")


def _show(history: History) -> None:
    first = history.first
    click.echo(
        f"\n{history.days} days, {history.messages:,} messages;"
        f" database {first.database_bytes / 2**30:.2f} GiB"
        + (f", peak during the first build {first.peak_bytes / 2**30:.2f} GiB" if first.peak_bytes else "")
    )
    _table("first build", (first,))
    click.echo(f"    {history.messages / first.models:,.0f} messages and {first.rows / first.models:,.0f} rows a second")
    if history.first_mail is not None:
        seconds, processor = history.first_mail.models, history.first_mail.all_processors
        click.echo(
            f"  first mail of a warehouse that was built empty: models {seconds:.2f} s, ratio {seconds / first.models:.2f}"
        )
        ratio = _ratio(processor, first.all_processors)
        click.echo(f"    processor time of PostgreSQL: {processor:.2f} s with data tests, ratio {ratio}")
    _table(f"nightly run (median of {len(history.nightly)})", history.nightly)
    soon = history.nightly[0]
    click.echo(
        f"  the first of them, {history.seconds_after_load:.0f} s after {history.messages:,} messages were loaded:"
        f" models {soon.models:.2f} s, processor time {soon.all_processors:.2f} s"
    )
    if history.erase is not None:
        _show_erase(history.erase)


def _show_erase(erase: MeasuredErase) -> None:
    click.echo(
        f"  erase of the workspace, with the vacuum after it: {erase.rows:,} rows in {erase.seconds:.2f} s,"
        f" processor time of PostgreSQL {erase.processor:.2f} s, write-ahead log {erase.wal_bytes / 2**20:,.0f} MiB"
    )
    reads = ", then ".join(f"{rows:,}" for rows in erase.reads)
    click.echo(
        f"    beside it: its rows in fct_campaign_days were {reads}, slowest read {erase.slowest_read * 1000:.0f} ms;"
        f" {erase.loaded:,} loads of another workspace, slowest {erase.slowest_load * 1000:.0f} ms"
    )


def _table(title: str, runs: tuple[Run, ...]) -> None:
    plain = {step: median(run.plain[step] for run in runs) for step in runs[0].plain}
    # a model that runs in fewer than half of the builds has the median 0
    by_model = {
        model: median(run.sql.get(model, 0) for run in runs) for model in sorted({name for run in runs for name in run.sql})
    }
    wall = median(run.wall for run in runs)
    tests = median(run.tests for run in runs)
    dbt_itself = median(run.wall - run.busy for run in runs)
    models, control = _models(runs), median(sum(run.plain.values()) for run in runs)
    added = median(sum(run.sql.values()) for run in runs)
    click.echo(f"  {title}: models {models:.2f} s, plain SQL {control:.2f} s, ratio {models / control:.2f}")
    click.echo(
        f"    dbt build, wall time {wall:.2f} s: data tests {tests:.2f} s, dbt itself (no statement runs) {dbt_itself:.2f} s"
    )
    click.echo(f"    sum of all models, of which two can run at the same time: {added:.2f} s, ratio {added / control:.2f}")
    _show_processor_time(runs)
    tables = {model: seconds for model, seconds in by_model.items() if model.startswith(TABLE_PREFIXES)}
    for model, seconds in sorted(tables.items(), key=lambda pair: -pair[1]):
        click.echo(f"    {model:<28}{seconds:8.2f} s")
    others = median(sum(seconds for name, seconds in run.sql.items() if name not in tables) for run in runs)
    click.echo(f"    {'views, seeds, hooks':<28}{others:8.2f} s")
    click.echo("    plain SQL: " + ", ".join(f"{step} {seconds:.2f} s" for step, seconds in plain.items()))


def _show_processor_time(runs: tuple[Run, ...]) -> None:
    by_server = {name: median(run.processor[name] for run in runs) for name in runs[0].processor}
    if not by_server:
        click.echo("    processor time of PostgreSQL: unknown, it does not run on this machine")
        return
    processor, plain_processor = median(run.all_processors for run in runs), median(run.plain_processor for run in runs)
    click.echo(
        f"    processor time of PostgreSQL: {processor:.2f} s with data tests, plain SQL {plain_processor:.2f} s,"
        f" ratio {_ratio(processor, plain_processor)}"
    )
    if len(by_server) > 1:
        click.echo("      of it: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in by_server.items()))


def _ratio(seconds: float, control: float) -> str:
    """Of processor times, which are counted in hundredths of a second: a short run may have none."""
    return f"{seconds / control:.2f}" if control else "unknown"


def _models(runs: tuple[Run, ...]) -> float:
    return median(run.models for run in runs)


@command.command("fresh")
@click.option("--messages", type=click.IntRange(1000), default=2_000_000, show_default=True, help="Messages of the history.")
@click.option("--days", type=click.IntRange(1), default=120, show_default=True, help="Days over which they were sent.")
@click.option("--every", type=click.IntRange(10, 86_400), default=60, show_default=True, help="Seconds between two builds.")
@click.option("--rate", type=click.IntRange(2, 100_000), default=100, show_default=True, help="Events that are loaded a second.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=900, show_default=True, help="Duration in seconds.")
def fresh(messages: int, days: int, every: int, rate: int, seconds: float) -> None:
    """Measure the time from a committed row to its number in a response, with continuous builds while events are loaded.

    The number is read from the mart, as of the published batch. The API looks for a new publication once a second.
    """
    result = bench_fresh(
        Settings.from_environment(), messages, days, every, rate, seconds, lambda line: click.echo(f"  {line}", err=True)
    )
    click.echo(f"\n{messages:,} messages of history, {rate} events a second for {seconds:g} s, a build every {every} s")
    click.echo(
        f"from a committed row to its number: p50 {result.percentile(0.5):.1f} s, p95 {result.percentile(0.95):.1f} s,"
        f" longest {result.seconds[-1]:.1f} s"
    )
    click.echo(
        f"{counted(len(result.builds), 'build')}: median {median(result.builds):.1f} s, longest {max(result.builds):.1f} s"
    )


@command.command("api")
@click.option("--messages", type=click.IntRange(1000), default=200_000, show_default=True, help="Messages of one workspace.")
@click.option("--days", type=click.IntRange(30), default=120, show_default=True, help="Days of sending.")
@load_options(seconds=3.0)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of the API server and of each control."
)
@click.option("--endpoint", "endpoints", multiple=True, help="Name of an exposure. Default: all.")
@other_server_options
def api(
    messages: int,
    days: int,
    seconds: float,
    rounds: int,
    connections: tuple[int, ...],
    workers: int,
    endpoints: tuple[str, ...],
    database_url: str | None,
    timescale: bool,
    citus: bool,
) -> None:
    """Measure the API: requests a second and response times.

    The controls are the same SQL in pgbench, prepared as the service does and planned each time, a bare WSGI function and
    static routes. Of another server, only the static routes; and the processor time of a response, if it runs on this machine.
    """
    other = _other_server(database_url, timescale, citus)
    options = Options(messages, days, seconds, rounds, connections, workers, endpoints)
    report = bench_api(Settings.from_environment(), options, lambda line: click.echo(f"  {line}", err=True), other)
    click.echo(
        f"\n{messages:,} messages over {counted(days, 'day')}; {counted(workers, 'server process', 'server processes')};"
        f" {counted(rounds, 'round')} of {seconds:g} s"
    )
    _show_measured(report, connections)
    _show_ratios(report, connections)
    if report.processor:
        click.echo("\nms of PostgreSQL's processor time for a response that is not cached, one at a time")
        for endpoint, by_server in report.processor.items():
            click.echo(f"  {endpoint:<28}" + ", ".join(f"{name} {spent:.2f}" for name, spent in by_server.items()))
    elif other is not None:
        click.echo("\nthe processor time of PostgreSQL is unknown: it does not run on this machine")
    if report.without_etag:
        click.echo(f"\n304 is not measured, because the response has no ETag: {', '.join(report.without_etag)}")


@command.command("postgraphile")
@click.option("--messages", type=click.IntRange(1000), default=200_000, show_default=True, help="Messages of one workspace.")
@load_options(seconds=3.0)
def postgraphile(messages: int, connections: tuple[int, ...], rounds: int, seconds: float) -> None:
    """Measure uncached campaign analytics beside PostGraphile on the same views, which npm installs into a temporary folder.

    PostGraphile checks no key, counts no limit and writes no log. Without npm, nothing is measured.
    """
    if not is_available():
        click.echo("npm or node is missing: nothing is measured")
        return
    results = bench_postgraphile(
        Settings.from_environment(), messages, connections, rounds, seconds, lambda line: click.echo(f"  {line}", err=True)
    )
    click.echo("requests a second, medians")
    click.echo(f"{'connections':<12}{MAILMART:>20}{POSTGRAPHILE:>14}{'ratio':>8}")
    for number in connections:
        ours, theirs = ([one.rate for one in results[label, number]] for label in (MAILMART, POSTGRAPHILE))
        ratio = median_ratio(ours, theirs)
        click.echo(f"{number:<12}{median(ours):>20,.0f}{median(theirs):>14,.0f}{ratio:>8.2f}")


@command.command("cube")
@click.option("--messages", type=click.IntRange(1000), default=200_000, show_default=True, help="Messages of one workspace.")
@load_options(seconds=3.0)
def cube(messages: int, connections: tuple[int, ...], rounds: int, seconds: float) -> None:
    """Measure queries of metrics (campaign by day) beside Cube over the same fact, which npm installs into a temporary folder.

    Cube checks no key, counts no limit, and computes no totals and no intervals. Also compared with the queries' own SQL in
    pgbench, prepared and planned each time. Without npm, nothing is measured.
    """
    if not is_available():
        click.echo("npm or node is missing: nothing is measured")
        return
    results = cube_bench.bench_cube(
        Settings.from_environment(), messages, connections, rounds, seconds, lambda line: click.echo(f"  {line}", err=True)
    )
    click.echo("requests a second, medians; 50th percentile of the response times in ms\n")
    click.echo(f"{'connections':<32}" + "".join(f"{number:>20}" for number in connections))
    for label in dict.fromkeys(label for label, _ in results):
        cells = [medians(results[label, number]) for number in connections]
        click.echo(f"{label:<32}" + "".join(f"{cell.rate:>12,.0f}{cell.p50:>8.1f}" for cell in cells))
    click.echo("\nratios")
    for label, control in (
        (cube_bench.UNCACHED, cube_bench.CUBE_UNCACHED),
        (cube_bench.CACHED, cube_bench.CUBE_CACHED),
        (cube_bench.UNCACHED, cube_bench.PREPARED),
        (cube_bench.UNCACHED, cube_bench.PLANNED),
    ):
        ratios = [
            median_ratio(*([one.rate for one in results[name, number]] for name in (label, control))) for number in connections
        ]
        click.echo(f"{label + ' / ' + control:<40}" + "".join(f"{ratio:>12.2f}" for ratio in ratios))


def _show_measured(report: Report, connections: tuple[int, ...]) -> None:
    click.echo("requests a second; 50th and 99th percentile of the response times in ms\n")
    click.echo(f"{'connections':<30}" + "".join(f"{number:>26}" for number in connections))
    click.echo(f"{'':<30}" + f"{'req/s':>10}{'p50':>8}{'p99':>8}" * len(connections))
    for endpoint in report.endpoints:
        click.echo(f"{endpoint} ({report.body_bytes[endpoint]:,} bytes)")
        for label in (UNCACHED, BARE, PREPARED, SQL, CACHED, NOT_MODIFIED):
            _show_row(report, endpoint, label, connections)
    click.echo("controls for cached and 304")
    for label in (STATIC_FLASK, STATIC_BARE):
        _show_row(report, "", label, connections)


def _show_row(report: Report, endpoint: str, label: str, connections: tuple[int, ...]) -> None:
    values = [report.value(endpoint, label, number) for number in connections]
    cells = [f"{value.rate:>10,.0f}{value.p50:>8.2f}{value.p99:>8.2f}" for value in values if value]
    if cells:
        click.echo(f"  {label:<28}" + "".join(cells))


def _show_ratios(report: Report, connections: tuple[int, ...]) -> None:
    click.echo("\nratios of requests a second, by connections " + "".join(f"{number:>8}" for number in connections))
    for endpoint in report.endpoints:
        click.echo(endpoint)
        for label, control in (
            (UNCACHED, (endpoint, BARE)),
            (UNCACHED, (endpoint, PREPARED)),
            (UNCACHED, (endpoint, SQL)),
            (CACHED, ("", STATIC_FLASK)),
            (NOT_MODIFIED, ("", STATIC_FLASK)),
        ):
            ratios = [report.ratio(endpoint, label, control, number) for number in connections]
            cells = [f"{ratio:>8.2f}" for ratio in ratios if ratio is not None]
            if cells:
                click.echo(f"  {label + ' / ' + control[1]:<42}" + "".join(cells))


@command.command("export")
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(1000),
    multiple=True,
    default=(100_000, 1_000_000, 5_000_000),
    show_default=True,
    help="Number of messages to export.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(list(FORMATS)),
    multiple=True,
    default=list(FORMATS),
    show_default=True,
    help="Format of the file.",
)
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True, help="Rounds; results are medians.")
def export(sizes: tuple[int, ...], formats: tuple[str, ...], rounds: int) -> None:
    """Measure exports of messages: rows a second and peak memory, compared with COPY … TO STDOUT (FORMAT csv) of the same rows.

    Each export and each COPY runs in its own process. The output of COPY is discarded.
    """
    results = bench_export(Settings.from_environment(), sizes, formats, rounds, lambda line: click.echo(f"  {line}", err=True))
    smallest = min(results)
    for by_format in results.values():
        copied = [one.rows / one.seconds for one in by_format[COPY]]
        click.echo(f"\n{by_format[COPY][0].rows:,} rows")
        click.echo(f"  {'':<10}{'rows a second':>15}{'/ COPY':>9}{'MB':>9}{'peak MB':>9}{f'over {smallest:,}':>16}")
        for name, measured in by_format.items():
            rates = [one.rows / one.seconds for one in measured]
            peak = max(one.peak for one in measured) / 1e6
            least = max(one.peak for one in results[smallest][name]) / 1e6
            megabytes = measured[0].size / 1e6
            click.echo(
                f"  {name:<10}{median(rates):>15,.0f}{median_ratio(rates, copied):>9.2f}{megabytes:>9.1f}{peak:>9.1f}"
                f"{peak - least:>+13.1f} MB"
            )


@command.command("marts")
@click.option("--messages", type=click.IntRange(1000), default=2_000_000, show_default=True, help="Messages of one workspace.")
@click.option("--days", type=click.IntRange(1), default=120, show_default=True, help="Days of sending.")
@click.option("--campaigns", type=click.IntRange(1), default=15, show_default=True, help="Campaigns of the workspace.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds; results are medians.")
@click.option("--plans", is_flag=True, help="Show the plan of each view's slowest query.")
def marts(messages: int, days: int, campaigns: int, rounds: int, plans: bool) -> None:
    """Measure each query of the API over 90 days: its time, its sequential scans of facts, and its plan.

    Each query runs as in the API: with its role, its settings, the published batch, and a plan that its connection keeps.
    The time of planning, which a connection does once for each query, is shown beside it.
    """
    measured = bench_marts(
        Settings.from_environment(), messages, days, campaigns, rounds, lambda line: click.echo(f"  {line}", err=True)
    )
    click.echo(
        f"\n{messages:,} messages of {counted(campaigns, 'campaign')} over {counted(days, 'day')} in one workspace;"
        f" medians of {counted(rounds, 'round')}\n"
    )
    for query in measured:
        _show_query(query)
    slow = sum(query.is_slow for query in measured)
    scanning = sum(bool(query.scanned) for query in measured)
    click.echo(
        f"\n{counted(len(measured), 'query', 'queries')}: {slow} over their limit, {scanning} with a sequential scan of a fact"
    )
    if plans:
        slowest = {query.view: query for query in sorted(measured, key=lambda query: query.milliseconds)}
        for query in slowest.values():
            click.echo(f"\n{query.view}, {query.about}\n{query.plan}")


@command.command("send-time")
@click.option(
    "--seeds", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Random samples of each pattern and size."
)
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(1, 10_000_000),
    multiple=True,
    default=(26, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000),
    show_default=True,
    help="Messages of 31 days.",
)
def send_time(seeds: int, sizes: tuple[int, ...]) -> None:
    """Measure how often a best time to send is found, in mail with and without a pattern.

    The mail is that of `mailmart generate`, drawn as counts. A pattern is half as much engagement again: at 10:00 on each day, or
    on Tuesdays at 10:00.
    """
    click.echo(f"{'pattern':<18}{'messages':>12}{'named':>9}{'rightly':>9}{'too little data':>17}")
    for result in bench_send_time(
        Settings.from_environment(),
        dict.fromkeys((FLAT, EACH_DAY, TUESDAY), sizes),
        seeds,
        lambda line: click.echo(f"  {line}", err=True),
    ):
        named, right, little = (100 * part / result.seeds for part in (result.named, result.right, result.too_little_data))
        click.echo(f"{result.pattern.name:<18}{result.messages:>12,}{named:>8.1f}%{right:>8.1f}%{little:>16.1f}%")


def _show_query(query: MeasuredQuery) -> None:
    remarks = ["over the limit"] if query.is_slow else []
    remarks += [f"sequential scan of {fact}" for fact in query.scanned]
    measured = f"{query.endpoint:<20} {query.view:<30} {query.about:<14}{query.milliseconds:8.2f} ms of {query.limit:>3}"
    planned = f"planned once in {query.planning:.1f}"
    click.echo("  ".join([measured, planned, *remarks]))


@command.command("intake")
@click.option(
    "--events", type=click.IntRange(1, 10_000), multiple=True, default=(1, 10, 100), show_default=True, help="Events in a body."
)
@load_options(seconds=5.0, max_connections=512)
@click.option(
    "--memory-seconds",
    type=click.FloatRange(0, 3600),
    default=300.0,
    show_default=True,
    help="Seconds for which memory is measured under the largest bodies. 0: not measured.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of the intake.")
def intake(
    events: tuple[int, ...],
    connections: tuple[int, ...],
    rounds: int,
    seconds: float,
    memory_seconds: float,
    workers: int,
) -> None:
    """Measure the intake of webhooks: bodies a second, and response times in milliseconds.

    Compared with pgbench, which inserts the same body in a commit of its own, and with a route of the same server that only reads
    it. The ratio is to the slower of the two.
    """
    rows, memory = bench_intake(
        Settings.from_environment(),
        tuple(sorted(events)),
        tuple(sorted(connections)),
        rounds,
        seconds,
        memory_seconds,
        workers,
        lambda line: click.echo(f"  {line}", err=True),
    )
    click.echo("events  connections  bodies/s  events/s     p50     p99  route/s  pgbench/s  ratio")
    for row in rows:
        measured, route, inserts = (row.value(label) for label in (INTAKE, STATIC, PGBENCH))
        click.echo(
            f"{row.events:>6}  {row.connections:>11}  {measured.rate:>8,.0f}  {measured.rate * row.events:>8,.0f}"
            f"  {measured.p50:>6.1f}  {measured.p99:>6.1f}  {route.rate:>7,.0f}  {inserts.rate:>9,.0f}  {row.ratio:>5.2f}"
        )
    if memory is not None:
        parts = ", ".join(f"{mebibytes:.0f}" for mebibytes in memory.mebibytes)
        click.echo(f"memory during {memory.seconds:.0f} s at {memory.events_a_second:,.0f} events a second, in MiB: {parts}")
