"""Measures the API under load, beside controls: its SQL in pgbench, bare WSGI functions, a static Flask route."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from api.auth.api_keys import create_key
from api.contract.exposures import Endpoint
from api.db.prepared_statements import Statement
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.control_responses import write_responses
from api.tools.bench.controls import STATIC
from api.tools.bench.load import HOST, Load, measure
from api.tools.bench.measured import Measured
from api.tools.bench.other_server import OtherServer
from api.tools.bench.pgbench import as_transaction, measure_prepared, measure_transaction
from api.tools.bench.processor_time import ProcessorClock
from api.tools.bench.report import (
    BARE,
    CACHED,
    NOT_MODIFIED,
    PREPARED,
    SQL,
    STATIC_BARE,
    STATIC_FLASK,
    UNCACHED,
    Options,
    Report,
)
from api.tools.bench.requests import BenchRequest, bench_requests
from api.tools.bench.scratch import build_warehouse, scratch_servers
from api.tools.bench.services import body_and_etag, control, service
from api.tools.bench.statement_log import sent_transaction, statements_logged
from api.tools.bench.turns import measure_in_turns

# the endpoint whose response the static routes return
STATIC_ENDPOINT = "campaign_analytics"
WARM_UP_SHARE = 0.25
MAX_WARM_UP = 1.0
# one after the other; a server's processor time is counted in hundredths of a second
REQUESTS_BY_SERVER = 300


def bench_api(settings: Settings, options: Options, progress: Callable[[str], None], other: OtherServer | None = None) -> Report:
    """Measures on embedded servers in a temporary home folder. `progress` gets a line for each step.

    With `other`, PostgreSQL is that server. Then there are no controls with the service's SQL, which the log of an embedded
    server shows, and the processor time of a response is measured by server.

    Raises:
        MailmartError: the build fails, or a response is wrong or differs between the service and a control.
    """
    with scratch_servers(dataclasses.replace(settings, host=HOST), other, progress) as scratch, ExitStack() as stack:
        publication = build_warehouse(scratch, options.messages, options.days, progress)
        endpoints = publication.contract.endpoints
        names = _chosen(endpoints, options.endpoints)
        workspace, requests = bench_requests(scratch, endpoints)
        key = create_key(scratch, workspace, name="bench")

        progress("comparing responses")
        ports = {UNCACHED: stack.enter_context(service(scratch, UNCACHED, options.workers, is_cached=False))}
        bodies = {request.endpoint.name: body_and_etag(ports[UNCACHED], request, key)[0] for request in requests}
        transactions = {} if other else _transactions(scratch, ports[UNCACHED], requests, key)
        write_responses(
            scratch,
            transactions,
            [] if other else requests,
            publication.data_as_of,
            bodies.get(STATIC_ENDPOINT) or max(bodies.values(), key=len),
        )
        if other is None:
            ports[BARE] = stack.enter_context(control(scratch, "bare", options.workers))
        ports[STATIC_FLASK] = stack.enter_context(control(scratch, "flask", options.workers))
        ports[CACHED] = stack.enter_context(service(scratch, CACHED, options.workers, is_cached=True))
        etags = {}
        for request in requests:
            name = request.endpoint.name
            if other is None:
                _check_same(request, BARE, bodies[name], body_and_etag(ports[BARE], request, key)[0])
            body, etags[name] = body_and_etag(ports[CACHED], request, key)
            _check_same(request, CACHED, bodies[name], body)

        requests = [request for request in requests if request.endpoint.name in names]
        measurements = _measurements(scratch, options, requests, key, ports, etags, transactions)
        return Report(
            endpoints=names,
            body_bytes={name: len(body.encode()) for name, body in bodies.items()},
            without_etag=tuple(
                request.endpoint.name for request in requests if request.method == "GET" and not etags[request.endpoint.name]
            ),
            rounds=measure_in_turns(measurements, options.connections, options.rounds, progress),
            processor=_processor_times(scratch, ports[UNCACHED], requests, key) if other else {},
        )


def _processor_times(scratch: Settings, port: int, requests: Sequence[BenchRequest], key: str) -> dict[str, dict[str, float]]:
    """Milliseconds of processor time of a response that is not cached, by endpoint and server; empty if they are unknown."""
    clock = ProcessorClock(scratch)
    times: dict[str, dict[str, float]] = {}
    for request in requests:
        before = clock.seconds()
        for _ in range(REQUESTS_BY_SERVER):
            body_and_etag(port, request, key)
        after = clock.seconds_since(before)
        if after:
            times[request.endpoint.name] = {name: seconds * 1000 / REQUESTS_BY_SERVER for name, seconds in after.items()}
    return times


def _chosen(endpoints: Sequence[Endpoint], names: Sequence[str]) -> tuple[str, ...]:
    available = tuple(endpoint.name for endpoint in endpoints)
    unknown = sorted(set(names) - set(available))
    if unknown:
        raise MailmartError(f"no such endpoint: {', '.join(unknown)}", hint=f"The endpoints are {', '.join(available)}.")
    return tuple(name for name in available if not names or name in names)


def _transactions(scratch: Settings, port: int, requests: Sequence[BenchRequest], key: str) -> dict[str, list[Statement]]:
    """The transaction that the service sends for each request, from the server's log, by endpoint.

    Raises:
        MailmartError: a transaction is not in the log.
    """
    with statements_logged(scratch):
        return {
            request.endpoint.name: sent_transaction(scratch, request.endpoint.name, partial(body_and_etag, port, request, key))
            for request in requests
        }


def _check_same(request: BenchRequest, label: str, service: str, control: str) -> None:
    """Checks that a control returns the same data as the service.

    Raises:
        MailmartError: it does not.
    """
    expected, actual = (json.loads(text)["data"] for text in (service, control))
    if expected != actual:
        differing = sorted(name for name in {*expected, *actual} if expected.get(name) != actual.get(name))
        raise MailmartError(f"{request.endpoint.name}: the response of {label} differs in {', '.join(differing)}")


def _measurements(
    scratch: Settings,
    options: Options,
    requests: Sequence[BenchRequest],
    key: str,
    ports: Mapping[str, int],
    etags: Mapping[str, str],
    transactions: Mapping[str, Sequence[Statement]],
) -> dict[tuple[str, str], Callable[[int], Measured]]:
    """All measurements by endpoint ('' for a static route) and label, each next to its control."""
    warm_up = min(options.seconds * WARM_UP_SHARE, MAX_WARM_UP)

    def load(port: int, text: str, status: int = 200) -> Callable[[int], Measured]:
        return lambda connections: measure(Load(port, text, status, connections, options.seconds, warm_up))

    def prepared(statements: Sequence[Statement]) -> Callable[[int], Measured]:
        return lambda connections: measure_prepared(scratch, statements, connections, options.seconds, warm_up)

    def sql(transaction: str) -> Callable[[int], Measured]:
        return lambda connections: measure_transaction(scratch, transaction, connections, options.seconds, warm_up)

    measurements: dict[tuple[str, str], Callable[[int], Measured]] = {}
    for request in requests:
        name, text = request.endpoint.name, request.to_http(key)
        measurements[name, UNCACHED] = load(ports[UNCACHED], text)
        if name in transactions:
            measurements |= {
                (name, BARE): load(ports[BARE], text),
                (name, PREPARED): prepared(transactions[name]),
                (name, SQL): sql(as_transaction(transactions[name])),
            }
        measurements[name, CACHED] = load(ports[CACHED], text)
        if request.method == "GET" and etags[name]:
            measurements[name, NOT_MODIFIED] = load(ports[CACHED], request.to_http(key, etags[name]), 304)
    static = f"GET {STATIC} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    statics = {STATIC_FLASK: STATIC_FLASK, STATIC_BARE: BARE}
    return measurements | {("", label): load(ports[name], static) for label, name in statics.items() if name in ports}
