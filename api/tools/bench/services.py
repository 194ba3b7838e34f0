"""The service and the controls as processes, each with the same settings of granian and a port of its own."""

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

from api.cli.stack import environment_of, programs
from api.errors import MailmartError, ServerError
from api.processes.probe import answers
from api.processes.supervisor import Child, Program
from api.settings import Settings
from api.tools.bench.load import HOST
from api.tools.bench.questions import Question

# the limiter works, and is never in the way
RATE_LIMIT_FACTOR = "1000000"
LINES_OF_A_FAILURE = 20
SECONDS_TO_COME_UP = 60


@contextmanager
def service(scratch: Settings, name: str, workers: int, *, is_cached: bool) -> Iterator[int]:
    """Runs the service and gives its port.

    Raises:
        ServerError: it does not come up.
    """
    placed = dataclasses.replace(scratch, port=_free_port())
    environment = {
        **_scratch_only(),
        "MAILMART_RATE_LIMIT_FACTOR": RATE_LIMIT_FACTOR,
        # without a value: what it is by default
        "MAILMART_RESPONSE_CACHE_MB": "" if is_cached else "0",
    }
    (serve, *_) = programs(workers=workers)
    with _log(scratch, name) as output, _running(placed, serve, environment, output):
        yield placed.port


@contextmanager
def control(scratch: Settings, name: str, workers: int) -> Iterator[int]:
    """Runs one of the controls and gives its port.

    Raises:
        ServerError: it does not come up.
    """
    placed = dataclasses.replace(scratch, port=_free_port())
    program = Program(name, [sys.executable, "-m", "api.tools.bench.controls", name, str(workers)])
    with _log(scratch, name) as output, _running(placed, program, _scratch_only(), output):
        yield placed.port


@contextmanager
def _running(settings: Settings, program: Program, environment: Mapping[str, str], output: IO[bytes]) -> Iterator[None]:
    """Runs a program that answers at the settings' address, once it is ready; an empty value of the environment is as none."""
    child = Child(program, {**environment_of(settings), **environment}, settings.project_root, output)
    try:
        deadline = time.monotonic() + SECONDS_TO_COME_UP
        while not answers(settings):
            status = child.status()
            if status is not None:
                raise ServerError(f"{program.name} ended at once (exit status {status})")
            if time.monotonic() > deadline:
                raise ServerError(f"{program.name} is not ready after {SECONDS_TO_COME_UP} s")
            time.sleep(0.1)
        yield
    finally:
        child.stop()


def body_and_etag(port: int, question: Question, key: str) -> tuple[str, str]:
    """One answer's body, and its ETag or ''.

    Raises:
        MailmartError: it is not a 200.
    """
    with socket.create_connection((HOST, port), timeout=30) as connection:
        connection.sendall(question.request(key).encode("latin-1"))
        response = http.client.HTTPResponse(connection, method=question.method)
        response.begin()
        body = response.read().decode()
    if response.status != 200:
        raise MailmartError(f"{question.endpoint.name} answers {response.status}: {body[:500]}")
    return body, response.headers.get("ETag") or ""


@contextmanager
def _log(scratch: Settings, name: str) -> Iterator[IO[bytes]]:
    path = scratch.home / f"{name}.log"
    with path.open("wb") as output:
        try:
            yield output
        except ServerError as error:
            # the log goes with the scratch home
            said = path.read_text(errors="replace").splitlines()[-LINES_OF_A_FAILURE:]
            raise ServerError(error.message, hint="\n".join(said) or error.hint) from error


def _scratch_only() -> dict[str, str]:
    """Nothing of the environment's that would lead away from the scratch home's servers."""
    return {name: "" for name in ("MAILMART_DATABASE_URL", "MAILMART_REDIS_URL") if name in os.environ}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
