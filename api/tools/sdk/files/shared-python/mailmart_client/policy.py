"""Which requests are sent again, when, and how it is logged."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass
from urllib.parse import urlsplit

log = logging.getLogger("mailmart_client")

STATUSES = frozenset({429, 502, 503, 504})
# POSTs that do the same if they are sent twice: one reads, the other knows its events by their ids
REPEATABLE_POSTS = ("/analytics/compare", "/events")


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

    def log(self, method: str, path: str, reason: str, attempt: int, wait: float, *, is_retry_after: bool = False) -> None:
        """Logs that this attempt failed, and when the next one is."""
        source = ", as Retry-After says" if is_retry_after else ""
        log.warning("%s %s: %s; attempt %d of %d in %.1f s%s", method, path, reason, attempt + 1, self.attempts, wait, source)


def is_repeatable(method: str, path: str, headers: MutableMapping[str, str]) -> bool:
    """Whether the request does the same if it is sent twice. A request for an export gets an Idempotency-Key, and then does."""
    if method == "POST" and path.endswith("/analytics/export"):
        # an export that was created before the connection broke is not created twice
        headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
    return method != "POST" or "Idempotency-Key" in headers or path.endswith(REPEATABLE_POSTS)


def checked(url: str, key: str) -> str:
    """The service's URL without a slash at its end and without `/api/v1`.

    Raises:
        ValueError: the URL is empty or has no scheme, or the key is empty.
    """
    example = "for example http://127.0.0.1:8080"
    if not url.strip():
        raise ValueError(f"the URL of the service is empty: set it, {example}")
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"the URL of the service, {url!r}, does not begin with http:// or https://: write it in full, {example}")
    if not key.strip():
        raise ValueError("the key is empty: `mailmart keys create` makes one")
    return url.strip().rstrip("/").removesuffix("/api/v1")
