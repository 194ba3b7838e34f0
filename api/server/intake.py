"""The app of the intake: a webhook is answered with 200 once it is committed.

The event loop reads bodies, so that a slow client holds no thread, checks the small ones, and stores them. All else is done in
threads behind queues of their own: looking up tokens, with those that had no source before apart, so that a flood of them delays
no other request; checking larger bodies, with the largest and those whose signature needs the network apart.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import orjson
import psycopg

from api.auth.rate_limit import RateLimiter
from api.db.pool import ConnectionPool
from api.errors import (
    ApiError,
    CertificateUnavailable,
    ContentTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RateLimitExceeded,
    SignatureError,
    SubscriptionUnconfirmed,
    Unauthorized,
    UnsupportedEncoding,
    WarehouseUnavailable,
)
from api.ingest.bodies import MAX_BODY_BYTES, BadBody
from api.ingest.reader import rejected
from api.intake.batch_store import ROLE, BatchStore, Body
from api.intake.metrics import INTAKE_HELD_BYTES
from api.intake.request_body import ENCODINGS, ReadBody, documents_of, is_mandrill_check, read_body
from api.intake.signatures.request import SignedRequest
from api.intake.signatures.verify import prepare, verify
from api.intake.source_counts import SourceCounts
from api.intake.source_store import Source, SourceStore
from api.intake.sources import WEBHOOK_PROVIDERS
from api.intake.subscription import confirm, confirmation_of
from api.intake.tokens import TOKEN_PATTERN, hash_token, source_url
from api.intake.writer import CONNECTIONS, UNAVAILABLE, Delivery, Rejection, Writer
from api.server.deadlines import Deadlines
from api.server.exchange import Exchange, make_response
from api.server.handoff import Handoff
from api.server.held_bytes import ClientDisconnected, HeldBytes
from api.server.intake_log import Outcome, RequestLog
from api.server.unread_bodies import sends_body
from api.settings import Settings

LOG = logging.getLogger(__name__)
PATH = re.compile(rf"/intake/({'|'.join(WEBHOOK_PROVIDERS)})/({TOKEN_PATTERN.pattern})/?")
BODY_SECONDS = 30.0
# of all bodies that are being read or wait to be stored, and a quarter of it of one workspace; above it, providers send again
MAX_HELD_BYTES = 128 * 1024 * 1024
CHECK_THREADS = 2
NETWORK_THREADS = 2
LOOKUP_THREADS = 2
# look up tokens that had no source before
STRANGER_THREADS = 1
# a body up to this size is checked on the event loop: that takes less than a millisecond
SMALL_BODY_BYTES = 64 * 1024
# a body from this size on is checked in a thread of its own
LARGE_BODY_BYTES = 256 * 1024
COUNT_SECONDS = 2.0
# between looks at whether the log was written
LOG_WAIT_SECONDS = 0.02
METHODS = ("GET", "HEAD", "POST")
JSON = ("content-type", "application/json")
SUCCESS = make_response(200, [JSON], b'{"success":true}')
# a connection for each thread that uses the pool: besides lookups, health checks and counts
POOL_SIZE = LOOKUP_THREADS + STRANGER_THREADS + 2


class _Unreadable(ApiError):
    """A body that is kept in raw.rejected_payloads."""

    status = 400
    code = "MALFORMED_REQUEST"

    def __init__(self, reason: str) -> None:
        super().__init__("The body cannot be read", details={"body": [reason]})


class _Request:
    """A request: what is known of it, what is held in memory for it, and its outcome.

    Attributes:
        exchange: its head, its body, and its response.
        provider, token: of its path.
        source: of the token, once it is found.
        held: bytes that count as those of the source's workspace until the request ends.
        outcome: for metrics and the log.
        error: what was wrong.
    """

    __slots__ = ("error", "exchange", "held", "outcome", "provider", "source", "token")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.outcome = Outcome(exchange.method)
        self.provider = self.token = ""
        self.source: Source | None = None
        self.held = 0
        self.error: ApiError | None = None

    def read_path(self, path: str) -> None:
        """
        Raises:
            ApiError: it is no URL of a source, or the method is not one of them.
        """
        match = PATH.fullmatch(path)
        if match is None:
            raise NotFound("NOT_FOUND")
        if self.exchange.method not in METHODS:
            raise MethodNotAllowed("Send webhooks by POST", *METHODS)
        self.provider, self.token = match.groups()

    def encoding(self) -> str:
        """The content encoding of its body."""
        return self.exchange.headers.get("content-encoding", "").strip().lower()


class _Checked(NamedTuple):
    """A checked body: the documents to store and whether it counts for the rate limit, or the outcome if there are none."""

    bodies: Sequence[Body] = ()
    is_counted: bool = False
    outcome: str = "stored"
    error: ApiError | None = None


@dataclass
class _Threads:
    """The queues, which belong to a running event loop."""

    checks: Handoff = field(default_factory=lambda: Handoff(CHECK_THREADS, "check"))
    large: Handoff = field(default_factory=lambda: Handoff(1, "check-large"))
    network: Handoff = field(default_factory=lambda: Handoff(NETWORK_THREADS, "check-network"))
    lookups: Handoff = field(default_factory=lambda: Handoff(LOOKUP_THREADS, "lookup"))
    strangers: Handoff = field(default_factory=lambda: Handoff(STRANGER_THREADS, "lookup-stranger"))
    health: Handoff = field(default_factory=lambda: Handoff(1, "health-check"))
    counts: Handoff = field(default_factory=lambda: Handoff(1, "counts"))


class IntakeApp:
    """The app. One for each process of the intake."""

    def __init__(
        self,
        settings: Settings,
        *,
        body_seconds: float = BODY_SECONDS,
        max_held_bytes: int = MAX_HELD_BYTES,
        is_log_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        """While `is_log_behind`, requests wait: log lines would fill the memory if whoever reads them is slow."""
        self._public_url = settings.public_url
        self._public_path = settings.public_path
        self._deadlines = Deadlines(body_seconds)
        self._is_log_behind = is_log_behind
        self._log = RequestLog()
        self._pool = ConnectionPool(replace(settings, pool_size=POOL_SIZE), ROLE)
        self._sources = SourceStore(self._pool)
        self._limiter = RateLimiter(settings)
        self._counts = SourceCounts()
        stores = [BatchStore(settings) for _ in range(CONNECTIONS)]
        self._writer = Writer(stores, self._counts, self._limiter, while_storing=self._log.write_soon)
        self._threads: _Threads | None = None
        self._counting: asyncio.Task[None] | None = None
        self._lookups: dict[bytes, asyncio.Future[Source | None]] = {}
        self._held_bytes = HeldBytes(max_held_bytes, "Too many bodies wait to be stored; send the webhook again.")
        self._pool.open()

    def handle(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Handles a request, without a task if it waits for nothing but its commit: see `App`."""
        if self._threads is None:
            self._threads = _Threads()
            self._counting = asyncio.ensure_future(self._write_counts(self._threads))
        path = _path_below(exchange.path, self._public_path)
        if path in ("/healthz", "/readyz"):
            return self._respond_health(self._threads, exchange, path)
        request = _Request(exchange)
        if exchange.is_complete and exchange.unread_bytes <= SMALL_BODY_BYTES and not self._is_log_behind():
            try:
                if self._handle_at_once(self._threads, request, path):
                    return None
            except Exception as error:  # noqa: BLE001 - it is logged
                self._finish(request, error)
                return None
        return self._handle_in_task(self._threads, request, path)

    def close(self) -> None:
        """Writes the last log lines and counts, and closes all connections, when no request is left."""
        self._writer.close()
        self._log.write()
        self._counts.write(self._pool)
        self._limiter.close()
        self._pool.close()

    def _handle_at_once(self, threads: _Threads, request: _Request, path: str) -> bool:
        """Handles a request whose small body is there. False if its source or its check has to be waited for.

        Raises:
            ApiError: for each response but 200.
        """
        request.read_path(path)
        is_known, source = self._sources.cached(hash_token(request.token))
        if not is_known:
            return False
        source = _set_source(request, source)
        if request.exchange.method != "POST":
            request.outcome.outcome = "checked"
            self._finish(request)
            return True
        encoding = request.encoding()
        if encoding not in ENCODINGS:
            raise UnsupportedEncoding(encoding)
        if _queue(threads, source, encoding, request.exchange.unread_bytes) is not None:
            return False
        body = request.exchange.take()
        self._hold(request, len(body))
        request.outcome.size = len(body)
        checked = self._check(source, request, encoding, body, datetime.now(UTC))
        if checked.bodies:
            self._writer.put(self._delivery(request, source, checked, body), partial(self._finish_stored, request, checked))
        else:
            self._finish_stored(request, checked, ())
        return True

    async def _handle_in_task(self, threads: _Threads, request: _Request, path: str) -> None:
        while self._is_log_behind():
            await asyncio.sleep(LOG_WAIT_SECONDS)
        try:
            checked, rejections = await self._receive(threads, request, path)
        except Exception as error:  # noqa: BLE001 - it is logged
            self._finish(request, error)
        except BaseException:
            self._release(request)
            raise
        else:
            self._finish_stored(request, checked, rejections)
        if request.error is not None and sends_body(request.exchange.headers):
            await request.exchange.discard()

    async def _receive(self, threads: _Threads, request: _Request, path: str) -> tuple[_Checked, Sequence[Rejection]]:
        """Raises ApiError for each response but 200, and ClientDisconnected."""
        request.read_path(path)
        source = _set_source(request, await self._find_source(threads, request))
        if request.exchange.method != "POST":
            # providers check a URL before they save it
            return _Checked(outcome="checked"), ()
        encoding = request.encoding()
        # also one that is refused: else the connection, which a provider keeps, would be closed under its next request
        body = await self._read_body(source, request)
        if encoding not in ENCODINGS:
            raise UnsupportedEncoding(encoding)
        received_at = datetime.now(UTC)
        queue = _queue(threads, source, encoding, len(body))
        if queue is None:
            checked = self._check(source, request, encoding, body, received_at)
        else:
            checked = await queue.run(lambda: self._check(source, request, encoding, body, received_at))
        if not checked.bodies:
            return checked, ()
        return checked, await self._writer.store(self._delivery(request, source, checked, body))

    def _delivery(self, request: _Request, source: Source, checked: _Checked, body: bytes) -> Delivery:
        """
        Raises:
            WarehouseUnavailable: too much waits to be stored.
        """
        delivery = Delivery(checked.bodies, source.requests_per_minute if checked.is_counted else None)
        # what a small body was decompressed to waits, too
        self._hold(request, delivery.characters - len(body))
        return delivery

    def _finish_stored(
        self, request: _Request, checked: _Checked, rejections: Sequence[Rejection], error: ApiError | None = None
    ) -> None:
        """Responds to a request whose bodies are stored, except for the rejections; or are not, because of the error."""
        error = error or checked.error
        if rejections:
            if any(rejection.problem == "no_source" for rejection in rejections):
                error = NotFound("NOT_FOUND")
            elif error is None:
                error = _Unreadable(rejections[0].reason)
        request.outcome.outcome = checked.outcome
        self._finish(request, error)

    def _finish(self, request: _Request, error: Exception | None = None) -> None:
        """Responds to a request, releases what it held, and logs it."""
        self._release(request)
        outcome, exchange = request.outcome, request.exchange
        if error is None:
            exchange.respond(SUCCESS)
        elif isinstance(error, ClientDisconnected):
            # the server responds to one that is malformed
            outcome.status = exchange.refusal or 499
            outcome.outcome = "malformed" if exchange.refusal else "disconnected"
        else:
            if not isinstance(error, ApiError):
                LOG.error("a webhook of %s could not be handled", request.provider or "unknown", exc_info=error)
                outcome.outcome = "failed"
                error = WarehouseUnavailable(UNAVAILABLE)
            else:
                outcome.outcome = _outcome_of(error)
            request.error = error
            outcome.status, outcome.reason = error.status, _reason(error)
            _respond(exchange, error)
        self._log.add(outcome)

    def _hold(self, request: _Request, size: int) -> None:
        """Counts bytes as those of the source's workspace, until the request ends.

        Raises:
            WarehouseUnavailable: there are too many, of this workspace or of all.
        """
        if size > 0 and request.source is not None:
            self._held_bytes.add(request.source.workspace_id, size)
            request.held += size

    def _release(self, request: _Request) -> None:
        if request.held and request.source is not None:
            self._held_bytes.release(request.source.workspace_id, request.held)
            request.held = 0

    async def _read_body(self, source: Source, request: _Request) -> bytes:
        """
        Raises:
            ApiError: it does not come in time, is too large, or there are too many bodies.
            ClientDisconnected: the client hung up.
        """
        exchange = request.exchange
        announced = exchange.headers.get("content-length", "")
        # otherwise it comes in chunks, or there is none
        length = int(announced) if announced.isdigit() else None
        if length is not None and length > MAX_BODY_BYTES:
            request.outcome.size = length
            await self._keep_too_large(source)
        if length is not None and length <= SMALL_BODY_BYTES:
            # the server reads no more than was announced
            self._hold(request, length)
            content = await self._deadlines.wait_for(exchange.read_whole())
        else:
            pieces = exchange.read_pieces(length, MAX_BODY_BYTES, lambda size: self._hold(request, size))
            content = await self._deadlines.wait_for(pieces)
        request.outcome.size = len(content)
        if len(content) > MAX_BODY_BYTES:
            await self._keep_too_large(source)
        return content

    async def _find_source(self, threads: _Threads, request: _Request) -> Source | None:
        token_hash = hash_token(request.token)
        is_known, source = self._sources.cached(token_hash)
        if is_known:
            return source
        try:
            return await self._look_up(threads, token_hash)
        except psycopg.Error as error:
            LOG.error("sources cannot be read, run `mailmart migrate`: %s", str(error).strip())  # noqa: TRY400
            raise WarehouseUnavailable(UNAVAILABLE) from error

    async def _look_up(self, threads: _Threads, token_hash: bytes) -> Source | None:
        """The source of a token: one lookup for all concurrent requests. Known tokens do not wait behind unknown ones."""
        lookup = self._lookups.get(token_hash)
        if lookup is None:
            queue = threads.lookups if self._sources.was_found(token_hash) else threads.strangers
            lookup = self._lookups[token_hash] = queue.run(lambda: self._find_in_database(token_hash))
            lookup.add_done_callback(lambda _: self._lookups.pop(token_hash))
        # a request that is canceled ends it for nobody else
        return await asyncio.shield(lookup)

    def _find_in_database(self, token_hash: bytes) -> Source | None:
        source = self._sources.find(token_hash)
        if source is not None:
            prepare(source.provider)
        return source

    async def _keep_too_large(self, source: Source) -> None:
        """Counts a body that is not read, of which nothing but that is kept."""
        reason = f"larger than {MAX_BODY_BYTES // 1024 // 1024} MiB"
        await self._writer.store(Delivery([Body(source.source_id, "", "too_large", reason)]))
        raise ContentTooLarge(MAX_BODY_BYTES)

    def _check(self, source: Source, request: _Request, encoding: str, raw: bytes, received_at: datetime) -> _Checked:
        """Checks a body: encoding, signature, and what PostgreSQL must not see. The writer checks the rate.

        Raises:
            ApiError: nothing of it is kept.
        """
        content_type = request.exchange.headers.get("content-type", "")
        try:
            body = read_body(source.provider, content_type, encoding, raw)
        except BadBody as bad:
            # what is in it is not known, and neither is who sent it
            return _kept(source, bad, b"")
        if source.secrets:
            self._verify(source, self._signed(request, body, received_at), raw)
        if source.provider == "mandrill" and is_mandrill_check(body):
            return _Checked(outcome="checked")
        if source.provider == "ses" and (message := confirmation_of(body.content)) is not None:
            quota = self._limiter.acquire(source.source_id, "intake", source.requests_per_minute)
            if not quota.is_allowed:
                raise RateLimitExceeded(quota.limit, quota.reset, dict(quota.headers))
            return self._confirm(source, message, self._signed(request, body, received_at))
        try:
            texts = documents_of(source.provider, content_type, body)
        except BadBody as bad:
            return _kept(source, bad, body.content, is_counted=True)
        return _Checked([Body(source.source_id, text) for text in texts], is_counted=True)

    def _verify(self, source: Source, signed: SignedRequest, raw: bytes) -> None:
        """
        Raises:
            Unauthorized: the provider signed neither the body nor its compressed form.
            WarehouseUnavailable: the certificate cannot be downloaded now.
        """
        try:
            try:
                verify(source.provider, source.secrets, signed)
            except SignatureError:
                if raw == signed.body:
                    raise
                verify(source.provider, source.secrets, replace(signed, body=raw))
        except SignatureError as error:
            self._counts.add_failure(source.source_id, error.reason)
            raise Unauthorized(f"The webhook's signature is not valid: {error.reason}") from None
        except CertificateUnavailable as error:
            raise WarehouseUnavailable(error.reason) from None

    def _confirm(self, source: Source, message: dict[str, Any], signed: SignedRequest) -> _Checked:
        try:
            is_confirmed = confirm(message, signed)
        except SignatureError as error:
            self._counts.add_failure(source.source_id, error.reason)
            raise Unauthorized(f"The webhook's signature is not valid: {error.reason}") from None
        except (CertificateUnavailable, SubscriptionUnconfirmed) as error:
            raise WarehouseUnavailable(error.reason) from None
        LOG.info(
            "%s of source %s",
            "confirmed the subscription to SNS" if is_confirmed else "SNS ended a subscription",
            source.source_id,
        )
        return _Checked(outcome="confirmed" if is_confirmed else "checked")

    def _signed(self, request: _Request, body: ReadBody, received_at: datetime) -> SignedRequest:
        exchange = request.exchange
        # as the operator pasted it, never from the Host header
        url = source_url(self._public_url, request.provider, request.token)
        if exchange.query_string:
            url = f"{url}?{exchange.query_string}"
        return SignedRequest(url, exchange.headers, body.content, _texts(body), received_at)

    async def _respond_health(self, threads: _Threads, exchange: Exchange, path: str) -> None:
        if path == "/readyz":
            try:
                await threads.health.run(lambda: self._sources.find(b""))
            except (ApiError, psycopg.Error):
                _respond(exchange, WarehouseUnavailable(UNAVAILABLE))
                return
        exchange.respond(SUCCESS)

    async def _write_counts(self, threads: _Threads) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            INTAKE_HELD_BYTES.set(self._held_bytes.total)
            await threads.counts.run(lambda: self._counts.write(self._pool))


