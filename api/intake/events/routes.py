"""The operation `sendEvents`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from api.auth.guard import RequestGuard
from api.db.pool import ConnectionPool
from api.errors import MalformedRequest
from api.ingest.arrays import split_array
from api.ingest.bodies import BadBody, check_body, decode
from api.ingest.reader import Document, RejectedLine, rejected
from api.intake.events.repository import EventRepository
from api.intake.events.schemas import EXAMPLE, MAX_EVENTS, EventsRequest, EventsResponse
from api.web.operations import Operation, ResponseSpec, authorized_workspace, operations_blueprint
from api.web.responses import resource_response

MAX_BODY_BYTES = 2 * 1024 * 1024
PATH = "/events"
SCOPE = "ingest"
DESCRIPTION = f"""Stores 1 to {MAX_EVENTS} mail events of your own platform. They are counted by the next build.

Each event is validated separately: the response has the number of stored events, and the index and the reason of each
rejected event.
A request can be repeated after an error or a timeout: an event whose `event_id` is already stored changes nothing.
After a 202 the events are committed, and no restart loses them.

The credential needs the scope `{SCOPE}`. An event that names a workspace other than that of the path is rejected."""


def events_blueprint(pool: ConnectionPool, guard: RequestGuard) -> Blueprint:
    """The operation, below /workspaces/{workspaceId}."""
    return operations_blueprint(
        "Events",
        "Mail events of your own platform.",
        [
            (
                Operation(
                    operation_id="sendEvents",
                    name="events",
                    label="Send events",
                    description=DESCRIPTION,
                    method="post",
                    path=PATH,
                    limit=300,
                    scope=SCOPE,
                    arguments=EventsRequest,
                    example=EXAMPLE,
                    max_body_bytes=MAX_BODY_BYTES,
                    responses={202: ResponseSpec(EventsResponse, "The events are stored, except for those in `rejections`.")},
                ),
                _send(EventRepository(pool)),
            )
        ],
        guard,
    )


def _send(events: EventRepository) -> Callable[..., Response]:
    def send(_body: Mapping[str, Any], _path: Mapping[str, str]) -> Response:
        documents: list[Document] = []
        unreadable: list[RejectedLine] = []
        for event in _documents(request.get_data()):
            if isinstance(event, Document):
                documents.append(event)
            else:
                unreadable.append(event)
        received = events.add(authorized_workspace(), documents, unreadable)
        rejections = [{"index": line.line, "problem": line.problem, "reason": line.reason} for line in received.rejected]
        return resource_response({"accepted": received.accepted, "rejected": len(rejections), "rejections": rejections}, 202)

    return send


def _documents(body: bytes) -> Iterator[Document | RejectedLine]:
    """The text of each event, as it was sent: a number keeps its digits.

    `body` is a JSON object whose only field is the array of events.

    Raises:
        MalformedRequest: the body is not UTF-8.
    """
    try:
        decode(body)
    except BadBody as bad:
        raise MalformedRequest(f"Must be JSON in UTF-8: {bad.reason}.") from bad
    array = body[body.index(b"[") : body.rindex(b"]") + 1]
    for index, (_, event) in enumerate(split_array([array])):
        try:
            if event.startswith(b"["):
                # of a file it would be an array of events
                raise BadBody("invalid_event", "a JSON array, not an object")
            yield Document(index, check_body(event))
        except BadBody as bad:
            yield rejected(index, bad, event)
