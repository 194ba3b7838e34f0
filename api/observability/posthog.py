"""Telemetry: operational events for PostHog, if a key is configured. No event identifies a workspace or a person."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import psycopg

from api.db.connection import connect
from api.db.session import Role
from api.errors import MailmartError
from api.settings import Settings

if TYPE_CHECKING:
    from posthog import Posthog

LOG = logging.getLogger(__name__)

Properties = Mapping[str, str | int | float | None]

# the properties of each event; all others are dropped, including those that the SDK adds
EVENTS: dict[str, frozenset[str]] = {
    "batch_completed": frozenset({"is_manual", "models", "rows", "seconds", "attempts"}),
    "batch_failed": frozenset({"is_manual", "models", "rows", "seconds", "attempts", "reason"}),
    "continuous_build_failed": frozenset({"failures", "seconds", "reason"}),
    "export_completed": frozenset({"export_type", "format", "rows", "bytes", "seconds", "attempts", "storage"}),
    "export_failed": frozenset({"export_type", "format", "seconds", "attempts", "reason", "storage"}),
    "api_error": frozenset({"endpoint", "code", "method", "status", "unsent"}),
}
# without an explicit $ip, PostHog stores the address that sent the event
COMMON_PROPERTIES: dict[str, Any] = {"release": version("mailmart"), "$process_person_profile": False, "$ip": None}
SDK_PROPERTIES = frozenset({"$lib", "$lib_version", "$is_server", "$geoip_disable"})
# string properties are single words: a sentence, such as an error message, could contain personal data
WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")

MAX_QUEUED_EVENTS = 1000
MAX_ERRORS_PER_SECOND = 2
CLOSE_TIMEOUT_SECONDS = 1.5
RETRY_SECONDS = 5.0
WARNING_INTERVAL_SECONDS = 600.0
REQUEST_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class _Event:
    name: str
    properties: dict[str, Any]
    at: datetime


class Telemetry:
    """Sends events in a background thread; does nothing without a key.

    The thread starts with the first event of a process, also of a forked one. Callers never wait for the network or the database,
    and nothing raises. If the queue is full, events are dropped.
    """

    def __init__(self, settings: Settings, role: Role = "mailmart_worker") -> None:
        """`role`: that of the process; it reads the id of the installation."""
        self._settings = settings
        self._role = role
        self._is_enabled = settings.posthog_key is not None
        self._thread: threading.Thread | None
        self._reset()
        if self._is_enabled:
            reset = weakref.WeakMethod(self._reset)
            os.register_at_fork(after_in_child=lambda: _call(reset))

    def capture(self, event: str, properties: Properties) -> None:
        """Queues an event of EVENTS with the properties listed there: numbers, and words without spaces."""
        if not self._is_enabled or self._closed.is_set():
            return
        try:
            self._enqueue(event, properties)
        except Exception as error:  # noqa: BLE001 - telemetry must not break a request or a build
            self._warn(error)

    def close(self) -> None:
        """Sends the queued events, for at most CLOSE_TIMEOUT_SECONDS, and stops. Idempotent."""
        self._closed.set()
        thread = self._thread
        if thread is not None:
            self._has_events.set()
            thread.join(CLOSE_TIMEOUT_SECONDS)

    def _enqueue(self, event: str, properties: Properties) -> None:
        allowed = {name: _sanitize(value) for name, value in properties.items() if name in EVENTS[event]}
        with self._lock:
            if event == "api_error" and not self._errors.allow(allowed):
                return
            if len(self._queue) >= MAX_QUEUED_EVENTS:
                return
            self._queue.append(_Event(event, allowed, datetime.now(UTC)))
            if self._thread is None:
                # a daemon: only close() waits for it
                thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
                thread.start()
                self._thread = thread
        self._has_events.set()

    def _reset(self) -> None:
        """The state of a new process. A fork has no threads, but may have inherited a lock that one of them held."""
        self._lock = threading.Lock()
        self._queue: deque[_Event] = deque()
        self._errors = _ErrorLimiter(MAX_ERRORS_PER_SECOND)
        self._has_events = threading.Event()
        self._thread = None
        self._closed = threading.Event()
        self._last_warning_at = -WARNING_INTERVAL_SECONDS

    def _run(self) -> None:
        """Reads the installation id, loads the SDK and passes it the events. The first two are too slow for a request."""
        try:
            installation_id = self._installation_id()
            if installation_id is None:
                return
            client = self._client()
            while not self._closed.is_set():
                self._has_events.wait()
                self._has_events.clear()
                self._send_queued(client, installation_id)
            self._send_queued(client, installation_id)
            # may take long; close() stops waiting after a while
            client.shutdown()
        except Exception as error:  # noqa: BLE001 - telemetry must not break a request or a build
            self._warn(error)

    def _send_queued(self, client: Posthog, installation_id: str) -> None:
        while self._queue:
            event = self._queue.popleft()
            client.capture(
                event.name,
                distinct_id=installation_id,
                properties={**event.properties, **COMMON_PROPERTIES},
                timestamp=event.at,
                disable_geoip=True,
            )

    def _installation_id(self) -> str | None:
        """None if closed before the database responded."""
        while True:
            try:
                with connect(self._settings, self._role) as connection:
                    row = connection.execute("select installation_id from app.installation").fetchone()
                if row is not None:
                    return str(row[0])
            except (psycopg.Error, MailmartError) as error:
                self._warn(error)
            # the database may be unavailable, which may be what the queued event reports
            if self._closed.wait(RETRY_SECONDS):
                return None

    def _client(self) -> Posthog:
        # imported on use: it takes a second and 30 MB
        from posthog import Posthog

        client = Posthog(
            self._settings.posthog_key or "",
            host=self._settings.posthog_host,
            max_queue_size=MAX_QUEUED_EVENTS,
            flush_interval=1.0,
            timeout=REQUEST_TIMEOUT_SECONDS,
            max_retries=2,
            disable_geoip=True,
            before_send=_drop_unlisted_properties,
            on_error=lambda error, _: self._warn(error),
            enable_exception_autocapture=False,
            enable_local_evaluation=False,
        )
        # it logs each failed batch and each dropped event
        logging.getLogger("posthog").setLevel(logging.CRITICAL)
        return client

    def _warn(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._last_warning_at >= WARNING_INTERVAL_SECONDS:
            self._last_warning_at = now
            LOG.warning("cannot send telemetry: %s", str(error).replace(self._settings.posthog_key or "\0", "…"))


class _ErrorLimiter:
    """Allows a few events per second. The next allowed event has the number of dropped ones in its property `unsent`."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = 0
        self._allowed_count = 0
        self._dropped_count = 0

    def allow(self, properties: dict[str, Any]) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._allowed_count = second, 0
        if self._allowed_count >= self._per_second:
            self._dropped_count += 1
            return False
        self._allowed_count += 1
        properties["unsent"], self._dropped_count = self._dropped_count, 0
        return True


def _drop_unlisted_properties(message: dict[str, Any]) -> dict[str, Any]:
    """Removes what the SDK adds: operating system, versions, and environment variables."""
    allowed = COMMON_PROPERTIES.keys() | SDK_PROPERTIES | EVENTS[message["event"]]
    return {**message, "properties": {name: value for name, value in message["properties"].items() if name in allowed}}


def _sanitize(value: Any) -> Any:
    if isinstance(value, str):
        return value if WORD.fullmatch(value) else "other"
    return value if isinstance(value, int | float) else None


def _call(method: weakref.WeakMethod[Any]) -> None:
    bound = method()
    if bound is not None:
        bound()
