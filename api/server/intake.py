"""The app of the intake: a webhook is answered with 200 once it is committed.

The event loop reads bodies, so that a slow client holds no thread, checks the small ones, and stores them. All else is done in
threads behind queues of their own: looking up tokens, with those that had no source before apart, so that a flood of them delays
no other request; checking larger bodies, with the largest and those whose signature needs the network apart.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
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
from api.intake.metrics import INTAKE_HELD_BYTES, count_request
from api.intake.request_body import ENCODINGS, ReadBody, documents_of, is_mandrill_check, read_body
from api.intake.signatures.request import SignedRequest
from api.intake.signatures.verify import prepare, verify
from api.intake.source_counts import SourceCounts
from api.intake.source_store import Source, SourceStore
from api.intake.sources import WEBHOOK_PROVIDERS
from api.intake.subscription import confirm, confirmation_of
from api.intake.tokens import TOKEN_PATTERN, hash_token, source_url
from api.intake.writer import CONNECTIONS, UNAVAILABLE, Delivery, Writer
from api.server.deadlines import Deadlines
from api.server.handoff import Handoff
from api.server.held_bytes import ClientDisconnected, Held, HeldBytes
from api.server.rsgi import HTTPProtocol, RequestBody, Scope
from api.server.unread_bodies import sends_body
from api.settings import Settings

LOG = logging.getLogger(__name__)
ACCESS_LOG = logging.getLogger("mailmart.intake")
PATH = re.compile(r"/intake/([a-z]+)/([^/]+)/?")
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
SUCCESS = b'{"success":true}'
SUCCESS_HEADERS = [("content-type", "application/json"), ("content-length", str(len(SUCCESS)))]
# a connection for each thread that uses the pool: besides lookups, health checks and counts
POOL_SIZE = LOOKUP_THREADS + STRANGER_THREADS + 2


class _Unreadable(ApiError):
    """A body that is kept in raw.rejected_payloads."""

    status = 400
    code = "MALFORMED_REQUEST"

    def __init__(self, reason: str) -> None:
        super().__init__("The body cannot be read", details={"body": [reason]})


class _Request(NamedTuple):
    """What is known of a request before its body is read."""

    method: str
    provider: str
    token: str
    query: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class _Outcome:
    """The outcome of a request: its response, and the fields of its log line.

    Attributes:
        status: of the response.
        outcome: for metrics and the log: stored, rejected, checked, confirmed, or the error's code in lower case.
        error: what was wrong.
        provider: a known one, or `unknown`.
        source_id: the source of the token, if there is one.
        size: bytes of the body as it came.
    """

    status: int = 200
    outcome: str = "stored"
    error: ApiError | None = None
    provider: str = "unknown"
    source_id: str = ""
    size: int = 0


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
    """The app, over RSGI. One for each process of the intake."""

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
        self._pool = ConnectionPool(replace(settings, pool_size=POOL_SIZE), ROLE)
        self._sources = SourceStore(self._pool)
        self._limiter = RateLimiter(settings)
        self._counts = SourceCounts()
        stores = [BatchStore(settings) for _ in range(CONNECTIONS)]
        self._writer = Writer(stores, self._counts, self._limiter)
        self._threads: _Threads | None = None
        self._counting: asyncio.Task[None] | None = None
        self._lookups: dict[bytes, asyncio.Future[Source | None]] = {}
        self._held_bytes = HeldBytes(max_held_bytes, "Too many bodies wait to be stored; send the webhook again.")
        self._pool.open()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Handles a request."""
        if self._threads is None:
            self._threads = _Threads()
            self._counting = asyncio.ensure_future(self._write_counts(self._threads))
        path = _path_below(scope.path, self._public_path)
        if path in ("/healthz", "/readyz"):
            _send(protocol, await self._health(self._threads, path))
            return
        started_at = time.perf_counter()
        while self._is_log_behind():
            await asyncio.sleep(LOG_WAIT_SECONDS)
        outcome = _Outcome()
        body = RequestBody(protocol)
        try:
            with Held(self._held_bytes) as held:
                await self._receive(self._threads, scope, path, body, outcome, held)
        except ClientDisconnected:
            outcome.status, outcome.outcome = 499, "disconnected"
            return
        except ApiError as error:
            outcome.status, outcome.error = error.status, error
            outcome.outcome = _outcome_of(error)
        except Exception:
            LOG.exception("a webhook of %s could not be handled", outcome.provider)
            outcome.error = WarehouseUnavailable(UNAVAILABLE)
            outcome.status, outcome.outcome = 503, "failed"
        finally:
            _log(outcome, scope.method, time.perf_counter() - started_at)
        _send(protocol, outcome)
        if outcome.error is not None and sends_body(name for name, _ in scope.headers.items()):
            await body.discard()

    def close(self) -> None:
        """Writes the last counts and closes all connections, when no request is left."""
        self._writer.close()
        self._counts.write(self._pool)
        self._limiter.close()
        self._pool.close()

    async def _receive(
        self, threads: _Threads, scope: Scope, path: str, request_body: RequestBody, outcome: _Outcome, held: Held
    ) -> None:
        """Handles a request. Raises ApiError for each response but 200."""
        request = _read_head(scope, path)
        outcome.provider = request.provider
        source = await self._find_source(threads, request)
        outcome.source_id = source.source_id
        held.workspace_id = source.workspace_id
        if request.method != "POST":
            # providers check a URL before they save it
            outcome.outcome = "checked"
            return
        encoding = request.headers.get("content-encoding", "").strip().lower()
        # also one that is refused: else the connection, which a provider keeps, would be closed under its next request
        body = await self._read_body(source, request, request_body, outcome, held)
        if encoding not in ENCODINGS:
            raise UnsupportedEncoding(encoding)
        received_at = datetime.now(UTC)
        queue = _queue(threads, source, encoding, body)
        if queue is None:
            checked = self._check(source, request, encoding, body, received_at)
        else:
            checked = await queue.run(lambda: self._check(source, request, encoding, body, received_at))
        if checked.bodies:
            delivery = Delivery(checked.bodies, source.requests_per_minute if checked.is_counted else None)
            # what a small body was decompressed to waits, too
            held.add(max(0, delivery.characters - len(body)))
            rejections = await self._writer.store(delivery)
            if any(rejection.problem == "no_source" for rejection in rejections):
                raise NotFound("NOT_FOUND")
            if rejections and checked.error is None:
                raise _Unreadable(rejections[0].reason)
        if checked.error is not None:
            raise checked.error
        outcome.outcome = checked.outcome

    async def _read_body(self, source: Source, request: _Request, body: RequestBody, outcome: _Outcome, held: Held) -> bytes:
        """
        Raises:
            ApiError: it does not come in time, is too large, or there are too many bodies.
            ClientDisconnected: the client hung up.
        """
        announced = request.headers.get("content-length", "")
        # otherwise it comes in chunks, or there is none
        length = int(announced) if announced.isdigit() else None
        if length is not None and length > MAX_BODY_BYTES:
            outcome.size = length
            await self._keep_too_large(source)
        if length is not None and length <= SMALL_BODY_BYTES:
            # the server reads no more than was announced
            held.add(length)
            content = await self._deadlines.wait_for(body.read_whole())
        else:
            content = await self._deadlines.wait_for(body.read_pieces(length, MAX_BODY_BYTES, held.add))
        outcome.size = len(content)
        if len(content) > MAX_BODY_BYTES:
            await self._keep_too_large(source)
        return content

    async def _find_source(self, threads: _Threads, request: _Request) -> Source:
        token_hash = hash_token(request.token)
        is_known, source = self._sources.cached(token_hash)
        if not is_known:
            try:
                source = await self._look_up(threads, token_hash)
            except psycopg.Error as error:
                LOG.error("sources cannot be read, run `mailmart migrate`: %s", str(error).strip())  # noqa: TRY400
                raise WarehouseUnavailable(UNAVAILABLE) from error
        if source is None or source.provider != request.provider:
            raise NotFound("NOT_FOUND")
        return source

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
        try:
            body = read_body(source.provider, request.headers.get("content-type", ""), encoding, raw)
        except BadBody as bad:
            # what is in it is not known, and neither is who sent it
            return _kept(source, bad, b"")
        signed = SignedRequest(self._url(request), request.headers, body.content, _texts(body), received_at)
        if source.secrets:
            self._verify(source, signed, raw)
        if source.provider == "mandrill" and is_mandrill_check(body):
            return _Checked(outcome="checked")
        if source.provider == "ses" and (message := confirmation_of(body.content)) is not None:
            quota = self._limiter.acquire(source.source_id, "intake", source.requests_per_minute)
            if not quota.is_allowed:
                raise RateLimitExceeded(quota.limit, quota.reset, dict(quota.headers))
            return self._confirm(source, message, signed)
        try:
            texts = documents_of(source.provider, request.headers.get("content-type", ""), body)
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

    def _url(self, request: _Request) -> str:
        """The URL as the operator pasted it. Never from the Host header."""
        url = source_url(self._public_url, request.provider, request.token)
        return f"{url}?{request.query}" if request.query else url

    async def _health(self, threads: _Threads, path: str) -> _Outcome:
        if path == "/readyz":
            try:
                await threads.health.run(lambda: self._sources.find(b""))
            except (ApiError, psycopg.Error):
                return _Outcome(503, error=WarehouseUnavailable(UNAVAILABLE))
        return _Outcome()

    async def _write_counts(self, threads: _Threads) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            INTAKE_HELD_BYTES.set(self._held_bytes.total)
            await threads.counts.run(lambda: self._counts.write(self._pool))


