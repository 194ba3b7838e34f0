"""Asks a server on this machine one thing over and over, out of a process of its own, and measures the answers.

A process, because the clock of one that does anything else tells of that; no threads, because they wait for each other.
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
from collections.abc import Sequence
from dataclasses import dataclass

from api.errors import MailmartError

HOST = "127.0.0.1"
SECONDS_FOR_AN_ANSWER = 30
# of each connection: in a window that ends sooner the slow ones are missing
MIN_ANSWERS = 3
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
RECEIVED_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Load:
    """What is asked, and for how long.

    Attributes:
        port: of the server, on 127.0.0.1.
        request: the whole of it; one character a byte.
        status: what each answer has to have.
        connections: how many ask at the same time, each the next as soon as it has the answer.
        seconds: how long it is measured, after `warm_up` seconds; longer where few answers have come by then.
    """

    port: int
    request: str
    status: int
    connections: int
    seconds: float
    warm_up: float


@dataclass(frozen=True)
class Measured:
    """Answers a second, and in how many milliseconds half and 99 per cent of them came."""

    rate: float
    p50: float
    p99: float


def measure(load: Load) -> Measured:
    """Runs the load.

    Raises:
        MailmartError: an answer was not what it has to be, or did not come.
    """
    limit = load.warm_up + load.seconds + MIN_ANSWERS * SECONDS_FOR_AN_ANSWER
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
        raise MailmartError(f"the load did not end within {limit:.0f} s") from error
    if completed.returncode != 0:
        raise MailmartError(f"the load failed: {completed.stderr.strip().splitlines()[-1]}", hint=load.request.split("\r\n")[0])
    return Measured(**json.loads(completed.stdout))


def summary(nanoseconds: Sequence[int], seconds: float) -> Measured:
    """What so many answers in so many seconds come to. There is at least one."""
    ordered = sorted(nanoseconds)

    def share(part: float) -> float:
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] / 1e6

    return Measured(len(ordered) / seconds, share(0.5), share(0.99))


class _Connection:
    """One that asks; `asked` is when, in the clock's nanoseconds."""

    __slots__ = ("asked", "received", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=SECONDS_FOR_AN_ANSWER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.asked = 0

    def ask(self, request: bytes) -> None:
        self.asked = time.perf_counter_ns()
        self.socket.sendall(request)


def _drive(load: Load) -> Measured:
    request = load.request.encode("latin-1")
    start = f"HTTP/1.1 {load.status} ".encode()
    taken: list[int] = []
    with selectors.DefaultSelector() as selector:
        connections = [_Connection(load.port) for _ in range(load.connections)]
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        now = time.perf_counter_ns()
        counted_from = now + int(load.warm_up * 1e9)
        until = counted_from + int(load.seconds * 1e9)
        for connection in connections:
            connection.ask(request)
        asking = len(connections)
        enough = asking * MIN_ANSWERS
        counted_until = until
        # what is asked is waited for: the server would still be at it when the next measurement begins
        while asking:
            events = selector.select(SECONDS_FOR_AN_ANSWER)
            if not events:
                raise MailmartError(f"no answer within {SECONDS_FOR_AN_ANSWER} s")
            for key, _ in events:
                asked: _Connection = key.data
                if not _is_whole(asked, start, load.status):
                    continue
                now = time.perf_counter_ns()
                should_continue = now < until or len(taken) < enough
                if counted_from <= now and should_continue:
                    taken.append(now - asked.asked)
                    counted_until = max(until, now)
                if should_continue:
                    asked.ask(request)
                else:
                    asking -= 1
        for connection in connections:
            connection.socket.close()
    return summary(taken, (counted_until - counted_from) / 1e9)


def _is_whole(connection: _Connection, start: bytes, status: int) -> bool:
    """Takes what has come; whether that is the answer to its end.

    Raises:
        MailmartError: it is another one, or its end cannot be told.
    """
    arrived = connection.socket.recv(RECEIVED_AT_ONCE)
    if not arrived:
        raise MailmartError("the server closed a connection")
    answer = connection.received + arrived
    connection.received = answer
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    if not answer.startswith(start):
        raise MailmartError(f"an answer is {answer[:200]!r}")
    size = end + 4
    # a 304 has no body, whatever length it names
    if status != 304:
        length = LENGTH.search(answer, 0, end + 2)
        if length is None:
            raise MailmartError(f"an answer has no length: {answer[:end]!r}")
        size += int(length.group(1))
    if len(answer) > size:
        raise MailmartError(f"an answer has {len(answer) - size} bytes too many")
    if len(answer) < size:
        return False
    connection.received = b""
    return True


def main() -> None:
    """Reads a load from standard input and writes what it measured."""
    load = Load(**json.load(sys.stdin))
    gc.disable()
    try:
        json.dump(dataclasses.asdict(_drive(load)), sys.stdout)
    except (MailmartError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
