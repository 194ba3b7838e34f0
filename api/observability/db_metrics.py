"""Metrics that the database knows: the same whatever processes there are, and whichever of them died."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api.db.connection import conninfo
from api.errors import MailmartError
from api.settings import Settings

LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 2
STATEMENT_SECONDS = 2
# a server that hangs answers neither: who scrapes is told so after as long
PATIENCE_SECONDS = CONNECT_SECONDS + STATEMENT_SECONDS
CACHE_TTL_SECONDS = 1.0
SECONDS_BETWEEN_COMPLAINTS = 60.0


@dataclass(frozen=True)
class DbMetric:
    """A metric: its name, what it is, and its values by labels, of which none names a tenant."""

    name: str
    meaning: str
    values: Sequence[tuple[Mapping[str, str], float]]


# what the part that owns some tables says of them; each in a transaction of its own, of the role mailmart_worker
DbMetrics = Callable[[psycopg.Connection], Iterable[DbMetric]]


class DatabaseCollector(Collector):
    """Asks the database when Prometheus asks, at most once a second, and tells how it was."""

    def __init__(self, settings: Settings, parts: Sequence[DbMetrics]) -> None:
        self._settings = settings
        self._parts = parts
        self._lock = threading.Lock()
        self._asking: _Asked | None = None

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The figures; while the database is away, only that it is."""
        asked = self._asked()
        figures = asked.figures if asked.is_answered.wait(PATIENCE_SECONDS) else None
        is_up = figures is not None
        yield GaugeMetricFamily("mailmart_database_up", "1, or 0 while the database does not answer.", value=float(is_up))
        for figure in figures or ():
            # of the first value: all of a metric have the same labels
            labels = list(figure.values[0][0]) if figure.values else []
            family = GaugeMetricFamily(figure.name, figure.meaning, labels=labels)
            for by, value in figure.values:
                family.add_metric([by[label] for label in labels], value)
            yield family

    def _asked(self) -> _Asked:
        with self._lock:
            asked = self._asking
            # one that hangs is waited for, and no second one is sent after it
            if asked is None or (asked.is_answered.is_set() and time.monotonic() - asked.began >= CACHE_TTL_SECONDS):
                asked = self._asking = _Asked(self._settings, self._parts)
            return asked


class _Asked:
    """One asking, in a thread of its own: nothing on our side bounds the wait for a server that has stopped."""

    complained: float = -SECONDS_BETWEEN_COMPLAINTS

    def __init__(self, settings: Settings, parts: Sequence[DbMetrics]) -> None:
        self._settings = settings
        self._parts = parts
        self.began = time.monotonic()
        self.figures: list[DbMetric] | None = None
        self.is_answered = threading.Event()
        threading.Thread(target=self._ask, name="figures", daemon=True).start()

    def _ask(self) -> None:
        try:
            options = f"-c statement_timeout={STATEMENT_SECONDS * 1000} -c default_transaction_read_only=on"
            with psycopg.connect(
                conninfo(self._settings, "mailmart_worker", options=options),
                connect_timeout=CONNECT_SECONDS,
                autocommit=True,
            ) as connection:
                self.figures = [figure for part in self._parts for figure in self._figures(part, connection)]
        except (psycopg.Error, MailmartError) as error:
            self._complain("the database cannot be asked for metrics: %s", error)
        finally:
            self.is_answered.set()

    def _figures(self, part: DbMetrics, connection: psycopg.Connection) -> list[DbMetric]:
        """A part's figures, all or none: one whose tables are locked, or are still to be migrated, costs the others nothing."""
        try:
            with connection.transaction():
                return list(part(connection))
        except Exception as error:
            if connection.closed:
                raise
            self._complain(f"{part.__module__} has no metrics: %s", error)
            return []

    @classmethod
    def _complain(cls, what: str, error: Exception) -> None:
        now = time.monotonic()
        if now - _Asked.complained >= SECONDS_BETWEEN_COMPLAINTS:
            _Asked.complained = now
            LOG.warning(what, str(error).strip())
