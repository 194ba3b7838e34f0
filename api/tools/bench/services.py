"""Runs the service and the controls as processes, each with the same settings of granian and its own port."""

from __future__ import annotations

import dataclasses
import http.client
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from api.errors import MailmartError, ServerError
from api.processes.probe import responds
from api.processes.stack import program_environment, service_programs
from api.processes.supervisor import ChildProcess, Program
from api.settings import Settings
from api.tools.bench.load import HOST
from api.tools.bench.requests import BenchRequest

# the rate limiter counts, but never limits
RATE_LIMIT_FACTOR = "1000000"
MAX_FAILURE_LINES = 20
START_TIMEOUT_SECONDS = 60


@contextmanager
def service(scratch: Settings, name: str, workers: int, *, is_cached: bool) -> Iterator[int]:
    """Runs the service and yields its port.

    Raises:
        ServerError: it does not start.
    """
    (serve, *_) = service_programs(workers=workers)
    # empty: the default
    with run_program(scratch, dataclasses.replace(serve, name=name), MAILMART_RESPONSE_CACHE_MB="" if is_cached else "0") as port:
        yield port


@contextmanager
def control(scratch: Settings, name: str, workers: int) -> Iterator[int]:
    """Runs one of the controls and yields its port.

    Raises:
        ServerError: it does not start.
    """
    with run_program(scratch, Program(name, [sys.executable, "-m", "api.tools.bench.controls", name, str(workers)])) as port:
        yield port


@contextmanager
def run_program(scratch: Settings, program: Program, **variables: str) -> Iterator[int]:
    """Runs a program that listens on MAILMART_PORT, or on the intake's port, and yields the port. Its log has its name.

    Raises:
        ServerError: it does not start.
    """
    port = free_port()
    placed = dataclasses.replace(scratch, port=port, intake_port_or_none=port)
    environment = {**environment_of_servers(scratch), "MAILMART_RATE_LIMIT_FACTOR": RATE_LIMIT_FACTOR, **variables}
    with _log(scratch, program.name) as output, _running(placed, program, environment, output):
        yield port


@contextmanager
def _running(settings: Settings, program: Program, environment: Mapping[str, str], output: IO[bytes]) -> Iterator[None]:
    """Runs a program and waits until it responds on the settings' host and port. An empty variable counts as unset."""
    child = ChildProcess(program, {**program_environment(settings), **environment}, settings.project_root, output)
    try:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not responds(settings):
            status = child.status()
            if status is not None:
                raise ServerError(f"{program.name} ended during its start (exit status {status})")
            if time.monotonic() > deadline:
                raise ServerError(f"{program.name} is not ready after {START_TIMEOUT_SECONDS} s")
            time.sleep(0.1)
        yield
    finally:
        child.stop()


def body_and_etag(port: int, request: BenchRequest, key: str) -> tuple[str, str]:
    """Body of one response, and its ETag or ''.

    Raises:
        MailmartError: the status is not 200.
    """
    return send(port, request.to_http(key), request.endpoint.name)


def send(port: int, request: str, name: str) -> tuple[str, str]:
    """Sends a whole HTTP request. Body of the response, and its ETag or ''.

    Raises:
        MailmartError: the status is not 200.
    """
    with socket.create_connection((HOST, port), timeout=30) as connection:
        connection.sendall(request.encode("latin-1"))
        response = http.client.HTTPResponse(connection, method=request.split(" ", 1)[0])
        response.begin()
        body = response.read().decode()
    if response.status != 200:
        raise MailmartError(f"{name} responds with {response.status}: {body[:500]}")
    return body, response.headers.get("ETag") or ""


@contextmanager
def _log(scratch: Settings, name: str) -> Iterator[IO[bytes]]:
    path = scratch.home / f"{name}.log"
    with path.open("wb") as output:
        try:
            yield output
        except ServerError as error:
            # the log is deleted with the home folder
            last_lines = path.read_text(errors="replace").splitlines()[-MAX_FAILURE_LINES:]
            raise ServerError(error.message, hint="\n".join(last_lines) or error.hint) from error


def environment_of_servers(scratch: Settings) -> dict[str, str]:
    """Unsets the URLs of other servers, so that those of the scratch settings are used, by default the embedded ones."""
    names = [name for name in os.environ if name.startswith("MAILMART_") and name.endswith(("DATABASE_URL", "REDIS_URL"))]
    return {**dict.fromkeys(names, ""), **({"MAILMART_DATABASE_URL": scratch.database_url} if scratch.database_url else {})}


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
