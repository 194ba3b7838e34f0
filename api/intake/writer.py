"""Stores bodies of webhooks. Concurrent bodies share a commit; a body that PostgreSQL cannot store fails alone."""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from api.auth.rate_limit import RateLimiter
from api.db.connection import conninfo
from api.db.session import Role, check_transaction, transaction_settings
from api.errors import MailmartError, RateLimitExceeded, WarehouseUnavailable
from api.ingest.batches import ERRORS_OF_DATA, bad_body_of
from api.ingest.bodies import Problem
from api.ingest.reader import MAX_KEPT_CHARACTERS
from api.intake.metrics import INTAKE_BATCH_BODIES
from api.intake.source_counts import SourceCounts
from api.settings import Settings

LOG = logging.getLogger(__name__)
ROLE: Role = "mailmart_intake"
UNAVAILABLE = "The database is unavailable; send the webhook again."
MAX_BATCH_BODIES = 500
MAX_BATCH_CHARACTERS = 8 * 1024 * 1024
CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 10
LOCK_TIMEOUT_SECONDS = 3
# how long the bodies of a lost connection wait for another one
MAX_RECONNECT_SECONDS = 5.0
SECONDS_BETWEEN_ATTEMPTS = 0.1
# during an outage, the database is tried once in so many seconds
RETRY_INTERVAL_SECONDS = 1.0

T = TypeVar("T")

STORE = "select line, problem, reason from app.store_webhook_bodies(%s, %s, %b, %b, %s::text[], %s::text[])"


@dataclass(frozen=True)
class Body:
    """A document of a source; with a problem and a reason if it is kept as rejected."""

    source_id: str
    text: str
    problem: Problem | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Rejection:
    """Why a body was not stored; problem `no_source` if its source is revoked."""

    problem: str
    reason: str


