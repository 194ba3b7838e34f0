"""What Prometheus is told, without a tenant in any label. Summed over the processes of a service where it has several."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("mailmart_requests", "Requests answered.", ["endpoint", "method", "status"])
REQUEST_SECONDS = Histogram("mailmart_request_seconds", "Time of a request in the service.", ["endpoint"], buckets=SECONDS)
QUERY_SECONDS = Histogram("mailmart_query_seconds", "Time of a request's queries.", ["endpoint"], buckets=SECONDS)
ANSWERS = Counter("mailmart_answers", "Answers with data, by where they came from: warehouse, cache, client (304).", ["source"])
LIMITED = Counter("mailmart_rate_limited", "Requests over a rate limit.", ["endpoint"])
LIMITS_ARE_SHARED = Gauge(
    "mailmart_rate_limits_are_shared",
    "1, or 0 while Redis or Valkey is away and each process counts alone.",
    multiprocess_mode="mostrecent",
)
PUBLISHED_BATCH = Gauge("mailmart_published_batch", "The batch that is served.", multiprocess_mode="mostrecent")
DATA_AS_OF = Gauge("mailmart_data_as_of_timestamp_seconds", "What had landed by then is served.", multiprocess_mode="mostrecent")
