"""Sends a request again if the service says so or cannot be reached, and logs that it does."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from mailmart_client.configuration import Configuration
from mailmart_client.errors import ConnectionFailed, seconds_of_retry_after
from mailmart_client.rest import RESTClientObject, RESTResponse

log = logging.getLogger("mailmart_client")

STATUSES = frozenset({429, 502, 503, 504})
# POSTs that do the same if they are sent twice: one reads, the other knows its events by their ids
REPEATABLE_POSTS = ("/analytics/compare", "/events")
# the service cannot have received the request
NOT_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


@dataclass(frozen=True)
class Retries:
    """How often and how long: `attempts` counts the first one. Without Retry-After the wait doubles, from `first_wait` seconds.

    If Retry-After is longer than `max_wait` seconds, the error is raised at once.
    """

    attempts: int = 5
    first_wait: float = 0.5
    max_wait: float = 60.0

    def wait(self, attempt: int, retry_after: float | None) -> float | None:
        """Seconds to wait after this attempt (the first is 1); None if there is to be no other."""
        if attempt >= self.attempts or (retry_after is not None and retry_after > self.max_wait):
            return None
        if retry_after is not None:
            return retry_after
        # clients that failed together should not come back together
        return min(self.max_wait, self.first_wait * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class RetryingRestClient(RESTClientObject):
    """The generated HTTP client with retries and a timeout."""

    def __init__(self, configuration: Configuration, retries: Retries, timeout: float) -> None:
        # urllib3 would retry too, and silently
        configuration.retries = urllib3.Retry(0, redirect=0, raise_on_redirect=False)
        super().__init__(configuration)
        self._retries = retries
        self._timeout = timeout

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> RESTResponse:
        """Returns the last response, whatever its status.

        Raises:
            ConnectionFailed: there was no response.
        """
        path = urlsplit(url).path
        sent = dict(headers or {})
        if method == "POST" and path.endswith("/analytics/export"):
            # an export that was created before the connection broke is not created twice
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        is_repeatable = method != "POST" or "Idempotency-Key" in sent or path.endswith(REPEATABLE_POSTS)
        attempt = 0
        while True:
            attempt += 1
            try:
                response: RESTResponse = super().request(  # type: ignore[no-untyped-call]
                    method, url, dict(sent), body, post_params, _request_timeout or self._timeout
                )
                # the connection may also break in the body
                response.read()  # type: ignore[no-untyped-call]
            except urllib3.exceptions.HTTPError as error:
                reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
                is_unsent = isinstance(reason, NOT_SENT)
                wait = self._retries.wait(attempt, None) if is_repeatable or is_unsent else None
                if wait is None:
                    raise ConnectionFailed(f"{method} {path}: {reason}") from error
                self._sleep(method, path, type(reason).__name__, attempt, wait, "")
                continue
            if response.status not in STATUSES or not (is_repeatable or response.status == 429):
                return response
            retry_after = seconds_of_retry_after(response.headers)
            wait = self._retries.wait(attempt, retry_after)
            if wait is None:
                return response
            source = ", as Retry-After says" if retry_after is not None else ""
            self._sleep(method, path, f"HTTP {response.status}", attempt, wait, source)

    def _sleep(self, method: str, path: str, reason: str, attempt: int, wait: float, source: str) -> None:
        log.warning(
            "%s %s: %s; attempt %d of %d in %.1f s%s", method, path, reason, attempt + 1, self._retries.attempts, wait, source
        )
        time.sleep(wait)
