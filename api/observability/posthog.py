"""Operational events for PostHog, where a key for it is configured: what failed and what was completed, and nothing of whom."""

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
from api.errors import MailmartError
from api.settings import Settings

if TYPE_CHECKING:
    from posthog import Posthog

LOG = logging.getLogger(__name__)

Properties = Mapping[str, str | int | float | None]

# what each event may say; everything else that is given, or that the SDK adds by itself, stays here
EVENTS: dict[str, frozenset[str]] = {
    "batch_completed": frozenset({"is_manual", "models", "rows", "seconds", "attempts"}),
    "batch_failed": frozenset({"is_manual", "models", "rows", "seconds", "attempts", "reason"}),
    "export_completed": frozenset({"export_type", "format", "rows", "bytes", "seconds", "attempts", "storage"}),
    "export_failed": frozenset({"export_type", "format", "seconds", "attempts", "reason", "storage"}),
    "api_error": frozenset({"endpoint", "code", "method", "status", "unsent"}),
}
# without an $ip of its own, PostHog notes the address that an event came from
OF_EVERY_EVENT: dict[str, Any] = {"release": version("mailmart"), "$process_person_profile": False, "$ip": None}
OF_THE_SDK = frozenset({"$lib", "$lib_version", "$is_server", "$geoip_disable"})
# a word of ours, and no sentence: those can have anything in them
WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")

MAX_WAITING = 1000
ERRORS_A_SECOND = 2
SECONDS_TO_CLOSE = 1.5
SECONDS_BETWEEN_TRIES = 5.0
SECONDS_BETWEEN_COMPLAINTS = 600.0
SECONDS_OF_A_REQUEST = 5


@dataclass(frozen=True)
class _Event:
    name: str
    properties: dict[str, Any]
    at: datetime


class Telemetry:
    """Sends events in the background, or nothing at all without a key.

    Nothing here waits for the network or the database but the telemetry's own threads, which are started with the first event
    of a process, a forked one's too; nothing raises. What does not find a place in the queue is dropped.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_on = settings.posthog_key is not None
        self._thread: threading.Thread | None
        self._renew()
        if self._is_on:
            renew = weakref.WeakMethod(self._renew)
            os.register_at_fork(after_in_child=lambda: _call(renew))

    def capture(self, event: str, properties: Properties) -> None:
        """Takes up an event of EVENTS, with the properties that are listed there: numbers, and words without a space."""
        if not self._is_on or self._closed.is_set():
            return
        try:
            self._take_up(event, properties)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not worth a request or a batch
            self._complain(error)

    def close(self) -> None:
        """Sends what waits, for as long as SECONDS_TO_CLOSE, and ends. Closed twice, it is closed."""
        self._closed.set()
        thread = self._thread
        if thread is not None:
            self._something_waits.set()
            thread.join(SECONDS_TO_CLOSE)

    def _take_up(self, event: str, properties: Properties) -> None:
        said = {name: _harmless(value) for name, value in properties.items() if name in EVENTS[event]}
        with self._lock:
            if event == "api_error" and not self._errors.lets_through(said):
                return
            # whoever sends removes them from the left
            if len(self._waiting) >= MAX_WAITING:
                return
            self._waiting.append(_Event(event, said, datetime.now(UTC)))
            if self._thread is None:
                # a daemon: the process never waits for it but in close()
                started = threading.Thread(target=self._send, name="telemetry", daemon=True)
                started.start()
                self._thread = started
        self._something_waits.set()

    def _renew(self) -> None:
        """What a process begins with. A fork has none of its parent's threads, and a lock may be held by one of them."""
        self._lock = threading.Lock()
        self._waiting: deque[_Event] = deque()
        self._errors = _Few(ERRORS_A_SECOND)
        self._something_waits = threading.Event()
        self._thread = None
        self._closed = threading.Event()
        self._complained = -SECONDS_BETWEEN_COMPLAINTS

    def _send(self) -> None:
        """Reads the installation's id, loads the SDK, and gives it the events; both take too long for a request."""
        try:
            installation_id = self._installation_id()
            if installation_id is None:
                return
            client = self._client()
            while not self._closed.is_set():
                self._something_waits.wait()
                self._something_waits.clear()
                self._hand_over(client, installation_id)
            self._hand_over(client, installation_id)
            # as long as it takes, or until nobody waits for it any more: see close()
            client.shutdown()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not worth a request or a batch
            self._complain(error)

    def _hand_over(self, client: Posthog, installation_id: str) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            client.capture(
                event.name,
                distinct_id=installation_id,
                properties={**event.properties, **OF_EVERY_EVENT},
                timestamp=event.at,
                disable_geoip=True,
            )

    def _installation_id(self) -> str | None:
        """None: it was closed before the database answered."""
        while True:
            try:
                with connect(self._settings, "mailmart_api") as connection:
                    row = connection.execute("select installation_id from app.installation").fetchone()
                if row is not None:
                    return str(row[0])
            except (psycopg.Error, MailmartError) as error:
                self._complain(error)
            # it is away, perhaps, and the event that waits says so
            if self._closed.wait(SECONDS_BETWEEN_TRIES):
                return None

    def _client(self) -> Posthog:
        # a second, and 30 MB: only for those who send something
        from posthog import Posthog

        client = Posthog(
            self._settings.posthog_key or "",
            host=self._settings.posthog_host,
            max_queue_size=MAX_WAITING,
            flush_interval=1.0,
            timeout=SECONDS_OF_A_REQUEST,
            max_retries=2,
            disable_geoip=True,
            before_send=_only_what_may_be_sent,
            on_error=lambda error, _: self._complain(error),
            enable_exception_autocapture=False,
            enable_local_evaluation=False,
        )
        # it would write a line for each batch that fails, and for each event that is dropped
        logging.getLogger("posthog").setLevel(logging.CRITICAL)
        return client

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained >= SECONDS_BETWEEN_COMPLAINTS:
            self._complained = now
            LOG.warning("telemetry is not sent: %s", str(error).replace(self._settings.posthog_key or "\0", "…"))


class _Few:
    """Lets a few through in each second, and counts the others for the next one that goes through."""

    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._second = 0
        self._let_through = 0
        self._held_back = 0

    def lets_through(self, said: dict[str, Any]) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._let_through = second, 0
        if self._let_through >= self._a_second:
            self._held_back += 1
            return False
        self._let_through += 1
        said["unsent"], self._held_back = self._held_back, 0
        return True


def _only_what_may_be_sent(message: dict[str, Any]) -> dict[str, Any]:
    """The SDK adds what it finds of the machine (system, its version, Python's) and in the environment."""
    may = OF_EVERY_EVENT.keys() | OF_THE_SDK | EVENTS[message["event"]]
    return {**message, "properties": {name: value for name, value in message["properties"].items() if name in may}}


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return value if WORD.fullmatch(value) else "other"
    return value if isinstance(value, int | float) else None


def _call(method: weakref.WeakMethod[Any]) -> None:
    found = method()
    if found is not None:
        found()
