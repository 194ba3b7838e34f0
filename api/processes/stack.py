"""The programs of one installation: server, intake, scheduler and worker, and the environment that they share."""

from __future__ import annotations

import os
import sys

from api.processes.supervisor import Program
from api.settings import ENV_FILE, PREFIX, PROCESS_DATABASE_URLS, Settings

# how long the server may take to finish the requests that it has accepted
SERVER_DRAIN_SECONDS = 20


def service_programs(*, workers: int = 1, concurrency: int = 2, with_worker: bool = True) -> list[Program]:
    """Server, intake, scheduler and worker, in the order in which they are stopped: new requests end first, running jobs last.

    `workers` is the number of the server's processes, `concurrency` the number of jobs that the worker runs at a time.
    """

    def program(name: str, *options: object, seconds_to_stop: float = 30) -> Program:
        command = [sys.executable, "-m", "api", name, "--with-parent", *map(str, options)]
        return Program(name, command, seconds_to_stop, _other_database_urls(name))

    return [
        program("serve", "--workers", workers, seconds_to_stop=SERVER_DRAIN_SECONDS + 5),
        program("intake", seconds_to_stop=SERVER_DRAIN_SECONDS + 5),
        program("scheduler"),
        *([program("worker", "--concurrency", concurrency)] if with_worker else []),
    ]


def _other_database_urls(process: str) -> frozenset[str]:
    """The variables with the URLs of other logins, so that who reads the environment of a process has its own login only."""
    variables = {name: PREFIX + field.upper() for name, field in PROCESS_DATABASE_URLS.items()}
    own = variables.pop(process)
    return frozenset([*variables.values(), *(["MAILMART_DATABASE_URL"] if os.environ.get(own) else [])])


def program_environment(settings: Settings) -> dict[str, str]:
    """The variables that lead the programs to this installation and to its address.

    They read no .env: their working directory can have another one than ours, and our environment has all settings.
    """
    return {
        ENV_FILE: "off",
        "MAILMART_HOME": str(settings.home),
        "MAILMART_HOST": settings.host,
        "MAILMART_PORT": str(settings.port),
        "MAILMART_INTAKE_PORT": str(settings.intake_port),
    }