def _path_below(path: str, prefix: str) -> str:
    """The path below the path of the public URL, which a proxy may have removed."""
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path


def _set_source(request: _Request, source: Source | None) -> Source:
    """Sets the source of a request.

    Raises:
        NotFound: there is none, or it is another provider's.
    """
    if source is None or source.provider != request.provider:
        raise NotFound("NOT_FOUND")
    request.source = source
    request.outcome.provider, request.outcome.source_id = source.provider, source.source_id
    return source


def _queue(threads: _Threads, source: Source, encoding: str, size: int) -> Handoff | None:
    """Whose threads check a body; None for the event loop, if handing it over would take longer than checking it."""
    if source.provider == "ses":
        return threads.network
    if size >= LARGE_BODY_BYTES or encoding not in ("", "identity"):
        return threads.large
    return threads.checks if size > SMALL_BODY_BYTES else None


def _kept(source: Source, bad: BadBody, content: bytes, *, is_counted: bool = False) -> _Checked:
    """A body that is kept as rejected, with as much of its text as is useful."""
    error: ApiError = ContentTooLarge(MAX_BODY_BYTES) if bad.problem == "too_large" else _Unreadable(bad.reason)
    text = rejected(1, bad, content).text
    return _Checked([Body(source.source_id, text, bad.problem, bad.reason)], error=error, is_counted=is_counted)


def _texts(body: ReadBody) -> Mapping[str, str] | None:
    return None if body.form is None else {name: values[0] for name, values in body.form.items()}


def _outcome_of(error: ApiError) -> str:
    return "rejected" if isinstance(error, _Unreadable | MalformedRequest) else error.code.lower()


def _reason(error: ApiError) -> str:
    details = error.details or {}
    return "; ".join([error.message, *(reason for reasons in details.values() for reason in reasons)])


def _respond(exchange: Exchange, error: ApiError) -> None:
    problem: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        problem["details"] = error.details
    content = orjson.dumps({"success": False, "error": problem})
    headers = [JSON, *((name.lower(), value) for name, value in error.headers.items())]
    exchange.respond(make_response(error.status, headers, content))
