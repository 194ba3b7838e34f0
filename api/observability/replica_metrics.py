"""Metrics of the streaming replica from which a server process reads."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge

from api.db.replica import ReplicaReports
from api.db.replica_state import ReplicaState

READS = Counter(
    "mailmart_reads", "Database queries of requests, if a replica is configured, by the server that answered.", ["server"]
)
FALLBACKS = Counter(
    "mailmart_replica_fallbacks",
    "Queries that the primary answered although a replica is configured, by reason: behind, unreachable, busy, conflict,"
    " failed, live.",
    ["reason"],
)


@cache
def _up() -> Gauge:
    # made when it is first set: without a replica there is no metric, and no alert
    return Gauge(
        "mailmart_replica_up", "1 if the replica responds and is one of the primary, otherwise 0.", multiprocess_mode="mostrecent"
    )


@cache
def _batch() -> Gauge:
    return Gauge(
        "mailmart_replica_published_batch", "Id of the published batch that the replica has.", multiprocess_mode="mostrecent"
    )


@cache
def _lag() -> Gauge:
    return Gauge(
        "mailmart_replica_lag_seconds",
        "Age of the last transaction that the replica has replayed, if it has received later ones; otherwise 0.",
        multiprocess_mode="mostrecent",
    )


def _count_read(reason: str) -> None:
    if reason:
        READS.labels("primary").inc()
        FALLBACKS.labels(reason).inc()
    else:
        READS.labels("replica").inc()


def _set_state(state: ReplicaState | None) -> None:
    _up().set(state is not None)
    if state is not None:
        _batch().set(state.batch_id or 0)
        _lag().set(state.lag_seconds or 0)


REPLICA_REPORTS = ReplicaReports(_count_read, _set_state)
