"""Sends a request again if the service says so or cannot be reached, and logs that it does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3
from mailmart_client.configuration import Configuration
from mailmart_client.failures import ConnectionFailed, seconds_of_retry_after
from mailmart_client.policy import STATUSES, Retries, is_repeatable
from mailmart_client.rest import RESTClientObject, RESTResponse

# the service cannot have received the request
NOT_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


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
        can_repeat = is_repeatable(method, path, sent)
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
                wait = self._retries.wait(attempt, None) if can_repeat or is_unsent else None
                if wait is None:
                    raise ConnectionFailed(f"{method} {path}: {reason}") from error
                self._retries.log(method, path, type(reason).__name__, attempt, wait)
                time.sleep(wait)
                continue
            if response.status not in STATUSES or not (can_repeat or response.status == 429):
                return response
            retry_after = seconds_of_retry_after(response.headers)
            wait = self._retries.wait(attempt, retry_after)
            if wait is None:
                return response
            self._retries.log(method, path, f"HTTP {response.status}", attempt, wait, is_retry_after=retry_after is not None)
            time.sleep(wait)
