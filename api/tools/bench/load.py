"""A load generator: sends one request to a local server again and again, and measures the responses.

It runs in its own process, so that nothing else disturbs its clock, and without threads, which would wait for each other.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, repeat

from api.errors import MailmartError
from api.tools.bench.measured import Measured, summary

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


class _Connection:
    """A connection.

    Attributes:
        sent_at: time of its last request, in nanoseconds of the performance counter.
        received: the part of a response that is there, if it comes in several.
        unsent: the part of a request that the kernel had no room for.
    """

    __slots__ = ("receive", "received", "send", "sent_at", "socket", "unsent")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=RESPONSE_TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # with a timeout, Python polls the socket before each call
        self.socket.setblocking(False)
        self.receive, self.send = self.socket.recv, self.socket.send
        self.received = self.unsent = b""
        self.sent_at = 0


def requests_of(load: Load) -> Iterator[bytes]:
    """The requests of a load, without end."""
    if not load.number:
        yield from repeat(load.request.encode("latin-1"))
    before, _, after = (part.encode("latin-1") for part in load.request.partition(load.number))
    for number in count(int(load.number)):
        yield b"%b%d%b" % (before, number, after)


def _drive(load: Load) -> Measured:
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        connections = [_Connection(load.port) for _ in range(load.connections)]
        for connection in connections:
            stack.callback(connection.socket.close)
            poll.register(connection.socket, select.EPOLLIN)
        return _exchange(load, poll, {connection.socket.fileno(): connection for connection in connections})


def _exchange(load: Load, poll: select.epoll, connections: Mapping[int, _Connection]) -> Measured:
    """Sends and receives, with as little as Python can do between a response and the next request: it shares the processors."""
    next_request = requests_of(load).__next__
    clock = time.perf_counter_ns
    times: list[int] = []
    enough = len(connections) * MIN_RESPONSES
    counted_from = clock() + int(load.warm_up * 1e9)
    until = counted_until = counted_from + int(load.seconds * 1e9)
    # the last complete response: one that is equal byte for byte is complete, too
    known = b""
    for connection in connections.values():
        connection.sent_at = clock()
        _send_rest(poll, connection, next_request())
    open_requests = len(connections)
    # wait for all responses: otherwise the server is still busy when the next measurement begins
    while open_requests:
        events = poll.poll(RESPONSE_TIMEOUT_SECONDS)
        if not events:
            raise MailmartError(f"no response within {RESPONSE_TIMEOUT_SECONDS} s")
        for descriptor, _ in events:
            connection = connections[descriptor]
            if connection.unsent:
                _send_rest(poll, connection, connection.unsent)
                continue
            response = connection.received + connection.receive(RECEIVE_BYTES)
            if response != known or not known:
                if not _is_complete(response, connection.received, load.status):
                    connection.received = response
                    continue
                known = response
            connection.received = b""
            now = clock()
            if now < until or len(times) < enough:
                if counted_from <= now:
                    times.append(now - connection.sent_at)
                    counted_until = max(until, now)
                connection.sent_at = now
                request = next_request()
                sent = connection.send(request)
                if sent < len(request):
                    _send_rest(poll, connection, request[sent:])
            else:
                open_requests -= 1
    return summary(times, (counted_until - counted_from) / 1e9)


def _send_rest(poll: select.epoll, connection: _Connection, rest: bytes) -> None:
    """Sends the rest of a request: as much as the kernel has room for, and more once it has room."""
    try:
        connection.unsent = rest[connection.send(rest) :]
    except BlockingIOError:
        connection.unsent = rest
    poll.modify(connection.socket, select.EPOLLOUT if connection.unsent else select.EPOLLIN)


def _is_complete(response: bytes, before: bytes, status: int) -> bool:
    """Whether a response is complete; `before` is what was there of it before the last data came.

    Raises:
        MailmartError: the response is wrong, or has no Content-Length.
    """
    if len(response) == len(before):
        raise MailmartError("the server closed a connection")
    end = response.find(b"\r\n\r\n")
    if end < 0:
        return False
    if not response.startswith(b"HTTP/1.1 %d " % status):
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
    return len(response) == size


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
