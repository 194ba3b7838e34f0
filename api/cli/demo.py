"""mailmart demo"""

from __future__ import annotations

import dataclasses
import os
import time
from datetime import UTC, datetime

import click

from api.cli.progress import counting, step
from api.cli.stack import run_programs, running_servers
from api.errors import ServerError
from api.pages.chart_bundle import ChartBundle, ChartBundleUnavailable
from api.plurals import counted
from api.processes.stack import service_programs
from api.server.listening import check_address
from api.settings import Settings
from api.tools.demo.build import build, needs_build
from api.tools.demo.data import generate_data, missing_data
from api.tools.demo.greeting import WORKSPACE, greeting
from api.tools.demo.key import demo_key
from api.tools.synthetic.generate import GenerateOptions

PORTS_TO_TRY = 20
SECONDS_TO_START = 60


@click.command()
@click.option(
    "--messages",
    type=click.IntRange(1),
    default=GenerateOptions().messages,
    show_default=True,
    help="Number of messages on the first start, over 120 days.",
)
def command(messages: int) -> None:
    """Run everything with synthetic mail, until Ctrl-C: servers, events, build, API key, API server, intake, worker, scheduler.

    A later start reuses what exists. Servers that ran before (`mailmart up`) keep running.
    """
    settings = Settings.from_environment()
    if os.environ.get("MAILMART_PORT"):
        check_address(settings)
        check_address(settings.for_intake_address(), "MAILMART_INTAKE_PORT")
    with running_servers(settings) as stop_signal:
        _generate_missing_data(settings, messages)
        with step("building the models (dbt build)") as done:
            is_needed = needs_build(settings)
            if is_needed:
                build(settings)
            done("published" if is_needed else "up to date")
        with step("preparing the pages' charts") as done:
            # else the first person who opens a page waits for it
            try:
                ChartBundle(settings.home).file()
                done("ready")
            except ChartBundleUnavailable as error:
                done(f"not ready: {error.message}")
        key = demo_key(settings, WORKSPACE)
        settings = _with_free_port(settings)

        def greet() -> None:
            click.echo(greeting(settings, key, datetime.now(UTC).date()))

        programs = service_programs(with_worker=settings.is_production)
        run_programs(settings, programs, stop_signal, greet, ready_path="/readyz", seconds_to_start=SECONDS_TO_START)


def _generate_missing_data(settings: Settings, messages: int) -> None:
    options = missing_data(settings, messages, datetime.now(UTC).date())
    if options is None:
        return
    click.echo(f"  generating {counted(options.messages, 'message')} of {counted(options.days, 'day')} …", err=True)
    started = time.monotonic()
    with counting("generating messages") as progress:
        events = generate_data(settings, options, progress)
    click.echo(
        f"✓ {counted(options.messages, 'message')}, {counted(events, 'event')} ({time.monotonic() - started:.1f} s)", err=True
    )


def _with_free_port(settings: Settings) -> Settings:
    """The settings with MAILMART_PORT; if that is not set, with the first free port from the default on.

    The intake listens on the port ten higher.
    """
    if os.environ.get("MAILMART_PORT"):
        return settings
    for port in range(settings.port, settings.port + PORTS_TO_TRY):
        candidate = dataclasses.replace(settings, port=port)
        try:
            check_address(candidate)
            check_address(candidate.for_intake_address(), "MAILMART_INTAKE_PORT")
        except ServerError:
            continue
        if port != settings.port:
            click.echo(f"  port {settings.port} is taken; using port {port}", err=True)
        return candidate
    raise ServerError(
        f"the ports {settings.port} to {settings.port + PORTS_TO_TRY - 1} are all taken",
        hint="Set MAILMART_PORT to a free one.",
    )
