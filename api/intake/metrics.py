"""Prometheus metrics of the intake. A label is a provider or an outcome, never a tenant or a source."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from api.observability.metrics import BUCKETS_SECONDS

INTAKE_REQUESTS = Counter("mailmart_intake_requests", "Requests to the intake, by outcome.", ["provider", "outcome"])
INTAKE_SECONDS = Histogram(
    "mailmart_intake_request_seconds",
    "Time from the headers of a webhook to its response, in seconds.",
    ["provider"],
    buckets=BUCKETS_SECONDS,
)
INTAKE_BATCH_BODIES = Histogram(
    "mailmart_intake_commit_bodies",
    "Bodies that one commit stored.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
INTAKE_HELD_BYTES = Gauge("mailmart_intake_held_bytes", "Bytes of bodies that are not stored yet.", multiprocess_mode="livesum")


def count_request(provider: str, outcome: str, seconds: float) -> None:
    """Counts a request and its duration."""
    requests, durations = _metrics(provider, outcome)
    requests.inc()
    durations.observe(seconds)


@cache
def _metrics(provider: str, outcome: str) -> tuple[Counter, Histogram]:
    return INTAKE_REQUESTS.labels(provider, outcome), INTAKE_SECONDS.labels(provider)
