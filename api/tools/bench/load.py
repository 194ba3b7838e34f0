"""A load generator: sends one request to a local server again and again, and measures the responses.

It runs in its own process, so that nothing else disturbs its clock, and without threads, which would wait for each other.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, repeat

from api.errors import MailmartError

HOST = "127.0.0.1"
RESPONSE_TIMEOUT_SECONDS = 30
# responses on each connection: a shorter measurement would miss slow responses
MIN_RESPONSES = 3
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
RECEIVE_BYTES = 1 << 18


@dataclass(frozen=True)
class Load:
    """A request, and for how long to send it.

    Attributes:
        port: port of the server on 127.0.0.1.
        request: the whole HTTP request in Latin-1.
        status: expected status of each response.
        connections: number of connections; each sends the next request as soon as it has the response.
        seconds: length of the measurement after `warm_up` seconds; longer if there are too few responses by then.
        number: digits in `request` in whose place each request has the next number, so that no two are equal; '' for none.
    """

    port: int
    request: str
    status: int
    connections: int
    seconds: float
    warm_up: float
    number: str = ""


@dataclass(frozen=True)
class Measured:
    """Responses a second, and the 50th and 99th percentile of their times in milliseconds."""

    rate: float
    p50: float
    p99: float


def measure(load: Load) -> Measured:
    """Runs the load.

    Raises:
        MailmartError: a response is wrong, or does not come in time.
    """
    limit = load.warm_up + load.seconds + MIN_RESPONSES * RESPONSE_TIMEOUT_SECONDS
    try:
        completed = subprocess.run(
            [sys.executable, "-m", "api.tools.bench.load"],
            input=json.dumps(dataclasses.asdict(load)),
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MailmartError(f"the load generator did not end within {limit:.0f} s") from error
    if completed.returncode != 0:
        raise MailmartError(
            f"the load generator failed: {completed.stderr.strip().splitlines()[-1]}", hint=load.request.split("\r\n")[0]
        )
    return Measured(**json.loads(completed.stdout))


def summary(nanoseconds: Sequence[int], seconds: float) -> Measured:
    """Rate and percentiles of the times of at least one response, which all came within `seconds`."""
    ordered = sorted(nanoseconds)

    def percentile(share: float) -> float:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1e6

    return Measured(len(ordered) / seconds, percentile(0.5), percentile(0.99))


class _Connection:
    """A connection. `sent_at` is the time of its last request, in nanoseconds of the performance counter."""

    __slots__ = ("received", "sent_at", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=RESPONSE_TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.sent_at = 0

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter_ns()
        self.socket.sendall(request)


def requests_of(load: Load) -> Iterator[bytes]:
    """The requests of a load, without end."""
    if not load.number:
        yield from repeat(load.request.encode("latin-1"))
    before, _, after = (part.encode("latin-1") for part in load.request.partition(load.number))
    for number in count(int(load.number)):
        yield b"%b%d%b" % (before, number, after)


def _drive(load: Load) -> Measured:
    requests = requests_of(load)
    start = f"HTTP/1.1 {load.status} ".encode()
    times: list[int] = []
    with selectors.DefaultSelector() as selector:
        connections = [_Connection(load.port) for _ in range(load.connections)]
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        now = time.perf_counter_ns()
        counted_from = now + int(load.warm_up * 1e9)
        until = counted_from + int(load.seconds * 1e9)
        for connection in connections:
            connection.send(next(requests))
        open_requests = len(connections)
        enough = open_requests * MIN_RESPONSES
        counted_until = until
        # wait for all responses: otherwise the server is still busy when the next measurement begins
        while open_requests:
            events = selector.select(RESPONSE_TIMEOUT_SECONDS)
            if not events:
                raise MailmartError(f"no response within {RESPONSE_TIMEOUT_SECONDS} s")
            for key, _ in events:
                connection = key.data
                if not _is_complete(connection, start, load.status):
                    continue
                now = time.perf_counter_ns()
                should_continue = now < until or len(times) < enough
                if counted_from <= now and should_continue:
                    times.append(now - connection.sent_at)
                    counted_until = max(until, now)
                if should_continue:
                    connection.send(next(requests))
                else:
                    open_requests -= 1
        for connection in connections:
            connection.socket.close()
    return summary(times, (counted_until - counted_from) / 1e9)


def _is_complete(connection: _Connection, start: bytes, status: int) -> bool:
    """Receives data; True if the response is complete.

    Raises:
        MailmartError: the response is wrong, or has no Content-Length.
    """
    arrived = connection.socket.recv(RECEIVE_BYTES)
    if not arrived:
        raise MailmartError("the server closed a connection")
    response = connection.received + arrived
    connection.received = response
    end = response.find(b"\r\n\r\n")
    if end < 0:
        return False
    if not response.startswith(start):
        raise MailmartError(f"unexpected response: {response[:200]!r}")
    size = end + 4
    # a 304 has no body, but may have a Content-Length
    if status != 304:
        length = LENGTH.search(response, 0, end + 2)
        if length is None:
            raise MailmartError(f"a response has no Content-Length: {response[:end]!r}")
        size += int(length.group(1))
    if len(response) > size:
        raise MailmartError(f"a response has {len(response) - size} bytes too many")
    if len(response) < size:
        return False
    connection.received = b""
    return True


def main() -> None:
    """Reads a load from standard input and writes the result as JSON."""
    load = Load(**json.load(sys.stdin))
    gc.disable()
    try:
        json.dump(dataclasses.asdict(_drive(load)), sys.stdout)
    except (MailmartError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
