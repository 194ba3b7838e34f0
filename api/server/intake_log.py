"""Log lines and metrics of the intake's requests, written while PostgreSQL stores the next bodies: no response waits for them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from api.intake.metrics import count_request

ACCESS_LOG = logging.getLogger("mailmart.intake")
# without further bodies; an orderly end writes them first
MAX_DELAY_SECONDS = 0.005


class Outcome:
    """The outcome of a request: the fields of its log line.

    Attributes:
        method: of the request.
        provider: a known one, or `unknown`.
        source_id: the source of the token, if there is one.
        size: bytes of the body as it came.
        outcome: stored, rejected, checked, confirmed, malformed, disconnected, failed, or the error's code in lower case.
        status: of the response.
        reason: what was wrong.
        started_at: of the performance counter.
        seconds: from then to the response.
    """

    __slots__ = ("method", "outcome", "provider", "reason", "seconds", "size", "source_id", "started_at", "status")

    def __init__(self, method: str) -> None:
        self.method = method
        self.provider = "unknown"
        self.source_id = ""
        self.size = 0
        self.outcome = "stored"
        self.status = 200
        self.reason = ""
        self.started_at = time.perf_counter()
        self.seconds = 0.0


class RequestLog:
    """The outcomes that are not written yet. Used on one event loop."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []
        self._is_scheduled = False

    def add(self, outcome: Outcome) -> None:
        """Adds the outcome of a request that ends now."""
        outcome.seconds = time.perf_counter() - outcome.started_at
        self._outcomes.append(outcome)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(MAX_DELAY_SECONDS, self._write_late)

    def write_soon(self) -> None:
        """Writes them once the turns of the event loop that send a batch are over."""
        if self._outcomes:
            loop = asyncio.get_running_loop()
            # in the next turn, the request to Valkey is sent; uvloop writes to its sockets at the end of a turn
            loop.call_soon(loop.call_soon, loop.call_soon, self.write)

    def write(self) -> None:
        """Writes them."""
        outcomes, self._outcomes = self._outcomes, []
        for outcome in outcomes:
            _write(outcome)

    def _write_late(self) -> None:
        self._is_scheduled = False
        self.write()


def _write(outcome: Outcome) -> None:
    """Counts a request, and writes its log line: neither has a token, and the metric no source."""
    count_request(outcome.provider, outcome.outcome, outcome.seconds)
    if not ACCESS_LOG.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {
        "method": outcome.method,
        "status": outcome.status,
        "outcome": outcome.outcome,
        "provider": outcome.provider,
        "webhook_source": outcome.source_id,
        "bytes": outcome.size,
        "seconds": round(outcome.seconds, 6),
    }
    if outcome.reason and outcome.status != 404:
        fields["reason"] = outcome.reason
    ACCESS_LOG.info("webhook of %s: %s", outcome.provider, outcome.outcome, extra={"fields": fields})
