"""Measures queries of metrics by campaign and day beside Cube, over the same fact in the same run, and their SQL in pgbench.

npm installs Cube into the temporary home folder, without its native extension, which is not on npm: 0.31 is the last release that
answers without it. Its sessions have the settings of the request from their start. It checks no key, counts no limit, and has
no totals and no intervals.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import marshmallow as ma

from api.analytics.query.request import request_fields, resolve_query
from api.auth.api_keys import create_key
from api.contract.publication import Publication
from api.db.connection import connect
from api.db.request_context import tenant_settings
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.load import HOST, Load, measure
from api.tools.bench.measured import Measured
from api.tools.bench.node_program import connection_environment, install, running
from api.tools.bench.pgbench import as_transaction, measure_prepared, measure_transaction
from api.tools.bench.scratch import build_warehouse, scratch_servers
from api.tools.bench.services import free_port, send, service
from api.tools.bench.statement_log import sent_transaction, statements_logged
from api.tools.bench.turns import measure_in_turns

# the last release that starts without its native extension
PACKAGES = ("@cubejs-backend/server@0.31.69", "@cubejs-backend/postgres-driver@0.31.69")
UNCACHED, CACHED = "mailmart, uncached", "mailmart, cached"
CUBE_UNCACHED, CUBE_CACHED = "Cube, uncached", "Cube, cached"
PREPARED, PLANNED = "pgbench, prepared", "pgbench"
START_TIMEOUT_SECONDS = 120
WARM_UP_SECONDS = 1.0
DAYS = 120
BODY: dict[str, Any] = {
    "metrics": ["sent", "delivered", "opened", "clicked", "open_rate", "click_rate"],
    "dimensions": ["campaign"],
    "granularity": "day",
    "time_range": "30d",
    "limit": 1000,
}
# a limit of Cube that no answer reaches. Each uncached request has another one, so Cube finds none of them in its cache
FIRST_LIMIT = "10000000"
CONFIGURATION = """\
module.exports = { telemetry: false, scheduledRefreshTimer: false, checkAuth: () => {} };
"""
# results may be cached for an hour: then a cached answer needs no query at all
MODEL = """\
cube(`mail`, {
  sql: `select * from core.fct_campaign_days where valid_from <= BATCH and valid_to > BATCH and workspace_id = 'WORKSPACE'`,
  refreshKey: { every: `1 hour` },
  measures: {
    sent: { sql: `sent`, type: `sum` },
    delivered: { sql: `delivered`, type: `sum` },
    opened: { sql: `opened`, type: `sum` },
    clicked: { sql: `clicked`, type: `sum` },
    open_rate: { sql: `round(100.0 * ${opened} / nullif(${delivered}, 0), 2)`, type: `number` },
    click_rate: { sql: `round(100.0 * ${clicked} / nullif(${delivered}, 0), 2)`, type: `number` },
  },
  dimensions: {
    campaign: { sql: `campaign_id`, type: `string` },
    sent_date: { sql: `sent_date`, type: `time` },
  },
});
"""


def bench_cube(
    settings: Settings,
    messages: int,
    connections: Sequence[int],
    rounds: int,
    seconds: float,
    progress: Callable[[str], None],
) -> dict[tuple[str, int], list[Measured]]:
    """Measures all in turn, by label and number of connections, with one process each.

    Raises:
        MailmartError: the build or npm fails, or an answer of Cube differs from ours.
    """
    with scratch_servers(dataclasses.replace(settings, host=HOST)) as scratch:
        progress(f"npm install {' '.join(PACKAGES)}")
        programs = install(scratch.home / "cube", *PACKAGES)
        publication = build_warehouse(scratch, messages, DAYS, progress)
        workspace = _workspace(scratch)
        request = _post(f"/api/v1/workspaces/{workspace}/analytics/query", BODY, create_key(scratch, workspace, name="bench"))
        context = _request_settings(publication, workspace)
        with (
            service(scratch, "uncached", 1, is_cached=False) as port,
            service(scratch, "cached", 1, is_cached=True) as cached_port,
            _cube(scratch, programs, publication, workspace, context) as cube_port,
        ):
            answer = json.loads(send(port, request, UNCACHED)[0])["data"]
            cube_request = _cube_request(answer["time_range"])
            progress("comparing the answers")
            _check_same(answer["rows"], _cube_rows(cube_port, cube_request))
            with statements_logged(scratch):
                transaction = sent_transaction(scratch, "query_metrics", lambda: send(port, request, UNCACHED))

            def load(to: int, text: str, number: str = "") -> Callable[[int], Measured]:
                return lambda clients: measure(Load(to, text, 200, clients, seconds, WARM_UP_SECONDS, number))

            # each measurement's numbers follow those of the measurements before it
            numbers = iter(range(int(FIRST_LIMIT), 10 * int(FIRST_LIMIT), int(FIRST_LIMIT) // 100))

            def cube_uncached(clients: int) -> Measured:
                number = str(next(numbers))
                return load(cube_port, cube_request.replace(FIRST_LIMIT, number), number)(clients)

            measurements: dict[str, Callable[[int], Measured]] = {
                UNCACHED: load(port, request),
                CUBE_UNCACHED: cube_uncached,
                PREPARED: lambda clients: measure_prepared(scratch, transaction, clients, seconds, WARM_UP_SECONDS),
                PLANNED: lambda clients: measure_transaction(
                    scratch, as_transaction(transaction), clients, seconds, WARM_UP_SECONDS
                ),
                CACHED: load(cached_port, request),
                CUBE_CACHED: load(cube_port, cube_request),
            }
            return measure_in_turns(measurements, connections, rounds, progress)


def _workspace(scratch: Settings) -> str:
    with connect(scratch, "mailmart_owner") as connection:
        row = connection.execute("select workspace_id from core.fct_campaign_days limit 1").fetchone()
    if row is None:
        raise MailmartError("there are no messages")
    return str(row[0])


def _request_settings(publication: Publication, workspace: str) -> dict[str, str]:
    """The settings that the service sets for the request, without the values of its filters."""
    layer = publication.contract.semantic_layer
    body = ma.Schema.from_dict(dict(request_fields(layer)))().load(BODY)
    settings = resolve_query(layer, body, datetime.now(UTC).date()).settings()
    del settings["mailmart.query_parameters"]
    return settings | tenant_settings(workspace, publication.batch_id)


def _post(path: str, body: Mapping[str, Any], key: str = "") -> str:
    text = json.dumps(body)
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json", f"Content-Length: {len(text)}"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", text])


def _cube_request(time_range: Mapping[str, str]) -> str:
    """The same query for Cube."""
    query = {
        "measures": [f"mail.{name}" for name in BODY["metrics"]],
        "dimensions": ["mail.campaign"],
        "timeDimensions": [
            {
                "dimension": "mail.sent_date",
                "granularity": "day",
                "dateRange": [time_range["start"][:10], time_range["end"][:10]],
            }
        ],
        "limit": int(FIRST_LIMIT),
    }
    return _post("/cubejs-api/v1/load", {"query": query})


@contextmanager
def _cube(
    scratch: Settings, programs: Path, publication: Publication, workspace: str, context: Mapping[str, str]
) -> Iterator[int]:
    """Runs Cube with as many connections and queries at a time as the service has, and yields its port."""
    folder = programs.parent.parent
    model = MODEL.replace("BATCH", str(publication.batch_id)).replace("WORKSPACE", workspace.replace("'", "''"))
    (folder / "cube.js").write_text(CONFIGURATION)
    (folder / "schema").mkdir()
    (folder / "schema" / "mail.js").write_text(model)
    port = free_port()
    postgres = connection_environment(scratch, context)
    environment = {
        **postgres,
        "CUBEJS_DB_TYPE": "postgres",
        "CUBEJS_DB_HOST": postgres.get("PGHOST", ""),
        "CUBEJS_DB_PORT": postgres.get("PGPORT", ""),
        "CUBEJS_DB_NAME": postgres.get("PGDATABASE", ""),
        "CUBEJS_DB_USER": postgres.get("PGUSER", ""),
        "CUBEJS_DB_PASS": postgres.get("PGPASSWORD", ""),
        "CUBEJS_DB_MAX_POOL": str(scratch.pool_size),
        "CUBEJS_DB_QUERY_LIMIT": "1000000000",
        "CUBEJS_CONCURRENCY": str(scratch.pool_size),
        "CUBEJS_CACHE_AND_QUEUE_DRIVER": "memory",
        "CUBEJS_API_SECRET": "bench",
        "CUBEJS_TELEMETRY": "false",
        "CUBEJS_REFRESH_WORKER": "false",
        "CUBEJS_LOG_LEVEL": "error",
        "PORT": str(port),
    }
    with running([str(programs / "cubejs-server"), "server"], environment, folder) as process:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise MailmartError("Cube does not start")
            time.sleep(0.5)
        yield port


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _cube_rows(port: int, request: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        answer = json.loads(send(port, request, "Cube")[0])
        # a query that takes longer than a few seconds is asked for again
        if answer.get("error") != "Continue wait":
            rows: list[dict[str, Any]] = answer["data"]
            return rows
    raise MailmartError(f"Cube does not answer within {START_TIMEOUT_SECONDS} s")


def _check_same(rows: Sequence[Mapping[str, Any]], cube_rows: Sequence[Mapping[str, Any]]) -> None:
    """Compares the values of both.

    Raises:
        MailmartError: they differ.
    """
    ours = {
        (row["dimensions"]["campaign"], row["time"]): [float(row["metrics"][name]["value"]) for name in BODY["metrics"]]
        for row in rows
    }
    # Cube shows nothing divided by nothing as null
    theirs = {
        (row["mail.campaign"], row["mail.sent_date.day"][:10]): [float(row[f"mail.{name}"] or 0) for name in BODY["metrics"]]
        for row in cube_rows
    }
    if not ours or ours != theirs:
        differing = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        raise MailmartError(f"Cube answers {len(differing)} of {len(ours)} rows differently, first {differing[:1]}")
