"""mailmart generate"""

from __future__ import annotations

import time
from datetime import datetime

import click

from api.cli.progress import counting
from api.settings import Settings
from api.tools.synthetic.generate import GenerateOptions, generate

DEFAULTS = GenerateOptions()


@click.command()
@click.option("--workspaces", type=click.IntRange(1), default=DEFAULTS.workspaces, show_default=True)
@click.option("--campaigns", type=click.IntRange(1), default=DEFAULTS.campaigns, show_default=True, help="Of all workspaces.")
@click.option("--messages", type=click.IntRange(1), default=DEFAULTS.messages, show_default=True)
@click.option("--days", type=click.IntRange(1), default=DEFAULTS.days, show_default=True, help="Up to --until.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=DEFAULTS.seed,
    show_default=True,
    help="The same seed makes the same mail.",
)
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The last day (UTC); default: today.")
def command(workspaces: int, campaigns: int, messages: int, days: int, seed: int, until: datetime | None) -> None:
    """Land synthetic mail: about two and a half events a message, made inside the database, the same for the same seed.

    Campaigns differ in size, days and hours in volume; of the mail, 97 % is delivered, 3 % bounces, 30 % is opened, 5 % clicked,
    2 % answered. Some events come late, twice, from machines, or of a type that nobody knows. All of these numbers are in
    api/tools/synthetic/distributions.py. Run again, it lands the same events again, which changes no number.
    """
    options = GenerateOptions(workspaces, campaigns, messages, days, seed, until.date() if until else None)
    began = time.monotonic()
    with counting("making messages") as progress:
        events = generate(Settings.from_environment(), options, progress)
    seconds = time.monotonic() - began
    click.echo(f"{messages:,} messages, {events:,} events in {seconds:.1f} s ({messages / seconds:,.0f} messages a second)")