def _path_below(path: str, prefix: str) -> str:
    """The path below the path of the public URL, which a proxy may have removed."""
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path


def _read_head(scope: Scope, path: str) -> _Request:
    """
    Raises:
        ApiError: it is no URL of a source, or the method is not one of them.
    """
    match = PATH.fullmatch(path)
    if match is None or match[1] not in WEBHOOK_PROVIDERS or TOKEN_PATTERN.fullmatch(match[2]) is None:
        raise NotFound("NOT_FOUND")
    if scope.method not in METHODS:
        raise MethodNotAllowed("Send webhooks by POST", *METHODS)
    return _Request(scope.method, match[1], match[2], scope.query_string, dict(scope.headers.items()))


def _queue(threads: _Threads, source: Source, encoding: str, body: bytes) -> Handoff | None:
    """Whose threads check a body; None for the event loop, if handing it over would take longer than checking it."""
    if source.provider == "ses":
        return threads.network
    if len(body) >= LARGE_BODY_BYTES or encoding not in ("", "identity"):
        return threads.large
    return threads.checks if len(body) > SMALL_BODY_BYTES else None


def _kept(source: Source, bad: BadBody, content: bytes, *, is_counted: bool = False) -> _Checked:
    """A body that is kept as rejected, with as much of its text as is useful."""
    error: ApiError = ContentTooLarge(MAX_BODY_BYTES) if bad.problem == "too_large" else _Unreadable(bad.reason)
    text = rejected(1, bad, content).text
    return _Checked([Body(source.source_id, text, bad.problem, bad.reason)], error=error, is_counted=is_counted)