@dataclass
class Delivery:
    """The bodies of one request.

    Attributes:
        bodies: of one source.
        requests_per_minute: the rate above which a request is refused; None if this one is not counted.
        rejections: those of its bodies, once they are stored.
        failure: why they are not.
    """

    bodies: Sequence[Body]
    requests_per_minute: int | None = None
    rejections: list[Rejection] | None = None
    failure: WarehouseUnavailable | RateLimitExceeded | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is stored, or has failed."""
        return self.rejections is not None or self.failure is not None

    @property
    def characters(self) -> int:
        """Of all texts together."""
        return sum(len(body.text) for body in self.bodies)


@dataclass(frozen=True)
class _Entry:
    """A body, and the delivery that it is of."""

    delivery: Delivery
    body: Body


class Writer:
    """Writes in one thread, over one connection. `add` may be called from another thread."""

    def __init__(self, settings: Settings, counts: SourceCounts, limiter: RateLimiter) -> None:
        self._settings = settings
        self._counts = counts
        self._limiter = limiter
        self._begin = "; ".join(
            [
                "begin",
                *transaction_settings(ROLE, statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS),
                f"set local lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'",
                "set local idle_in_transaction_session_timeout = '30s'",
            ]
        ).encode()
        self._id = uuid.uuid4()
        self._number = 0
        self._pending: deque[Delivery] = deque()
        self._connection: psycopg.Connection | None = None
        self._retry_at = 0.0
        self._is_unavailable = False

    def add(self, delivery: Delivery) -> None:
        """Puts a delivery at the end of the queue."""
        self._pending.append(delivery)

    def finish(self, delivery: Delivery) -> list[Rejection]:
        """Writes the queue until the delivery is stored, and returns the rejections among its bodies.

        Raises:
            WarehouseUnavailable: it is not stored, as far as this process can know.
            RateLimitExceeded: it is not stored, because its source sent too many requests.
        """
        while not delivery.is_done:
            self._write_batch()
        if delivery.failure is not None:
            raise delivery.failure
        return delivery.rejections or []

    def close(self) -> None:
        """Closes the connection."""
        self._disconnect()

    def _write_batch(self) -> None:
        """Takes deliveries from the queue up to the size of a batch, and stores them. A larger one is a batch by itself."""
        deliveries: list[Delivery] = []
        bodies = characters = 0
        while self._pending:
            delivery = self._pending[0]
            bodies += len(delivery.bodies)
            characters += delivery.characters
            if deliveries and (bodies > MAX_BATCH_BODIES or characters > MAX_BATCH_CHARACTERS):
                break
            deliveries.append(self._pending.popleft())
        try:
            deliveries = self._within_rate(deliveries)
            entries = [_Entry(delivery, body) for delivery in deliveries for body in delivery.bodies]
            if time.monotonic() < self._retry_at:
                raise WarehouseUnavailable(UNAVAILABLE)
            rejections = self._store(entries) if entries else []
        except WarehouseUnavailable as error:
            for delivery in deliveries:
                delivery.failure = error
            return
        except BaseException as error:
            # a bug: nobody may wait for ever
            for delivery in deliveries:
                delivery.failure = WarehouseUnavailable(UNAVAILABLE)
            LOG.exception("bodies could not be stored")
            if not isinstance(error, Exception):
                raise
            return
        if entries:
            INTAKE_BATCH_BODIES.observe(len(entries))
        of_delivery: dict[int, list[Rejection]] = {id(delivery): [] for delivery in deliveries}
        for entry, rejection in rejections:
            of_delivery[id(entry.delivery)].append(rejection)
        for delivery in deliveries:
            self._finish_delivery(delivery, of_delivery[id(delivery)])

    def _within_rate(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that are within the rates of their sources. All requests of a source are counted in one round trip."""
        by_source: dict[tuple[str, int], list[Delivery]] = {}
        for delivery in deliveries:
            if delivery.requests_per_minute is not None:
                by_source.setdefault((delivery.bodies[0].source_id, delivery.requests_per_minute), []).append(delivery)
        for (source_id, rate), counted in by_source.items():
            allowed, quota = self._limiter.acquire_many(source_id, "intake", rate, len(counted))
            for delivery in counted[allowed:]:
                delivery.failure = RateLimitExceeded(quota.limit, quota.reset, dict(quota.headers))
        return [delivery for delivery in deliveries if delivery.failure is None]

    def _finish_delivery(self, delivery: Delivery, rejections: list[Rejection]) -> None:
        delivery.rejections = rejections
        if delivery.bodies:
            reasons = [rejection.reason for rejection in rejections if rejection.problem != "no_source"]
            self._counts.add_bodies(delivery.bodies[0].source_id, len(delivery.bodies) - len(rejections), reasons)

    def _store(self, entries: Sequence[_Entry]) -> list[tuple[_Entry, Rejection]]:
        """Stores a batch: what was rejected. One that the data make fail is stored in halves, down to the body that fails alone.

        That body is kept as rejected.

        Raises:
            WarehouseUnavailable: some of it is not stored.
        """
        try:
            rows = self._store_once(entries)
        except psycopg.Error as error:
            # not after a timeout or for lack of memory: those bodies are sent again
            if not (error.sqlstate or "").startswith(ERRORS_OF_DATA):
                raise self._unavailable(error) from error
            if len(entries) == 1:
                body = entries[0].body
                if body.problem is not None:
                    raise self._unavailable(error) from error
                bad = bad_body_of(error)
                rejected = Body(body.source_id, body.text[:MAX_KEPT_CHARACTERS], bad.problem, bad.reason)
                return self._store([_Entry(entries[0].delivery, rejected)])
            middle = len(entries) // 2
            return self._store(entries[:middle]) + self._store(entries[middle:])
        self._is_unavailable = False
        return [(entries[line - 1], Rejection(problem, reason)) for line, problem, reason in rows]

    def _store_once(self, entries: Sequence[_Entry]) -> list[tuple[int, str, str]]:
        """Stores a batch in one transaction, over another connection if the first one is lost.

        The batch has a number, so that it is stored once even if its commit was lost on the way back.

        Raises:
            WarehouseUnavailable: no connection comes in time.
            psycopg.Error: a statement failed; nothing is stored.
        """
        self._number += 1
        bodies = [entry.body for entry in entries]
        params = (
            self._id,
            self._number,
            [body.source_id for body in bodies],
            [body.text for body in bodies],
            [body.problem for body in bodies],
            [body.reason for body in bodies],
        )

        def store(connection: psycopg.Connection) -> list[tuple[int, str, str]]:
            return connection.execute(STORE, params).fetchall()

        deadline = time.monotonic() + (0 if self._is_unavailable else MAX_RECONNECT_SECONDS)
        is_first = True
        while True:
            try:
                return self._in_transaction(store)
            except (psycopg.Error, MailmartError) as error:
                if self._connection is not None:
                    # the server refused the statement, and the connection is fine
                    if is_first:
                        raise
                    # the attempt before may be stored, and then halves of it would be stored again
                    raise self._unavailable(error) from error
                if time.monotonic() > deadline:
                    raise self._unavailable(error) from error
                is_first = False
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)

    def _in_transaction(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Runs work in a transaction. After an error, the connection is there only if it is still good."""
        connection = self._connection or self._connect()
        try:
            connection.execute(self._begin)
            result = work(connection)
            connection.execute("commit")
        except BaseException:
            try:
                if not connection.closed:
                    connection.rollback()
            except psycopg.Error:
                pass
            if connection.closed:
                self._disconnect()
            raise
        return result

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(
            conninfo(self._settings, ROLE), autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_TIMEOUT_SECONDS
        )
        try:
            check_transaction(connection, transaction_settings(ROLE, statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS), ROLE)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _unavailable(self, error: Exception) -> WarehouseUnavailable:
        if not self._is_unavailable:
            self._is_unavailable = True
            LOG.error("bodies cannot be stored, providers have to send them again: %s", str(error).strip())
        self._retry_at = time.monotonic() + RETRY_INTERVAL_SECONDS
        return WarehouseUnavailable(UNAVAILABLE)
