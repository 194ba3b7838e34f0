"""What Prometheus is told, without a tenant in any label. Summed over the processes of a service where it has several."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("mailmart_requests", "Requests answered.", ["endpoint", "method", "status"])
REQUEST_SECONDS = Histogram("mailmart_request_seconds", "Time of a request in the service.", ["endpoint"], buckets=SECONDS)
QUERY_SECONDS = Histogram("mailmart_query_seconds", "Time of a request's queries.", ["endpoint"], buckets=SECONDS)
ANSWERS = Counter("mailmart_responses", "Answers with data, by where they came from: warehouse, cache, client (304).", ["source"])
LIMITED = Counter("mailmart_rate_limited", "Requests over a rate limit.", ["endpoint"])
LIMITS_ARE_SHARED = Gauge(
    "mailmart_rate_limit_backend_up",
    "1, or 0 while Redis or Valkey is away and each process counts alone.",
    multiprocess_mode="mostrecent",
)
PUBLISHED_BATCH = Gauge("mailmart_published_batch", "The batch that is served.", multiprocess_mode="mostrecent")
DATA_AS_OF = Gauge("mailmart_data_as_of_timestamp_seconds", "What had landed by then is served.", multiprocess_mode="mostrecent")


def count_request(endpoint: str, method: str, status: int, seconds: float) -> None:
    """Counts an answered request, and the seconds that it took."""
    requests, durations = _of_requests(endpoint, method, status)
    requests.inc()
    durations.observe(seconds)


def count_answer(source: str) -> None:
    """Counts an answer with data."""
    _of_answers(source).inc()


# looking a child up by its labels costs more than counting; endpoints, methods and statuses are few
@cache
def _of_requests(endpoint: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(endpoint, method, str(status)), REQUEST_SECONDS.labels(endpoint)


@cache
def _of_answers(source: str) -> Counter:
    return ANSWERS.labels(source)
