"""Runs the whole installation in one process: embedded servers, migrations, API server, worker, scheduler."""

from __future__ import annotations

import fcntl
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from api.cli.progress import step
from api.cli.running_settings import running_settings
from api.cli.signals import StopSignal
from api.db.migrate import migrate
from api.embedded import servers
from api.embedded.watchdog import ServerWatchdog
from api.errors import HomeNotWritable, MailmartError, ServerError, SettingsError
from api.plurals import counted
from api.processes.probe import responds
from api.processes.stack import program_environment
from api.processes.supervisor import Program, Supervisor
from api.settings import PREFIX, PROCESS_DATABASE_URLS, Settings

POLL_INTERVAL_SECONDS = 0.2


def start_and_migrate(settings: Settings) -> None:
    """Starts the embedded servers and migrates the database, showing each step.

    Raises:
        ServerError: a server does not start.
    """
    with step("starting PostgreSQL and Valkey") as done:
        started = servers.start(settings)
        done("started" if started.postgres or started.valkey else "already running")
    with step("migrating the database") as done:
        applied = migrate(settings)
        done(f"{counted(len(applied), 'migration')} applied" if applied else "up to date")


@contextmanager
def running_servers(settings: Settings) -> Iterator[StopSignal]:
    """Starts the embedded servers, migrates, and stops the servers after the block, unless they ran before (`mailmart up`).

    A signal interrupts the block; the servers are then stopped as usual. Commands in another terminal find the settings.

    Raises:
        ServerError: a server does not start.
        SettingsError: a process has a database URL of its own, and the installation has none.
        MailmartError: another process runs this installation already.
        click.exceptions.Exit: a signal arrived before everything was started.
    """
    _check_database_urls(settings)
    stop_signal = StopSignal()
    is_started = False
    with _only_one(settings):
        try:
            with running_settings(settings):
                _mark_servers(settings)
                start_and_migrate(settings)
                is_started = True
                yield stop_signal
        except KeyboardInterrupt:
            click.echo("", err=True)
            if not is_started:
                # there is nothing to run the block with
                raise click.exceptions.Exit(0) from None
        finally:
            with stop_signal.deferred():
                _stop_marked_servers(settings)


def run_programs(
    settings: Settings,
    programs: Sequence[Program],
    stop_signal: StopSignal,
    on_ready: Callable[[], None],
    *,
    ready_path: str,
    seconds_to_start: float = math.inf,
) -> None:
    """Runs the programs, and keeps the embedded servers running, until a signal arrives.

    `on_ready` is called once, when the service first responds at `ready_path`.

    Raises:
        ServerError: the service does not respond within `seconds_to_start`. The programs are stopped.
    """
    supervisor = Supervisor(programs, program_environment(settings), settings.project_root)
    watchdog = ServerWatchdog(settings)
    # again: the port can have been chosen since
    with running_settings(settings), stop_signal.deferred():
        watchdog.start()
        try:
            is_ready, deadline = False, time.monotonic() + seconds_to_start
            while not stop_signal.received:
                supervisor.poll()
                if watchdog.url_changed:
                    watchdog.url_changed = False
                    supervisor.restart_all()
                if not is_ready and responds(settings, ready_path):
                    is_ready = True
                    on_ready()
                if not is_ready and time.monotonic() > deadline:
                    raise ServerError(f"the service is not ready after {seconds_to_start:g} s", hint="Its output is above.")
                time.sleep(POLL_INTERVAL_SECONDS)
        finally:
            with step("stopping " + ", ".join(program.name for program in programs)) as done:
                supervisor.stop()
                done("stopped")
            watchdog.stop()


def _check_database_urls(settings: Settings) -> None:
    """
    Raises:
        SettingsError: a process has a database of its own, and the others would use the embedded one.
    """
    own = [field for field in PROCESS_DATABASE_URLS.values() if getattr(settings, field) is not None]
    if own and settings.database_url is None:
        raise SettingsError(
            f"{PREFIX}{own[0].upper()} is set, and MAILMART_DATABASE_URL is not",
            hint="Set MAILMART_DATABASE_URL to the login that migrates the database.",
        )


def _mark_servers(settings: Settings) -> None:
    """Records in the home folder that we start the servers and must stop them. The mark of a killed process stays valid."""
    marker = settings.home / "started_by_run"
    if settings.database_url is not None and settings.redis_url is not None:
        return
    if not marker.exists() and not servers.any_running(settings):
        marker.touch()


def _stop_marked_servers(settings: Settings) -> None:
    marker = settings.home / "started_by_run"
    if not marker.exists():
        return
    with step("stopping Valkey and PostgreSQL") as done:
        servers.stop(settings)
        done("stopped; the data are kept")
    marker.unlink()


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        file = (settings.home / "run_lock").open("a")
    except OSError as error:
        raise HomeNotWritable(settings.home, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MailmartError(
                f"`mailmart run` or `mailmart demo` is already running for {settings.home}",
                hint="Stop it with Ctrl-C, or set MAILMART_HOME to another folder to run a second one.",
            ) from None
        yield
