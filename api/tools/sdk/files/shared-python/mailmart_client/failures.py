"""The exceptions of the client."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mailmart_client.codes import Code
from mailmart_client.models.export import Export


class MailmartError(Exception):
    """The base of all exceptions of this module."""


class ConnectionFailed(MailmartError):
    """No response: the service cannot be reached, or the connection broke. The cause is the HTTP library's exception."""


class ApiError(MailmartError):
    """The service responded with an error.

    `status` is the HTTP status; `code` the service's error code, such as "CAMPAIGN_NOT_FOUND", or "UNKNOWN_RESPONSE" if the
    response is not the service's own; `details` the messages by argument; `retry_after` the seconds of Retry-After;
    `request_id` identifies the request in the service's log.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        problem = _problem(body)
        self.status = status
        self.code: Code = problem.get("code", "UNKNOWN_RESPONSE")
        self.message: str = problem.get("message", "The response is not one of the mailmart API. Check the URL.")
        # the service says startDate, the argument is start_date
        self.details: dict[str, list[str]] = {_argument(name): texts for name, texts in (problem.get("details") or {}).items()}
        self.retry_after = seconds_of_retry_after(headers)
        self.request_id = headers.get("X-Request-Id")
        super().__init__(status, self.code, self.message)

    def __str__(self) -> str:
        details = "".join(f"\n  {name}: {' '.join(messages)}" for name, messages in self.details.items())
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.status} {self.code}: {self.message}{request}{details}"


class ExportFailed(MailmartError):
    """The export will have no file: it failed, was canceled or is expired. `export` says which, and why."""

    def __init__(self, export: Export) -> None:
        self.export = export
        reason = f": {export.error.message}" if export.error else ""
        super().__init__(f"export {export.export_id} is {getattr(export.status, 'value', export.status)}{reason}")


class ExportTimeout(MailmartError, TimeoutError):
    """The export was not completed in time. It goes on; wait for it again."""


class DownloadFailed(MailmartError):
    """The downloaded file is not the export's: its SHA-256 is another."""


def seconds_of_retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of Retry-After; None if there are none. The service sends seconds, never a date."""
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _argument(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def _problem(body: bytes) -> dict[str, Any]:
    """The service's error in a response; empty if a proxy or another server responded."""
    try:
        problem = json.loads(body)["error"]
    except (ValueError, TypeError, LookupError):
        return {}
    return problem if isinstance(problem, dict) else {}
