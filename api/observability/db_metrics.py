"""Metrics that are read from the database: the same in every process, and not lost if a process dies."""

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
CONNECT_TIMEOUT_SECONDS = 2
STATEMENT_TIMEOUT_SECONDS = 2
# after this time a scrape reports that the database is down
SCRAPE_TIMEOUT_SECONDS = CONNECT_TIMEOUT_SECONDS + STATEMENT_TIMEOUT_SECONDS
CACHE_TTL_SECONDS = 1.0
WARNING_INTERVAL_SECONDS = 60.0


@dataclass(frozen=True)
class DbMetric:
    """A gauge.

    Attributes:
        name: as Prometheus shows it.
        help: one sentence.
        values: labels and value. All values of a metric have the same label names, and no label identifies a tenant.
    """

    name: str
    help: str
    values: Sequence[tuple[Mapping[str, str], float]]


# reads the metrics of one package, in a read-only transaction of the role mailmart_api
ReadMetrics = Callable[[psycopg.Connection], Iterable[DbMetric]]


class DatabaseCollector(Collector):
    """Reads the metrics when Prometheus scrapes, at most once per CACHE_TTL_SECONDS."""

    def __init__(self, settings: Settings, readers: Sequence[ReadMetrics]) -> None:
        self._settings = settings
        self._readers = readers
        self._lock = threading.Lock()
        self._query: _MetricsQuery | None = None

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The metrics; only mailmart_database_up = 0 if the database does not respond."""
        query = self._current_query()
        metrics = query.metrics if query.is_done.wait(SCRAPE_TIMEOUT_SECONDS) else None
        is_up = metrics is not None
        yield GaugeMetricFamily("mailmart_database_up", "1 if the database responds, otherwise 0.", value=float(is_up))
        for metric in metrics or ():
            labels = list(metric.values[0][0]) if metric.values else []
            family = GaugeMetricFamily(metric.name, metric.help, labels=labels)
            for label_values, value in metric.values:
                family.add_metric([label_values[label] for label in labels], value)
            yield family

    def _current_query(self) -> _MetricsQuery:
        with self._lock:
            query = self._query
            # while a query hangs, scrapes wait for it and start no second one
            if query is None or (query.is_done.is_set() and time.monotonic() - query.started_at >= CACHE_TTL_SECONDS):
                query = self._query = _MetricsQuery(self._settings, self._readers)
            return query


class _MetricsQuery:
    """Reads all metrics once, in a thread: a client cannot bound its wait for a database server that is frozen."""

    _last_warning_at: float = -WARNING_INTERVAL_SECONDS

    def __init__(self, settings: Settings, readers: Sequence[ReadMetrics]) -> None:
        self._settings = settings
        self._readers = readers
        self.started_at = time.monotonic()
        self.metrics: list[DbMetric] | None = None
        self.is_done = threading.Event()
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def _run(self) -> None:
        try:
            options = f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS * 1000} -c default_transaction_read_only=on"
            with psycopg.connect(
                conninfo(self._settings, "mailmart_api", options=options),
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                autocommit=True,
            ) as connection:
                self.metrics = [metric for reader in self._readers for metric in self._read(reader, connection)]
        except (psycopg.Error, MailmartError) as error:
            self._warn("metrics cannot be read from the database: %s", error)
        finally:
            self.is_done.set()

    def _read(self, reader: ReadMetrics, connection: psycopg.Connection) -> list[DbMetric]:
        """The metrics of one reader; [] if it fails: its tables may be locked or not migrated, and the others still count."""
        try:
            with connection.transaction():
                return list(reader(connection))
        except Exception as error:
            if connection.closed:
                raise
            self._warn(f"the metrics of {reader.__module__} cannot be read: %s", error)
            return []

    @classmethod
    def _warn(cls, message: str, error: Exception) -> None:
        now = time.monotonic()
        if now - _MetricsQuery._last_warning_at >= WARNING_INTERVAL_SECONDS:
            _MetricsQuery._last_warning_at = now
            LOG.warning(message, str(error).strip())
