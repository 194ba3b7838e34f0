"""mailmart generate"""

from __future__ import annotations

import time
from datetime import datetime

import click

from api.cli.progress import counting
from api.plurals import counted
from api.settings import Settings
from api.tools.synthetic.generate import GenerateOptions, generate

DEFAULTS = GenerateOptions()


@click.command()
@click.option(
    "--workspaces", type=click.IntRange(1), default=DEFAULTS.workspaces, show_default=True, help="Number of workspaces."
)
@click.option(
    "--campaigns", type=click.IntRange(1), default=DEFAULTS.campaigns, show_default=True, help="Campaigns of all workspaces."
)
@click.option(
    "--messages", type=click.IntRange(1), default=DEFAULTS.messages, show_default=True, help="Messages of all workspaces."
)
@click.option(
    "--days", type=click.IntRange(1), default=DEFAULTS.days, show_default=True, help="Days of sending, the last one is --until."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=DEFAULTS.seed,
    show_default=True,
    help="The same seed generates the same events.",
)
@click.option("--flat", is_flag=True, help="Generate no patterns: all campaigns, hours, recipients and mailboxes are alike.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last day of sending (UTC). Default: today.")
def command(workspaces: int, campaigns: int, messages: int, days: int, seed: int, flat: bool, until: datetime | None) -> None:
    """Load synthetic events: about 2.5 events a message, generated inside the database.

    97 % of the messages are delivered, 3 % bounce, 30 % are opened, 5 % clicked, 2 % replied to. Campaigns, days and hours
    differ in volume. Some events are late, duplicated, from machines, or of an unknown type. Opens depend on the hour, the
    recipient, the campaign, the step and the variant; one IP address is on a block list for three days, one mailbox has too many
    complaints, and one warms up. All of these numbers are in api/tools/synthetic. The same options load the same events again,
    which changes no metric.
    """
    options = GenerateOptions(workspaces, campaigns, messages, days, seed, until.date() if until else None, flat)
    started = time.monotonic()
    with counting("generating messages") as progress:
        events = generate(Settings.from_environment(), options, progress)
    seconds = time.monotonic() - started
    made = f"{counted(messages, 'message')}, {counted(events, 'event')}"
    click.echo(f"{made} in {seconds:.1f} s ({messages / seconds:,.0f} messages a second)")
