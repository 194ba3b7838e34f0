"""A request for each endpoint of the contract, with ids from the data."""

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
class BenchRequest:
    """One request.

    Attributes:
        endpoint: the endpoint that is called.
        path: the path, not yet quoted.
        path_params: the parameters in it.
        body: JSON of a POST; '' for a GET.
        params: the parameters as the service reads them, with the defaults of those that are not sent.
    """

    endpoint: Endpoint
    path: str
    path_params: Mapping[str, str]
    body: str
    params: Mapping[str, Any]

    @property
    def method(self) -> str:
        """GET or POST."""
        return self.endpoint.method.upper()

    def to_http(self, key: str, etag: str = "") -> str:
        """The whole HTTP request in Latin-1, with If-None-Match if there is an ETag."""
        lines = [f"{self.method} {quote(self.path)} HTTP/1.1", f"Host: {HOST}", f"Authorization: Bearer {key}"]
        if etag:
            lines.append(f"If-None-Match: {etag}")
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", self.body])


def bench_requests(scratch: Settings, endpoints: Sequence[Endpoint]) -> tuple[str, list[BenchRequest]]:
    """The workspace with the most events, and a request for each endpoint, with its largest campaigns.

    Raises:
        MailmartError: there are no events, or an endpoint needs a parameter that the bench does not know.
    """
    with connect(scratch, "mailmart_owner") as connection:
        rows = connection.execute(
            "select workspace_id, campaign_id from raw.email_events where campaign_id <> ''"
            " group by workspace_id, campaign_id order by count(*) desc"
        ).fetchall()
    if not rows:
        raise MailmartError("there are no events")
    workspace = rows[0][0]
    campaigns = [campaign for owner, campaign in rows if owner == workspace]
    known = {"campaignId": campaigns[0], "campaign_ids": campaigns[:2]}
    return workspace, [_request(endpoint, workspace, known) for endpoint in endpoints]


def _request(endpoint: Endpoint, workspace: str, known: Mapping[str, Any]) -> BenchRequest:
    schema = request_schema(endpoint)()
    required = [name for name, field in schema.fields.items() if field.required]
    for name in (*endpoint.path_parameters, *required):
        if name not in known:
            raise MailmartError(
                f"{endpoint.name} needs {name}, for which the bench has no value", hint="Add it to bench_requests."
            )
    path_params = {name: known[name] for name in endpoint.path_parameters}
    path = endpoint.path
    for name, value in path_params.items():
        path = path.replace(f"{{{name}}}", value)
    sent = {name: known[name] for name in required}
    if sent and endpoint.method == "get":
        raise MailmartError(f"{endpoint.name} needs {', '.join(sent)} in its query string, which the bench does not send")
    params: Mapping[str, Any] = schema.load(sent)
    return BenchRequest(
        endpoint,
        f"/api/v1/workspaces/{workspace}{path}",
        path_params,
        json.dumps(sent) if endpoint.method == "post" else "",
        params,
    )
