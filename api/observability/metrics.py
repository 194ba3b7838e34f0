"""The Prometheus metrics of the HTTP service, without a tenant in any label; summed over its processes."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("mailmart_requests", "Requests.", ["endpoint", "method", "status"])
REQUEST_SECONDS = Histogram("mailmart_request_seconds", "Duration of a request.", ["endpoint"], buckets=SECONDS)
QUERY_SECONDS = Histogram("mailmart_query_seconds", "Duration of a request's database queries.", ["endpoint"], buckets=SECONDS)
RESPONSES = Counter("mailmart_responses", "Responses with data, by source: warehouse, cache or client (304).", ["source"])
RATE_LIMITED = Counter("mailmart_rate_limited", "Requests rejected by a rate limit.", ["endpoint"])
RATE_LIMIT_BACKEND_UP = Gauge(
    "mailmart_rate_limit_backend_up",
    "1 if Redis or Valkey answers; 0 if it is unavailable and each process counts alone.",
    multiprocess_mode="mostrecent",
)
PUBLISHED_BATCH = Gauge("mailmart_published_batch", "The published batch that the API reads.", multiprocess_mode="mostrecent")
DATA_AS_OF = Gauge(
    "mailmart_data_as_of_timestamp_seconds",
    "Responses include all events loaded up to this time.",
    multiprocess_mode="mostrecent",
)


def count_request(endpoint: str, method: str, status: int, seconds: float) -> None:
    """Counts a request and its duration."""
    requests, durations = _request_metrics(endpoint, method, status)
    requests.inc()
    durations.observe(seconds)


def count_response(source: str) -> None:
    """Counts a response with data."""
    _response_counter(source).inc()


# cached: looking up a child by its labels costs more than counting, and there are few endpoints, methods and statuses
@cache
def _request_metrics(endpoint: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(endpoint, method, str(status)), REQUEST_SECONDS.labels(endpoint)


@cache
def _response_counter(source: str) -> Counter:
    return RESPONSES.labels(source)
