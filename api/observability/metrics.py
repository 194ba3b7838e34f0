"""Prometheus metrics of requests. No label identifies a tenant. The metrics server sums them over the processes of a service."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("mailmart_requests", "HTTP requests.", ["endpoint", "method", "status"])
REQUEST_SECONDS = Histogram(
    "mailmart_request_seconds", "Time to process a request, in seconds.", ["endpoint"], buckets=BUCKETS_SECONDS
)
QUERY_SECONDS = Histogram(
    "mailmart_query_seconds", "Time of a request's database queries, in seconds.", ["endpoint"], buckets=BUCKETS_SECONDS
)
RESPONSES = Counter(
    "mailmart_responses", "Responses with data, by source: warehouse, cache, client (304 Not Modified).", ["source"]
)
RATE_LIMITED = Counter("mailmart_rate_limited", "Requests rejected by a rate limit.", ["endpoint"])
RATE_LIMIT_BACKEND_UP = Gauge(
    "mailmart_rate_limit_backend_up",
    "1 if Redis or Valkey holds the rate limits; 0 while it is unavailable and each process counts alone.",
    multiprocess_mode="mostrecent",
)
PUBLISHED_BATCH = Gauge(
    "mailmart_published_batch", "Id of the published batch that responses are computed from.", multiprocess_mode="mostrecent"
)
DATA_AS_OF = Gauge(
    "mailmart_data_as_of_timestamp_seconds",
    "Responses include all events loaded up to this time (Unix time).",
    multiprocess_mode="mostrecent",
)


def count_request(endpoint: str, method: str, status: int, seconds: float) -> None:
    """Counts a request and its duration."""
    requests, durations = _request_metrics(endpoint, method, status)
    requests.inc()
    durations.observe(seconds)


def observe_query(endpoint: str, seconds: float) -> None:
    """Counts the duration of a request's queries."""
    _query_histogram(endpoint).observe(seconds)


def count_response(source: str) -> None:
    """Counts a response with data; `source` is warehouse, cache or client."""
    _response_counter(source).inc()


# cached: looking up a labeled child is slower than counting, and there are few endpoints, methods and statuses
@cache
def _request_metrics(endpoint: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(endpoint, method, str(status)), REQUEST_SECONDS.labels(endpoint)


@cache
def _query_histogram(endpoint: str) -> Histogram:
    return QUERY_SECONDS.labels(endpoint)


@cache
def _response_counter(source: str) -> Counter:
    return RESPONSES.labels(source)
