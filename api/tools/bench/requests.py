"""A request to each endpoint of the contract, with ids out of the data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from api.contract.exposures import Endpoint
from api.db.connection import connect
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.load import HOST
from api.web.schemas import request_schema


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        endpoint: the endpoint that it asks.
        path: decoded.
        body: of a POST; '' of a GET.
        given: the parameters as the service reads them, with the values of those that are not sent.
    """

    endpoint: Endpoint
    path: str
    body: str
    given: Mapping[str, Any]

    @property
    def method(self) -> str:
        """GET or POST."""
        return self.endpoint.method.upper()

    def request(self, key: str, etag: str = "") -> str:
        """The whole request, one character a byte; with an ETag it asks only for what is newer."""
        lines = [f"{self.method} {quote(self.path)} HTTP/1.1", f"Host: {HOST}", f"Authorization: Bearer {key}"]
        if etag:
            lines.append(f"If-None-Match: {etag}")
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", self.body])


def ask_each(scratch: Settings, endpoints: Sequence[Endpoint]) -> tuple[str, list[Question]]:
    """The workspace with the most mail, and a request to each endpoint, for its campaigns with the most.

    Raises:
        MailmartError: an endpoint needs something of which the bench does not know a value.
    """
    with connect(scratch, "mailmart_owner") as connection:
        found = connection.execute(
            "select workspace_id, campaign_id from raw.email_events where campaign_id <> ''"
            " group by workspace_id, campaign_id order by count(*) desc"
        ).fetchall()
    if not found:
        raise MailmartError("no mail has landed")
    workspace = found[0][0]
    campaigns = [campaign for owner, campaign in found if owner == workspace]
    known = {"campaignId": campaigns[0], "campaign_ids": campaigns[:2]}
    return workspace, [_question(endpoint, workspace, known) for endpoint in endpoints]


def _question(endpoint: Endpoint, workspace: str, known: Mapping[str, Any]) -> Question:
    schema = request_schema(endpoint)()
    needed = [name for name, field in schema.fields.items() if field.required]
    for name in (*endpoint.path_parameters, *needed):
        if name not in known:
            raise MailmartError(f"{endpoint.name} needs {name}, of which the bench knows no value", hint="See ask_each.")
    path = endpoint.path
    for name in endpoint.path_parameters:
        path = path.replace(f"{{{name}}}", known[name])
    sent = {name: known[name] for name in needed}
    if sent and endpoint.method == "get":
        raise MailmartError(f"{endpoint.name} needs {', '.join(sent)} in its query, which the bench does not send")
    given: Mapping[str, Any] = schema.load(sent)
    return Question(
        endpoint,
        f"/api/v1/workspaces/{workspace}{path}",
        json.dumps(sent) if endpoint.method == "post" else "",
        given,
    )
