"""Rate limits counted from an event loop: one round trip for many requests, and what the server does wrong."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis
import uvloop

from api.auth.rate_limit_pipeline import RateLimitPipeline

Command = list[bytes]
WINDOW = 60_000_000


class Server:
    """Speaks the protocol of Redis, and counts each key up to its limit. `mistake` may reply in its place."""

    def __init__(self) -> None:
        self.reads: list[list[Command]] = []
        self.connections = 0
        self.open_connections = 0
        self.counts: dict[bytes, int] = {}
        self.is_silent = False
        self.mistake: Callable[[Command], bytes | None] = lambda command: None
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def commands(self) -> list[Command]:
        return [command for read in self.reads for command in read]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        self._writers.append(writer)
        parser = hiredis.Reader(notEnoughData=b"")
        while data := await reader.read(1 << 16):
            parser.feed(data)
            commands = []
            while command := parser.gets():
                commands.append(command)
            self.reads.append(commands)
            if not self.is_silent:
                writer.write(b"".join(self.mistake(command) or self.reply(command) for command in commands))
        self.open_connections -= 1
        writer.close()

    def reply(self, command: Command) -> bytes:
        if command[0] == b"SCRIPT":
            return b"$3\r\nabc\r\n"
        if command[0] != b"EVALSHA":
            return b"+OK\r\n"
        assert command[1] == b"abc"
        key, limit, _, requests = command[3:]
        used = self.counts.get(key, 0)
        allowed = max(0, min(int(requests), int(limit) - used))
        self.counts[key] = used + allowed
        return b"*4\r\n:%d\r\n:%d\r\n:60000000\r\n:30000000\r\n" % (allowed, int(limit) - used - allowed)

    async def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def pipeline_of(folder: Path, options: str = "", timeout: float = 5) -> AsyncIterator[tuple[Server, RateLimitPipeline]]:
    server, path = Server(), folder / "socket"
    listening = await asyncio.start_unix_server(server.serve, str(path))
    pool = redis.ConnectionPool.from_url(f"unix://{options}{path}")
    pipeline = RateLimitPipeline(lambda: pool, "return 1", timeout)
    try:
        yield server, pipeline
    finally:
        pipeline.close()
        await server.hang_up()
        listening.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """On the loop of the API, and on that of the intake."""

    async def main() -> None:
        await asyncio.wait_for(test(), 20)

    for new_event_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())


def test_requests_of_the_same_moment_share_a_round_trip(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path) as (server, pipeline):
            await pipeline.count("warm", 9, WINDOW)
            server.reads.clear()
            counted = await asyncio.gather(
                *[pipeline.count("one", 3, WINDOW) for _ in range(5)], *[pipeline.count("two", 9, WINDOW) for _ in range(2)]
            )
        (commands,) = server.reads
        assert [(command[3], command[-1]) for command in commands] == [(b"one", b"5"), (b"two", b"2")]
        # three of five are allowed; each knows its place among them
        assert [(position, allowed) for position, (allowed, *_) in counted] == [
            (0, 3),
            (1, 3),
            (2, 3),
            (3, 3),
            (4, 3),
            (0, 2),
            (1, 2),
        ]

    run(test)


def test_a_call_can_count_several_requests(tmp_path: Path) -> None:
    """Those that it shares a command with come before or after all of them."""

    async def test() -> None:
        async with pipeline_of(tmp_path) as (server, pipeline):
            counted = await asyncio.gather(*[pipeline.count("key", 5, WINDOW, requests) for requests in (2, 1, 4)])
        assert [command[-1] for command in server.commands if command[0] == b"EVALSHA"] == [b"7"]
        assert [(position, allowed) for position, (allowed, *_) in counted] == [(0, 5), (2, 5), (3, 5)]

    run(test)


def test_requests_during_a_round_trip_are_counted_after_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path) as (server, pipeline):
            await pipeline.count("key", 99, WINDOW)
            server.reads.clear()
            first = pipeline.count("key", 99, WINDOW)
            await asyncio.sleep(0)
            later = [pipeline.count("key", 99, WINDOW) for _ in range(4)]
            await asyncio.gather(first, *later)
        assert [[command[-1] for command in read] for read in server.reads] == [[b"1"], [b"4"]]
        assert server.counts == {b"key": 6}

    run(test)


def test_a_lowered_limit_is_another_command(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path) as (server, pipeline):
            await asyncio.gather(pipeline.count("key", 5, WINDOW), pipeline.count("key", 4, WINDOW))
        assert [command[3:5] for command in server.commands if command[0] == b"EVALSHA"] == [[b"key", b"5"], [b"key", b"4"]]

    run(test)


def test_an_idle_connection_that_was_lost_is_opened_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path) as (server, pipeline):
            await pipeline.count("key", 9, WINDOW)
            await server.hang_up()
            assert (await pipeline.count("key", 9, WINDOW))[1][1] == 7
        assert server.connections == 2

    run(test)


def test_a_script_that_was_flushed_is_loaded_again_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path) as (server, pipeline):
            await pipeline.count("warm", 9, WINDOW)
            loaded = len([command for command in server.commands if command[0] == b"SCRIPT"])

            def flushed(command: Command) -> bytes | None:
                is_loaded = len([command for command in server.commands if command[0] == b"SCRIPT"]) > loaded
                return None if is_loaded or command[0] != b"EVALSHA" or command[3] == b"one" else b"-NOSCRIPT No script.\r\n"

            server.mistake = flushed
            await asyncio.gather(pipeline.count("one", 9, WINDOW), pipeline.count("two", 9, WINDOW))
        assert server.counts == {b"warm": 1, b"one": 1, b"two": 1}

    run(test)


def test_a_refused_command_is_an_error_of_its_requests_alone(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path) as (server, pipeline):
            await pipeline.count("warm", 9, WINDOW)
            server.mistake = lambda command: b"-OOM command not allowed\r\n" if command[3] == b"bad" else None
            results = await asyncio.gather(
                pipeline.count("bad", 9, WINDOW), pipeline.count("good", 9, WINDOW), return_exceptions=True
            )
        assert isinstance(results[0], redis.ResponseError)
        assert results[1] == (0, [1, 8, 60_000_000, 30_000_000])

    run(test)


def test_a_silent_server_fails_all_that_wait(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path, timeout=0.1) as (server, pipeline):
            await pipeline.count("key", 9, WINDOW)
            server.is_silent = True
            first = pipeline.count("key", 9, WINDOW)
            await asyncio.sleep(0.01)
            results = await asyncio.gather(first, pipeline.count("key", 9, WINDOW), return_exceptions=True)
            assert [type(result) for result in results] == [TimeoutError, TimeoutError]
            # a late reply of the old connection would be read as another request's
            server.is_silent = False
            assert (await pipeline.count("key", 9, WINDOW))[0] == 0
        assert server.connections == 2

    run(test)


def test_a_reply_that_is_there_counts_although_the_loop_was_busy(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path, timeout=0.2) as (server, pipeline):
            await pipeline.count("key", 9, WINDOW)
            future = pipeline.count("key", 9, WINDOW)
            while server.counts[b"key"] != 2:
                await asyncio.sleep(0)
            # the reply is in the socket
            time.sleep(0.4)
            assert (await future)[1][1] == 7

    run(test)


def test_login_and_database_of_the_url(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path, options="ann:secret@") as (server, pipeline):
            await pipeline.count("key", 9, WINDOW)
            assert server.commands[0] == [b"AUTH", b"ann", b"secret"]
            await server.hang_up()
            server.mistake = lambda command: b"-WRONGPASS invalid\r\n" if command[0] == b"AUTH" else None
            with pytest.raises(redis.ResponseError, match="WRONGPASS"):
                await pipeline.count("key", 9, WINDOW)

    run(test)


def test_a_refused_login_leaves_no_connection_open(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path, options="ann:secret@") as (server, pipeline):
            server.mistake = lambda command: b"-WRONGPASS invalid\r\n" if command[0] == b"AUTH" else None
            for _ in range(5):
                with pytest.raises(redis.ResponseError, match="WRONGPASS"):
                    await pipeline.count("key", 9, WINDOW)
            await asyncio.sleep(0.02)
            assert (server.connections, server.open_connections) == (5, 0)

    run(test)


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"*2\r\n:1\r\n"], ids=["http", "nothing", "half"])
def test_what_is_no_reply_is_an_error(tmp_path: Path, reply: bytes) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path, timeout=0.1) as (server, pipeline):
            server.reply = lambda command: reply  # type: ignore[method-assign]
            with pytest.raises(OSError, match=r"no reply|not the protocol"):
                await pipeline.count("key", 9, WINDOW)

    run(test)


def test_without_a_server(tmp_path: Path) -> None:
    async def test() -> None:
        pool = redis.ConnectionPool.from_url(f"unix://{tmp_path}/nowhere")
        with pytest.raises(FileNotFoundError):
            await RateLimitPipeline(lambda: pool, "", 1).count("key", 9, WINDOW)

    run(test)


def test_a_client_that_hung_up_stops_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        async with pipeline_of(tmp_path) as (_, pipeline):
            futures: list[asyncio.Future[Any]] = [pipeline.count("key", 9, WINDOW) for _ in range(3)]
            futures[1].cancel()
            results = await asyncio.gather(*futures, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [False, True, False]

    run(test)
