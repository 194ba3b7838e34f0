"""Stores bodies of webhooks. Concurrent bodies share a commit; a body that PostgreSQL cannot store fails alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import psycopg

from api.auth.rate_limit import RateLimiter
from api.errors import ApiError, RateLimitExceeded, WarehouseUnavailable
from api.ingest.batches import ERRORS_OF_DATA, bad_body_of
from api.ingest.reader import MAX_KEPT_CHARACTERS
from api.intake.batch_store import MAX_RECONNECT_SECONDS, BatchNotConfirmed, Body, Permission
from api.intake.metrics import INTAKE_BATCH_BODIES
from api.intake.source_counts import SourceCounts

LOG = logging.getLogger(__name__)
UNAVAILABLE = "The database is unavailable; send the webhook again."
MAX_BATCH_BODIES = 500
MAX_BATCH_CHARACTERS = 8 * 1024 * 1024
# while one batch is committed, another one is parsed; not for small ones, which cost less if more of them share a transaction
CONNECTIONS = 2
MIN_CHARACTERS_FOR_ANOTHER = 128 * 1024
# deliveries for which a batch waits if as many came together a moment ago; a batch of more costs hardly less for each of them
ENOUGH_DELIVERIES = 16
# the longest wait for them: less than two commits
MAX_GATHER_SECONDS = 0.001
# after a request above its rate, batches are stored once they are counted, for so long
COUNT_FIRST_SECONDS = 1.0
# during an outage, the database is tried once in so many seconds
RETRY_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class Rejection:
    """Why a body was not stored; problem `no_source` if its source is revoked."""

    problem: str
    reason: str


class Finish(Protocol):
    """What a delivery calls at its end. Raises nothing."""

    def __call__(self, rejections: Sequence[Rejection], error: ApiError | None = None) -> object: ...


class Store(Protocol):
    """What stores a batch in one transaction: see BatchStore."""

    async def store(
        self, bodies: Sequence[Body], *, reconnect_seconds: float, permission: Permission | None = None
    ) -> list[tuple[int, str, str]] | None: ...

    def close(self) -> None: ...


class Delivery:
    """The bodies of one request.

    Attributes:
        bodies: of one source.
        requests_per_minute: the rate above which a request is refused; None if this one is not counted.
        characters: of all texts together.
        finish: called once: with the rejections among its bodies, or with why they are not stored.
    """

    __slots__ = ("bodies", "characters", "finish", "requests_per_minute")

    def __init__(self, bodies: Sequence[Body], requests_per_minute: int | None = None) -> None:
        self.bodies = bodies
        self.requests_per_minute = requests_per_minute
        self.characters = sum([len(body.text) for body in bodies])
        self.finish: Finish = _ignore


class _NotPermitted(Exception):
    """Some of a batch is above the rate of its source."""


class _Entry(NamedTuple):
    """A body, and the delivery that it is of."""

    delivery: Delivery
    body: Body


class Writer:
    """Writes over a few connections, each one batch at a time. While batches are stored, the next one gathers."""

    def __init__(
        self,
        stores: Sequence[Store],
        counts: SourceCounts,
        limiter: RateLimiter,
        *,
        while_storing: Callable[[], object] = lambda: None,
    ) -> None:
        """`while_storing` is called each time that a batch is on its way: for work that no response waits for."""
        self._stores = tuple(stores)
        self._idle = list(stores)
        self._counts = counts
        self._limiter = limiter
        self._while_storing = while_storing
        self._pending: deque[Delivery] = deque()
        self._pending_characters = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_waking = False
        # the deliveries of the last batch, and those that waited at its end: their clients may send again at once
        self._expected = 0
        self._gathering: asyncio.Future[None] | None = None
        # a source that sends too much will do so in a moment, too
        self._count_first_until = 0.0
        self._retry_at = 0.0
        self._is_unavailable = False

    def put(self, delivery: Delivery, finish: Finish) -> None:
        """Puts a delivery at the end of the queue. A batch is counted for the rates of its sources before it is stored.

        `finish` is called with its rejections once it is stored, or with an error:
            WarehouseUnavailable: it is not stored, as far as this process can know.
            RateLimitExceeded: it is not stored, because its source sent too many requests.
        """
        delivery.finish = finish
        self._pending.append(delivery)
        self._pending_characters += delivery.characters
        if self._gathering is not None:
            if self._is_gathered():
                _end(self._gathering)
        elif not self._is_waking:
            self._is_waking = True
            # after all requests of this turn of the loop are pending
            asyncio.get_running_loop().call_soon(self._wake)

    async def store(self, delivery: Delivery) -> Sequence[Rejection]:
        """As `put`: returns the rejections, or raises the error."""
        stored: asyncio.Future[Sequence[Rejection]] = asyncio.get_running_loop().create_future()

        def finish(rejections: Sequence[Rejection], error: ApiError | None = None) -> None:
            # who waits for it may have hung up
            if stored.done():
                return
            if error is None:
                stored.set_result(rejections)
            else:
                stored.set_exception(error)

        self.put(delivery, finish)
        return await stored

    def close(self) -> None:
        """Closes the connections."""
        for store in self._stores:
            store.close()

    def _wake(self) -> None:
        self._is_waking = False
        if self._pending and self._idle and (len(self._idle) == len(self._stores) or self._is_much_pending()):
            self._start(self._write(self._idle.pop()))

    def _is_much_pending(self) -> bool:
        return self._pending_characters >= MIN_CHARACTERS_FOR_ANOTHER

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, store: Store) -> None:
        try:
            while self._pending and self._gathering is None:
                await self._gather()
                deliveries = self._next_batch()
                # the other connection may have taken them
                if deliveries:
                    await self._write_batch(store, deliveries)
                    self._expected = min(len(deliveries) + len(self._pending), ENOUGH_DELIVERIES)
        finally:
            self._idle.append(store)

    async def _gather(self) -> None:
        """Waits for as many deliveries as came together before, but not for long. One that comes alone does not wait."""
        if self._is_gathered():
            return
        loop = asyncio.get_running_loop()
        self._gathering = gathering = loop.create_future()
        timer = loop.call_later(MAX_GATHER_SECONDS, _end, gathering)
        try:
            await gathering
        finally:
            timer.cancel()
            self._gathering = None

    def _is_gathered(self) -> bool:
        return len(self._pending) >= self._expected or self._is_much_pending()

    def _next_batch(self) -> list[Delivery]:
        """Takes deliveries from the queue up to the size of a batch. A larger delivery becomes a batch of its own."""
        deliveries: list[Delivery] = []
        bodies = characters = 0
        while self._pending:
            delivery = self._pending[0]
            bodies += len(delivery.bodies)
            characters += delivery.characters
            if deliveries and (bodies > MAX_BATCH_BODIES or characters > MAX_BATCH_CHARACTERS):
                break
            deliveries.append(self._pending.popleft())
            self._pending_characters -= delivery.characters
        return deliveries

    async def _write_batch(self, store: Store, deliveries: Sequence[Delivery]) -> None:
        counting: asyncio.Future[Sequence[Delivery]] | None = None
        try:
            now = time.monotonic()
            if now < self._retry_at:
                raise WarehouseUnavailable(UNAVAILABLE)
            counting = asyncio.ensure_future(self._within_rates(deliveries))
            stored = await self._store_while_counting(store, deliveries, counting) if now >= self._count_first_until else None
            deliveries = await counting
            if stored is None:
                if not deliveries:
                    return
                self._while_storing()
                entries = _entries(deliveries)
                stored = entries, await self._store(store, entries)
        except WarehouseUnavailable as error:
            _finish(deliveries if counting is None else await counting, error)
            return
        # a bug: nobody may wait for ever
        except BaseException as error:
            LOG.exception("bodies could not be stored")
            if counting is not None and not counting.cancel() and not counting.cancelled() and counting.exception() is None:
                deliveries = counting.result()
            _finish(deliveries, WarehouseUnavailable(UNAVAILABLE))
            if not isinstance(error, Exception):
                raise
            return
        entries, rejections = stored
        of_delivery: dict[int, list[Rejection]] = {}
        for entry, rejection in rejections:
            of_delivery.setdefault(id(entry.delivery), []).append(rejection)
        for delivery in deliveries:
            _finish_one(delivery, of_delivery.get(id(delivery), ()))
        self._count(entries, rejections)

    async def _store_while_counting(
        self, store: Store, deliveries: Sequence[Delivery], counting: asyncio.Future[Sequence[Delivery]]
    ) -> tuple[list[_Entry], list[tuple[_Entry, Rejection]]] | None:
        """Stores a batch, and commits it if all of it is within the rates. None if it is not stored, and has to be counted first.

        Raises:
            WarehouseUnavailable: it is not stored.
        """

        async def are_all_within() -> bool:
            return len(await counting) == len(deliveries)

        entries = _entries(deliveries)
        self._while_storing()
        try:
            return entries, await self._try_to_store(store, entries, are_all_within)
        except (_NotPermitted, psycopg.Error):
            # what of the data is bad is found by halves
            return None

    async def _within_rates(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Counts deliveries for the rates of their sources, in one round trip. Fails those above a rate, returns the others."""
        counted: dict[tuple[str, int], list[Delivery]] = {}
        for delivery in deliveries:
            if delivery.requests_per_minute is not None:
                counted.setdefault((delivery.bodies[0].source_id, delivery.requests_per_minute), []).append(delivery)
        counts = [
            self._limiter.acquire_many_on_loop(source_id, "intake", limit, len(of_source))
            for (source_id, limit), of_source in counted.items()
        ]
        # an ordinary batch is of one source, and needs no task for it
        replies = [await counts[0]] if len(counts) == 1 else await asyncio.gather(*counts)
        refused: set[int] = set()
        for of_source, (allowed, quota) in zip(counted.values(), replies, strict=True):
            for delivery in of_source[allowed:]:
                refused.add(id(delivery))
                delivery.finish((), RateLimitExceeded(quota.limit, quota.reset, dict(quota.headers)))
        if not refused:
            return deliveries
        self._count_first_until = time.monotonic() + COUNT_FIRST_SECONDS
        return [delivery for delivery in deliveries if id(delivery) not in refused]

    def _count(self, entries: Sequence[_Entry], rejections: Sequence[tuple[_Entry, Rejection]]) -> None:
        """Counts a batch for its sources, after its responses."""
        INTAKE_BATCH_BODIES.observe(len(entries))
        first = entries[0].body.source_id
        if not rejections and all(entry.body.source_id == first for entry in entries):
            self._counts.add_bodies(first, len(entries), ())
            return
        stored = Counter([entry.body.source_id for entry in entries])
        reasons: dict[str, list[str]] = {}
        for entry, rejection in rejections:
            stored[entry.body.source_id] -= 1
            if rejection.problem != "no_source":
                reasons.setdefault(entry.body.source_id, []).append(rejection.reason)
        for source_id, number in stored.items():
            self._counts.add_bodies(source_id, number, reasons.get(source_id, ()))

    async def _store(self, store: Store, entries: Sequence[_Entry]) -> list[tuple[_Entry, Rejection]]:
        """Stores a batch, and returns the rejected bodies. If its data make it fail, it is halved until the bad body is found.

        That body is kept as rejected.

        Raises:
            WarehouseUnavailable: some of it is not stored.
        """
        try:
            return await self._try_to_store(store, entries)
        except psycopg.Error as error:
            if len(entries) == 1:
                body = entries[0].body
                if body.problem is not None:
                    raise self._unavailable(error) from error
                bad = bad_body_of(error)
                rejected = Body(body.source_id, body.text[:MAX_KEPT_CHARACTERS], bad.problem, bad.reason)
                return await self._store(store, [_Entry(entries[0].delivery, rejected)])
            middle = len(entries) // 2
            return await self._store(store, entries[:middle]) + await self._store(store, entries[middle:])

    async def _try_to_store(
        self, store: Store, entries: Sequence[_Entry], permission: Permission | None = None
    ) -> list[tuple[_Entry, Rejection]]:
        """
        Raises:
            psycopg.Error: the data make it fail.
            WarehouseUnavailable: it is not stored.
            _NotPermitted: it is not stored.
        """
        reconnect_seconds = 0 if self._is_unavailable else MAX_RECONNECT_SECONDS
        bodies = [entry.body for entry in entries]
        try:
            rows = await store.store(bodies, reconnect_seconds=reconnect_seconds, permission=permission)
        except BatchNotConfirmed as error:
            raise self._unavailable(error) from error
        except psycopg.Error as error:
            # not after a timeout or for lack of memory: those bodies are sent again
            if not (error.sqlstate or "").startswith(ERRORS_OF_DATA):
                raise self._unavailable(error) from error
            raise
        if rows is None:
            raise _NotPermitted
        self._is_unavailable = False
        return [(entries[place - 1], Rejection(problem, reason)) for place, problem, reason in rows]

    def _unavailable(self, error: Exception) -> WarehouseUnavailable:
        if not self._is_unavailable:
            self._is_unavailable = True
            LOG.error("bodies cannot be stored, providers will send them again: %s", str(error).strip())
        self._retry_at = time.monotonic() + RETRY_INTERVAL_SECONDS
        return WarehouseUnavailable(UNAVAILABLE)


def _ignore(rejections: Sequence[Rejection], error: ApiError | None = None) -> None:
    """Before a delivery is put into the queue."""


def _entries(deliveries: Sequence[Delivery]) -> list[_Entry]:
    return [_Entry(delivery, body) for delivery in deliveries for body in delivery.bodies]


def _finish(deliveries: Sequence[Delivery], error: ApiError | None = None) -> None:
    for delivery in deliveries:
        _finish_one(delivery, (), error)


def _finish_one(delivery: Delivery, rejections: Sequence[Rejection], error: ApiError | None = None) -> None:
    try:
        delivery.finish(rejections, error)
    except Exception:
        # a bug: those after it may not wait for ever
        LOG.exception("a webhook has no response")


def _end(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
