"""mailmart demo"""

from __future__ import annotations

import dataclasses
import os
import time
from datetime import UTC, datetime

import click

from api.cli.progress import counting, step
from api.cli.stack import programs, run, started_servers
from api.errors import ServerError
from api.server.granian import check_address
from api.settings import Settings
from api.tools.demo.build import build, needs_build
from api.tools.demo.data import make_mail, missing_mail
from api.tools.demo.greeting import WORKSPACE, greeting
from api.tools.demo.key import demo_key
from api.tools.synthetic.generate import GenerateOptions

PORTS_TO_TRY = 20
SECONDS_TO_COME_UP = 60


@click.command()
@click.option(
    "--messages",
    type=click.IntRange(1),
    default=GenerateOptions().messages,
    show_default=True,
    help="How many to make the first time, over 120 days.",
)
def command(messages: int) -> None:
    """Start the servers, load mail to look at, build, make a key, and run server, worker and scheduler, until Ctrl-C.

    The second time it goes on with what is there. Servers that ran before (`mailmart up`) are left running.
    """
    settings = Settings.from_environment()
    if os.environ.get("MAILMART_PORT"):
        check_address(settings)
    with started_servers(settings) as endings:
        _load(settings, messages)
        with step("building the models (dbt build)") as done:
            is_needed = needs_build(settings)
            if is_needed:
                build(settings)
            done("published" if is_needed else "nothing has landed or changed since the last one")
        key = demo_key(settings, WORKSPACE)
        settings = _with_free_port(settings)

        def greet() -> None:
            click.echo(greeting(settings, key, datetime.now(UTC).date()))

        running = programs(with_worker=settings.is_production)
        run(settings, running, endings, greet, ready="/readyz", seconds_to_come_up=SECONDS_TO_COME_UP)


def _load(settings: Settings, messages: int) -> None:
    options = missing_mail(settings, messages, datetime.now(UTC).date())
    if options is None:
        return
    click.echo(f"  making {options.messages:,} messages of {options.days} days …", err=True)
    began = time.monotonic()
    with counting("making messages") as progress:
        events = make_mail(settings, options, progress)
    click.echo(f"✓ {options.messages:,} messages, {events:,} events ({time.monotonic() - began:.1f} s)", err=True)


def _with_free_port(settings: Settings) -> Settings:
    """The port that was asked for; without any, the first free one from the default on."""
    if os.environ.get("MAILMART_PORT"):
        return settings
    for port in range(settings.port, settings.port + PORTS_TO_TRY):
        candidate = dataclasses.replace(settings, port=port)
        try:
            check_address(candidate)
        except ServerError:
            continue
        if port != settings.port:
            click.echo(f"  port {settings.port} is taken; serving at {port}", err=True)
        return candidate
    raise ServerError(
        f"the ports {settings.port} to {settings.port + PORTS_TO_TRY - 1} are all taken",
        hint="Set MAILMART_PORT to a free one.",
    )
