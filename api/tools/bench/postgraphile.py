"""Measures the API beside PostGraphile, which serves the same views of one request, without keys, limits and a log.

npm installs PostGraphile into the temporary home folder. Its sessions have the settings of the request from their start, which
costs nothing in a request, and its queries are prepared.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.analytics.endpoint_request import resolve_settings
from api.auth.api_keys import create_key
from api.contract.exposures import Section
from api.db.request_context import tenant_settings
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.load import HOST, Load, measure
from api.tools.bench.measured import Measured
from api.tools.bench.node_program import connection_environment, install, running
from api.tools.bench.requests import BenchRequest, bench_requests
from api.tools.bench.scratch import build_warehouse, scratch_servers
from api.tools.bench.services import body_and_etag, free_port, service
from api.tools.bench.turns import measure_in_turns

PACKAGE = "postgraphile@4"
ENDPOINT = "campaign_analytics"
POSTGRAPHILE, MAILMART = "PostGraphile", "mailmart, uncached"
START_TIMEOUT_SECONDS = 60
WARM_UP_SECONDS = 1.0
DAYS = 120
INTROSPECTION = (
    "{__schema{queryType{fields{name type{...t}}} types{name fields{name}}}}"
    " fragment t on __Type{name ofType{name ofType{name ofType{name}}}}"
)


def bench_postgraphile(
    settings: Settings,
    messages: int,
    connections: Sequence[int],
    rounds: int,
    seconds: float,
    progress: Callable[[str], None],
) -> dict[tuple[str, int], list[Measured]]:
    """Measures both in turn, by label and number of connections, with one process each.

    Raises:
        MailmartError: the build or npm fails, or a response is wrong.
    """
    with scratch_servers(dataclasses.replace(settings, host=HOST)) as scratch:
        progress(f"npm install {PACKAGE}")
        program = install(scratch.home / "postgraphile", PACKAGE) / "postgraphile"
        publication = build_warehouse(scratch, messages, DAYS, progress)
        workspace, requests = bench_requests(scratch, publication.contract.endpoints)
        request = next(request for request in requests if request.endpoint.name == ENDPOINT)
        key = create_key(scratch, workspace, name="bench")
        context = _request_settings(request, workspace, publication.batch_id)
        with (
            service(scratch, "uncached", 1, is_cached=False) as port,
            _postgraphile(scratch, program, context, request.endpoint.sections) as (other_port, query),
        ):
            body_and_etag(port, request, key)

            def load(to: int, text: str) -> Callable[[int], Measured]:
                return lambda clients: measure(Load(to, text, 200, clients, seconds, WARM_UP_SECONDS))

            measurements = {MAILMART: load(port, request.to_http(key)), POSTGRAPHILE: load(other_port, query)}
            return measure_in_turns(measurements, connections, rounds, progress)


def _request_settings(request: BenchRequest, workspace: str, batch_id: int) -> dict[str, str]:
    """The settings that the service sets for the request."""
    own, _ = resolve_settings(request.endpoint, request.params, request.path_params, datetime.now(UTC).date())
    return own | tenant_settings(workspace, batch_id)


@contextmanager
def _postgraphile(
    scratch: Settings, program: Path, context: Mapping[str, str], sections: Sequence[Section]
) -> Iterator[tuple[int, str]]:
    """Runs PostGraphile, and yields its port and the HTTP request of a query for all columns of the sections."""
    port = free_port()
    schema = sections[0].view.split(".")[0].strip('"')
    command = [
        *(str(program), "--schema", schema, "--host", HOST, "--port", str(port), "--max-pool-size", str(scratch.pool_size)),
        *(
            "--simple-collections",
            "only",
            "--dynamic-json",
            "--disable-graphiql",
            "--disable-query-log",
            "--disable-default-mutations",
        ),
    ]
    with running(command, connection_environment(scratch, context)) as process:
        yield port, _query(port, _introspect(process, port), sections)


def _introspect(process: subprocess.Popen[bytes], port: int) -> dict[str, Any]:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            return _post(port, INTROSPECTION)
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise MailmartError("PostGraphile does not start") from error
            time.sleep(0.2)


def _query(port: int, document: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """The request for all columns of the views.

    Raises:
        MailmartError: PostGraphile does not offer a view, or its response has an error.
    """
    columns = {each["name"]: [field["name"] for field in each["fields"] or ()] for each in document["__schema"]["types"]}
    by_type = {_plain(_innermost(field["type"])): field for field in document["__schema"]["queryType"]["fields"]}
    parts = []
    for section in sections:
        field = by_type.get(_plain(section.view.split(".")[-1]))
        if field is None:
            raise MailmartError(f"PostGraphile does not offer {section.view}")
        parts.append(f"{field['name']}{{{' '.join(columns[_innermost(field['type'])])}}}")
    query = "{" + " ".join(parts) + "}"
    if not all(_post(port, query).values()):
        raise MailmartError("PostGraphile finds no rows")
    body = json.dumps({"query": query})
    lines = ["POST /graphql HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body])


def _post(port: int, query: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("POST", "/graphql", json.dumps({"query": query}), {"Content-Type": "application/json"})
        result = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if result.get("errors"):
        raise MailmartError("PostGraphile responds with an error", hint=json.dumps(result["errors"])[:2000])
    data: dict[str, Any] = result["data"]
    return data


def _innermost(kind: Mapping[str, Any]) -> str:
    while kind.get("ofType"):
        kind = kind["ofType"]
    return str(kind.get("name"))


def _plain(name: str) -> str:
    """A name without what PostGraphile changes in it."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