def _texts(body: ReadBody) -> Mapping[str, str] | None:
    return None if body.form is None else {name: values[0] for name, values in body.form.items()}


def _outcome_of(error: ApiError) -> str:
    return "rejected" if isinstance(error, _Unreadable | MalformedRequest) else error.code.lower()


def _log(outcome: _Outcome, method: str, seconds: float) -> None:
    """Counts a request, and writes its log line: neither has a token, and the metric no source."""
    provider = outcome.provider if outcome.source_id else "unknown"
    count_request(provider, outcome.outcome, seconds)
    if not ACCESS_LOG.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {
        "method": method,
        "status": outcome.status,
        "outcome": outcome.outcome,
        "provider": provider,
        "webhook_source": outcome.source_id,
        "bytes": outcome.size,
        "seconds": round(seconds, 6),
    }
    if outcome.error is not None and outcome.status != 404:
        fields["reason"] = _reason(outcome.error)
    ACCESS_LOG.info("webhook of %s: %s", provider, outcome.outcome, extra={"fields": fields})


def _reason(error: ApiError) -> str:
    details = error.details or {}
    return "; ".join([error.message, *(reason for reasons in details.values() for reason in reasons)])


def _send(protocol: HTTPProtocol, outcome: _Outcome) -> None:
    error = outcome.error
    if error is None:
        protocol.response_bytes(200, SUCCESS_HEADERS, SUCCESS)
        return
    problem: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        problem["details"] = error.details
    content = orjson.dumps({"success": False, "error": problem})
    headers = [("content-type", "application/json"), ("content-length", str(len(content)))]
    headers += [(name.lower(), value) for name, value in error.headers.items()]
    protocol.response_bytes(outcome.status, headers, content)
