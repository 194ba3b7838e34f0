"""Clients that post numbered bodies at the same time, and remember what was answered to each."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import Counter

import orjson
import psycopg

from api.db.connection import connect
from api.settings import Settings


class Load:
    """Posts bodies `[{"id": "<client>-<number>"}]`, each once.

    Attributes:
        statuses: how often each status was answered; 0: no answer.
        accepted: the ids of bodies that got 200.
        sent: how often each body was sent.
    """

    def __init__(
        self,
        port: int,
        path: str,
        *,
        clients: int,
        requests: int,
        poison_every: int = 0,
        repeats: bool = False,
        pause_seconds: float = 0,
    ) -> None:
        """With `repeats`, a body is sent until it gets 200, as a provider does. Each client pauses after each body."""
        self.statuses: Counter[int] = Counter()
        self.accepted: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.poisoned = 0
        self._port = port
        self._path = path
        self._requests = requests
        self._poison_every = poison_every
        self._repeats = repeats
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._post, args=(client,)) for client in range(clients)]

    @property
    def is_running(self) -> bool:
        """Whether a client has still something to post."""
        return any(thread.is_alive() for thread in self._threads)

    def run(self) -> None:
        """Posts everything."""
        self.start()
        self.join()

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits until all is posted."""
        for thread in self._threads:
            thread.join(300)
            assert not thread.is_alive()

    def stop(self) -> None:
        """Each client ends after its body."""
        self._stopping.set()
        self.join()

    def wait_for_accepted(self, number: int) -> None:
        """Waits until so many bodies got 200."""
        deadline = time.monotonic() + 60
        while self.accepted.total() < number:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.01)

    def stored(self, settings: Settings) -> Counter[str]:
        """The ids of the bodies that were stored."""
        with connect(settings, "mailmart_owner") as connection:
            rows = connection.execute(
                "select payload -> 0 ->> 'id' from raw.webhook_payloads where payload -> 0 ? 'id'"
            ).fetchall()
        return Counter(row[0] for row in rows)

    def _post(self, client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        for number in range(self._requests):
            is_poison = bool(self._poison_every) and number % self._poison_every == 3
            status = self._post_once(connection, f"{client}-{number}", is_poison)
            while self._repeats and status != 200:
                time.sleep(0.05)
                status = self._post_once(connection, f"{client}-{number}", is_poison)
            # a server that has ended
            if self._stopping.is_set() or status == 0:
                break
            time.sleep(self._pause_seconds)
        connection.close()

    def _post_once(self, connection: http.client.HTTPConnection, body_id: str, is_poison: bool) -> int:
        event = {"id": body_id, "event": "open", **({"poison": True} if is_poison else {})}
        status = 0
        try:
            connection.request("POST", self._path, orjson.dumps([event]), {"Content-Type": "application/json"})
            response = connection.getresponse()
            status = response.status
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
        with self._lock:
            self.statuses[status] += 1
            self.sent[body_id] += 1
            self.poisoned += is_poison
            if status == 200:
                self.accepted[body_id] += 1
        return status


def end_sessions(settings: Settings) -> None:
    """Ends the sessions of the intake in PostgreSQL, whatever they are doing."""
    with contextlib.suppress(psycopg.OperationalError), connect(settings, None, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = 'mailmart' and pid <> pg_backend_pid()"
        )
