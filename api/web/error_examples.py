"""An example of each error that an operation of the OpenAPI document can have: its own code, message and details."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from api.errors import (
    INVALID,
    ApiError,
    ContentTooLarge,
    CursorExpired,
    Forbidden,
    InvalidCursor,
    InvalidHost,
    InvalidTimeRange,
    MalformedRequest,
    NotFound,
    QueryTimeout,
    RateLimitExceeded,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
    WarehouseUnavailable,
)

MAX_BODY_BYTES = 64 * 1024
WORKSPACE_ID = "ws_xyz789"
# the id that an error with this code names
IDS = {
    "CAMPAIGN_NOT_FOUND": "cmp_abc123",
    "CHART_NOT_FOUND": "engagement",
    "DOMAIN_NOT_FOUND": "dom_abc123",
    "EXPORT_NOT_FOUND": "exp_xyz123",
    "REPORT_NOT_FOUND": "rep_xyz123",
}


def error_examples(
    fields: Sequence[str], not_found: Iterable[str], limit: int, max_body_bytes: int | None, more: Iterable[ApiError] = ()
) -> dict[int, dict[str, dict[str, Any]]]:
    """The examples of an operation by status: name → `{"summary", "value"}`, as OpenAPI's `examples`.

    Args:
        fields: names of its parameters, or of the fields of its body.
        not_found: the codes of its 404.
        limit: requests a minute.
        max_body_bytes: of its JSON body; None if it has none.
        more: errors that others do not have.
    """
    has_body = max_body_bytes is not None
    errors: list[ApiError] = [
        *_bad_requests(fields, has_body=has_body),
        Unauthorized("The credential is unknown, expired or revoked"),
        Forbidden("The credential is not for this workspace"),
        *(NotFound(code, id=IDS.get(code, ""), workspace=WORKSPACE_ID) for code in dict.fromkeys(not_found) or ("NOT_FOUND",)),
        ValidationFailed(INVALID, details=_invalid_field(fields)),
        # of lists with an order and of queries; the pages of exports and reports go by time
        *([InvalidCursor()] if "cursor" in fields and {"order", "order_by"} & set(fields) else []),
        RateLimitExceeded(limit, 12, {}),
        ApiError("Internal server error; report the request's X-Request-Id."),
        WarehouseUnavailable("The database is unavailable; try again later."),
        QueryTimeout(),
        *more,
    ]
    if max_body_bytes is not None:
        errors += [RequestTimeout(), ContentTooLarge(max_body_bytes), UnsupportedMediaType()]
    examples: dict[int, dict[str, dict[str, Any]]] = {}
    for error in errors:
        examples.setdefault(error.status, {})[error.code] = {"summary": error.message, "value": _body(error)}
    return examples


def _bad_requests(fields: Sequence[str], *, has_body: bool) -> list[ApiError]:
    found: list[ApiError] = []
    for start, end in (("startDate", "endDate"), ("start_date", "end_date")):
        if start in fields:
            details = {start: [f"Must not be after {end}."], end: [f"Must not be before {start}."]}
            found.append(InvalidTimeRange("Start date must be before end date", details=details))
    # the pages of a list with an order are of one batch
    if {"cursor", "order"} <= set(fields):
        found.append(CursorExpired())
    found.append(MalformedRequest("Expecting ',' delimiter: line 3, column 3.") if has_body else InvalidHost())
    return found


def _invalid_field(fields: Sequence[str]) -> dict[str, list[str]]:
    if not fields:
        return {"verbose": ["Unknown field. This operation has none."]}
    name = fields[0]
    wrong = name.lower() if name.lower() != name else f"{name}s"
    return {wrong: [f"Unknown field. Did you mean {name}?"]}


def _body(error: ApiError) -> dict[str, Any]:
    problem: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        problem["details"] = error.details
    return {"success": False, "error": problem}
