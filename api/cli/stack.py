"""Server, worker and scheduler as one command, on the embedded servers where no others are configured: up --all, and the demo."""

from __future__ import annotations

import fcntl
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from api.cli.progress import step
from api.cli.signals import StopSignal
from api.db.migrate import migrate
from api.embedded import servers
from api.embedded.watchdog import ServerWatchdog
from api.errors import MailmartError, ServerError
from api.processes.probe import answers
from api.processes.supervisor import Program, Supervisor
from api.server.granian import SHUTDOWN_TIMEOUT_SECONDS
from api.settings import Settings

SECONDS_BETWEEN_LOOKS = 0.2


def programs(*, workers: int = 1, concurrency: int = 2, with_worker: bool = True) -> list[Program]:
    """What belongs together, in the order in which it is stopped: first what takes new work, last what does it."""

    def program(name: str, *options: object, seconds_to_stop: float = 30) -> Program:
        command = [sys.executable, "-m", "api", name, "--with-parent", *map(str, options)]
        return Program(name, command, seconds_to_stop)

    return [
        program("serve", "--workers", workers, seconds_to_stop=SHUTDOWN_TIMEOUT_SECONDS + 5),
        program("scheduler"),
        *([program("worker", "--concurrency", concurrency)] if with_worker else []),
    ]


def environment_of(settings: Settings) -> dict[str, str]:
    """Where the programs find the installation, and answer."""
    return {
        "MAILMART_HOME": str(settings.home),
        "MAILMART_HOST": settings.host,
        "MAILMART_PORT": str(settings.port),
    }


@contextmanager
def started_servers(settings: Settings) -> Iterator[StopSignal]:
    """The embedded servers, migrated, while the block runs; those that ran before (`mailmart up`) are left running.

    Told to end, the block is interrupted, and this ends as if it had been done.

    Raises:
        ServerError: a server does not start.
        MailmartError: there is another one for this home folder.
    """
    endings = StopSignal()
    with _only_one(settings):
        try:
            with step("starting PostgreSQL and Valkey") as done:
                _own(settings)
                started = servers.start(settings)
                done("started" if started.postgres or started.valkey else "running already")
            with step("migrating") as done:
                applied = migrate(settings)
                done(f"{len(applied)} migrations applied" if applied else "nothing to do")
            yield endings
        except KeyboardInterrupt:
            click.echo("", err=True)
        finally:
            with endings.awaited():
                _stop(settings)


def run(
    settings: Settings,
    running: Sequence[Program],
    endings: StopSignal,
    greet: Callable[[], None],
    *,
    ready: str,
    seconds_to_come_up: float = math.inf,
) -> None:
    """Runs the programs until it is told to end, and the embedded servers with them; greets once the service answers `ready`.

    Raises:
        ServerError: it does not answer in time; the programs are stopped.
    """
    supervisor, keeper = Supervisor(running, environment_of(settings), settings.project_root), ServerWatchdog(settings)
    with endings.awaited():
        keeper.start()
        try:
            is_greeted, latest = False, time.monotonic() + seconds_to_come_up
            while not endings.was_told:
                supervisor.look()
                if keeper.has_moved:
                    keeper.has_moved = False
                    supervisor.renew()
                if not is_greeted and answers(settings, ready):
                    is_greeted = True
                    greet()
                if not is_greeted and time.monotonic() > latest:
                    raise ServerError(f"the service is not ready after {seconds_to_come_up:g} s", hint="What it said is above.")
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            with step("stopping " + ", ".join(program.name for program in running)) as done:
                supervisor.stop()
                done("stopped")
            keeper.stop()


def _own(settings: Settings) -> None:
    """Notes that the servers are ours to stop, unless they run already without us; one of us that was killed has noted it."""
    marker = settings.home / "owns_servers"
    if settings.database_url is not None and settings.redis_url is not None:
        return
    if not marker.exists() and not servers.are_running(settings):
        marker.touch()


def _stop(settings: Settings) -> None:
    marker = settings.home / "owns_servers"
    if not marker.exists():
        return
    with step("stopping Valkey and PostgreSQL") as done:
        servers.stop(settings)
        done("stopped; the data stay")
    marker.unlink()


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        file = (settings.home / "together_lock").open("a")
    except OSError as error:
        raise ServerError(
            f"cannot write to {settings.home}: {error.strerror}", hint="Set MAILMART_HOME to a folder of yours."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MailmartError(
                "a demo or an `up --all` runs here already",
                hint="Stop it with Ctrl-C, or set MAILMART_HOME to another folder for a second one.",
            ) from None
        yield
