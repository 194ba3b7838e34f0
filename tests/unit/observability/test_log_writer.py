"""The log that a thread writes: complete, in order, in pieces that a pipe keeps together, and no event loop waits for it."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from select import PIPE_BUF

import pytest

from api.observability import log_writer
from api.observability.log_writer import LogWriter
from tests.support.waiting import wait_until


class Stream(io.StringIO):
    """Keeps each write apart, also after it was closed. `gate` is waited for by each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def write(self, text: str) -> int:
        self.gate.wait(20)
        self.writes.append(text)
        return len(text)

    @property
    def lines(self) -> list[str]:
        return "".join(self.writes).splitlines()


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def logger(stream: Stream) -> Iterator[logging.Logger]:
    logger = logging.Logger("test")
    writer = LogWriter(stream)
    logger.addHandler(writer)
    yield logger
    stream.gate.set()
    writer.close()


def writer_of(logger: logging.Logger) -> LogWriter:
    (writer,) = logger.handlers
    assert isinstance(writer, LogWriter)
    return writer


def wait_for_lines(stream: Stream, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(stream.lines) < count and time.monotonic() < deadline:
        time.sleep(0.001)


def test_lines_are_written_soon_complete_and_in_order(logger: logging.Logger, stream: Stream) -> None:
    for number in range(1000):
        logger.warning("line %d", number)
    wait_for_lines(stream, 1000)
    assert stream.lines == [f"line {number}" for number in range(1000)]


def test_lines_of_several_threads_are_complete(logger: logging.Logger, stream: Stream) -> None:
    def log(name: str) -> None:
        for number in range(500):
            logger.warning("%s %d", name, number)

    threads = [threading.Thread(target=log, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer_of(logger).flush()
    for name in "abcd":
        assert [line for line in stream.lines if line.startswith(name)] == [f"{name} {number}" for number in range(500)]


def test_a_line_names_what_was_true_when_it_was_logged(logger: logging.Logger, stream: Stream) -> None:
    values = [1]
    logger.warning("%s", values)
    values.append(2)
    writer_of(logger).flush()
    assert stream.lines == ["[1]"]


def test_flush_returns_when_all_is_written(logger: logging.Logger, stream: Stream) -> None:
    logger.warning("line")
    writer_of(logger).flush()
    assert stream.lines == ["line"]


def test_what_is_logged_after_the_end_is_written_at_once(logger: logging.Logger, stream: Stream) -> None:
    writer_of(logger).close()
    logger.warning("late")
    assert stream.lines == ["late"]


def test_a_line_that_is_logged_while_the_log_is_closed_stops_nobody(stream: Stream) -> None:
    logger = logging.Logger("test")
    writer = LogWriter(stream)
    logger.addHandler(writer)
    stream.gate.clear()
    logger.warning("before")
    # daemons: two that wait for each other would keep pytest from ending
    closing = threading.Thread(target=writer.close, daemon=True)
    closing.start()
    wait_until(lambda: writer._is_closed and writer._write_lock.locked(), "the last lines are written")
    late = threading.Thread(target=logger.warning, args=("meanwhile",), daemon=True)
    late.start()
    wait_until(lambda: "meanwhile\n" in writer._lines, "the line was logged")
    stream.gate.set()
    for thread in (closing, late):
        thread.join(10)
        assert not thread.is_alive()
    assert stream.lines == ["before", "meanwhile"]


def test_a_pipe_keeps_each_piece_together(logger: logging.Logger, stream: Stream) -> None:
    stream.gate.clear()
    for number in range(300):
        logger.warning("é" * number)
    logger.warning("x" * (PIPE_BUF + 1))
    stream.gate.set()
    writer_of(logger).flush()
    assert all(text.endswith("\n") for text in stream.writes)
    sizes = [len(text.encode()) for text in stream.writes]
    # a line that is too long by itself is the last one
    assert max(sizes[:-1]) <= PIPE_BUF < sizes[-1]
    # and lines are not written one by one
    assert len(sizes) < 50


def test_threads_wait_for_a_log_that_is_behind_and_an_event_loop_does_not(
    logger: logging.Logger, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MAX_WAITING_CHARACTERS", 100)
    stream.gate.clear()
    logger.warning("x" * 200)
    assert writer_of(logger).is_behind
    thread = threading.Thread(target=logger.warning, args=("of a thread",))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()

    async def log() -> None:
        logger.warning("of a loop")

    asyncio.run(log())
    stream.gate.set()
    thread.join(20)
    writer_of(logger).flush()
    assert sorted(stream.lines) == ["of a loop", "of a thread", "x" * 200]
    assert not writer_of(logger).is_behind


def test_a_line_that_cannot_be_formatted_or_written_breaks_nothing(
    logger: logging.Logger, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.warning("%d", "no number")
    stream.close()
    logger.warning("line")
    writer_of(logger).flush()
    logger.warning("another")
    writer_of(logger).flush()
    assert stream.lines == ["line", "another"]


ENDS = {
    "exit": "sys.exit(3)",
    "exception": "raise ValueError('it breaks')",
    "end of a child of multiprocessing": (
        "import multiprocessing\n"
        "def child():\n"
        "    from multiprocessing.util import Finalize\n"
        "    log = configure_server_logs(); Finalize(None, log.close, exitpriority=1)\n"
        "    logging.getLogger('x').warning('last line'); raise ValueError('it breaks')\n"
        "process = multiprocessing.get_context('fork').Process(target=child); process.start(); process.join()"
    ),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_last_line_of_a_process_is_written(end: str) -> None:
    in_parent = "" if "child" in end else "configure_server_logs(); logging.getLogger('x').warning('last line')\n"
    code = f"import logging, sys\nfrom api.observability.logs import configure_server_logs\n{in_parent}{end}"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert '"message":"last line"' in completed.stderr
    assert ("it breaks" in completed.stderr) == ("it breaks" in end)
