"""Maintenance in transactions of bounded size, which wait while a build runs or another session has locked their tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from api.db.lock_retry import LOCK_ERRORS, SECONDS_BETWEEN_ATTEMPTS

LOG = logging.getLogger(__name__)
# a build, or a session that has locked the table
SECONDS_TO_WAIT = 900.0
# less than deadlock_timeout: a build that removes old versions of the same rows is never the one that fails
LOCK_TIMEOUT = "-c lock_timeout=500ms"

Result = TypeVar("Result")


class StoppedError(Exception):
    """The work was stopped, or has waited for too long; the next run continues it."""


class BoundedTransactions:
    """Runs transactions one after the other for as long as `should_continue` says so.

    Attributes:
        name: of the work, for the log.
        should_continue: asked before each transaction.
        seconds_to_wait: how long one transaction is tried for.
    """

    def __init__(self, name: str, should_continue: Callable[[], bool], seconds_to_wait: float = SECONDS_TO_WAIT) -> None:
        self._name = name
        self._should_continue = should_continue
        self._seconds_to_wait = seconds_to_wait

    def attempt(self, transaction: Callable[[], Result | None]) -> Result:
        """Repeats a transaction while a build runs (None), or while another session has locked its tables.

        Raises:
            StoppedError: the work was stopped, or has waited for too long.
        """
        deadline = time.monotonic() + self._seconds_to_wait
        while self._should_continue():
            with suppress(*LOCK_ERRORS):
                result = transaction()
                if result is not None:
                    return result
            if time.monotonic() > deadline:
                LOG.warning(
                    "%s: stopped, a build or another session has been in the way for %g s", self._name, self._seconds_to_wait
                )
                break
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        raise StoppedError
