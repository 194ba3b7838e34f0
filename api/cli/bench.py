"""mailmart bench"""

from __future__ import annotations

from statistics import median

import click

from api.bench.batch import History, Run, bench_batch
from api.settings import Settings


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
        ratio = _sql(longest.nightly) / _sql(shortest.nightly)
        click.echo(f"a night on {longest.days} days against one on {shortest.days} days: {ratio:.2f}")


def _show(history: History) -> None:
    first = history.first
    click.echo(f"\n{history.days} days, {history.messages:,} messages; database {first.database_bytes / 2**30:.2f} GiB")
    _table("first build", (first,))
    click.echo(f"  {history.messages / sum(first.sql.values()):,.0f} messages a second")
    _table(f"a night (median of {len(history.nightly)})", history.nightly)


def _table(title: str, runs: tuple[Run, ...]) -> None:
    plain = {step: median(run.plain[step] for run in runs) for step in runs[0].plain}
    ours = {model: median(run.sql.get(model, 0) for run in runs) for model in runs[0].sql}
    whole = median(run.whole for run in runs)
    tests = median(run.tests for run in runs)
    total, control = _sql(runs), sum(plain.values())
    click.echo(f"  {title}: models {total:.2f} s, plain SQL {control:.2f} s, ratio {total / control:.2f}")
    click.echo(f"    the whole dbt build {whole:.2f} s: data tests {tests:.2f} s of SQL, the rest is dbt itself")
    for model, seconds in sorted(ours.items(), key=lambda pair: -pair[1])[:8]:
        click.echo(f"    {model:<28}{seconds:8.2f} s")
    click.echo("    plain: " + ", ".join(f"{step} {seconds:.2f} s" for step, seconds in plain.items()))


def _sql(runs: tuple[Run, ...]) -> float:
    return median(sum(run.sql.values()) for run in runs)
