"""mailmart demo"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click

from api.cli.progress import counting, step
from api.demo.build import build, needs_build
from api.demo.data import make_mail, missing_mail
from api.demo.greeting import WORKSPACE, greeting
from api.demo.key import demo_key
from api.demo.service import running_service
from api.embedded import servers
from api.errors import MailmartError, ServerError
from api.generate.generate import GenerateOptions
from api.migrate import migrate
from api.serving import check_address
from api.settings import Settings

PORTS_TO_TRY = 20
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option(
    "--messages",
    type=click.IntRange(1),
    default=GenerateOptions().messages,
    show_default=True,
    help="How many to make the first time, over 120 days.",
)
def command(messages: int) -> None:
    """Start the servers, load mail to look at, build, make a key, and serve, until Ctrl-C.

    The second time it goes on with what is there. Servers that ran before (`mailmart up`) are left running.
    """
    for number in ENDINGS:
        signal.signal(number, _interrupt)
    settings = Settings.from_environment()
    with _only_one(settings.home):
        try:
            if os.environ.get("MAILMART_PORT"):
                check_address(settings)
            _run(settings, messages)
        except KeyboardInterrupt:
            click.echo("", err=True)
        finally:
            _stop(settings)


def _run(settings: Settings, messages: int) -> None:
    with step("starting PostgreSQL and Valkey") as done:
        _own(settings)
        started = servers.start(settings)
        done("started" if started.postgres or started.valkey else "running already")
    with step("migrating") as done:
        applied = migrate(settings)
        done(f"{len(applied)} migrations" if applied else "nothing to do")
    _load(settings, messages)
    with step("building the models (dbt build)") as done:
        is_needed = needs_build(settings)
        if is_needed:
            build(settings)
        done("published" if is_needed else "nothing has landed or changed since the last one")
    key = demo_key(settings, WORKSPACE)
    settings = _with_free_port(settings)
    with running_service(settings) as service:
        click.echo(greeting(settings, key, datetime.now(UTC).date()))
        status = service.wait()
        raise ServerError(f"the service has ended (exit status {status})", hint="It said why above; run the demo again.")


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


def _own(settings: Settings) -> None:
    """Notes that the servers are the demo's to stop, unless they run already without it (`mailmart up`)."""
    marker = settings.home / "demo_owns_servers"
    if not marker.exists() and not servers.are_running(settings):
        marker.touch()


def _stop(settings: Settings) -> None:
    marker = settings.home / "demo_owns_servers"
    if not marker.exists():
        return
    with step("stopping Valkey and PostgreSQL") as done:
        servers.stop(settings)
        done("stopped; the data stay")
    marker.unlink()


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = (home / "demo_lock").open("a")
    except OSError as error:
        raise ServerError(f"cannot write to {home}: {error.strerror}", hint="Set MAILMART_HOME to a folder of yours.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MailmartError(
                "a demo runs here already",
                hint="Stop it with Ctrl-C, or set MAILMART_HOME to another folder for a second one.",
            ) from None
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        # the terminal is gone, and writing to it would fail
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    # the second one would break off the stopping
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt
