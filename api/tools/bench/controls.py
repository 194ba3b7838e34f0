"""The controls of `bench api`: they run under granian like the service, without authentication, rate limits, log and framework.

`bare` runs the same transaction as the service, makes the same response, and has a static route. `flask` is a Flask app with only
that static route.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
from flask import Flask, Response
from psycopg.types.numeric import FloatLoader
from psycopg_pool import ConnectionPool

from api.db.connection import conninfo
from api.db.prepared_statements import PreparedStatements, Statement
from api.processes.parent_death import end_with_parent
from api.server.asgi import AsgiAdapter
from api.server.granian import THREADS, serve
from api.settings import Settings
from api.tools.bench.control_responses import ControlResponse, read_responses

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

STATIC = "/static"
READY = "/readyz"
TARGETS = {"bare": "api.tools.bench.controls:make_bare", "flask": "api.tools.bench.controls:make_flask"}

Row = tuple[Any, ...]
RowShape = Callable[[Row], dict[str, Any]]


class _Connection(psycopg.Connection[Row]):
    @cached_property
    def statements(self) -> PreparedStatements:
        return PreparedStatements(self)


def make_bare() -> AsgiAdapter:
    """The bare WSGI function of this process."""
    end_with_parent()
    settings = Settings.from_environment()
    stored = read_responses(settings)
    pool = ConnectionPool(
        conninfo(settings, "mailmart_api"),
        connection_class=_Connection,
        min_size=1,
        max_size=settings.pool_size,
        kwargs={"autocommit": True, "prepare_threshold": None},
        configure=_load_numeric_as_float,
        open=True,
    )
    meta = {"data_as_of": datetime.fromisoformat(stored["data_as_of"])}
    constants = {STATIC: stored["static"].encode(), READY: b"{}"}
    responses = {
        request: (_statements(response), _sections(response), response["fields"])
        for request, response in stored["responses"].items()
    }

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        constant = constants.get(environ["PATH_INFO"])
        if constant is not None:
            return _respond(constant, start_response)
        transaction, sections, fields = responses[f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"]
        with pool.connection() as connection:
            _, *results = connection.statements.run(transaction, "")
        data = dict(fields)
        for section, rows in zip(sections, results, strict=True):
            section(data, rows)
        body = {"success": True, "data": data, "meta": meta}
        return _respond(orjson.dumps(body, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS), start_response)

    return AsgiAdapter(application, threads=THREADS)


def make_flask() -> AsgiAdapter:
    """The Flask app of this process."""
    end_with_parent()
    app = Flask(__name__, static_folder=None)
    body = read_responses(Settings.from_environment())["static"].encode()

    @app.get(STATIC)
    @app.get(READY)
    def constant() -> Response:
        return Response(body, 200, mimetype="application/json")

    return AsgiAdapter(app, threads=THREADS)


def _respond(body: bytes, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _statements(response: ControlResponse) -> list[Statement]:
    return [Statement(text, tuple(values)) for text, values in response["transaction"]]


Section = Callable[[dict[str, Any], list[Row]], None]


def _sections(response: ControlResponse) -> list[Section]:
    """For each statement a function that adds its rows to the data, prepared once so that a request does little."""
    return [
        _section(
            tuple(section["path"]),
            section["columns"],
            section["nullable_groups"],
            is_list=section["is_list"],
            is_nullable=section["is_nullable"],
        )
        for section in response["sections"]
    ]


def _section(
    path: tuple[str, ...],
    columns: list[tuple[int, str, str]] | None,
    nullable_groups: list[str],
    *,
    is_list: bool,
    is_nullable: bool,
) -> Section:
    if columns is None:
        return lambda data, rows: None
    shape = _row_shape(columns, nullable_groups)

    def put(data: dict[str, Any], rows: list[Row]) -> None:
        if not path:
            if rows:
                data.update(shape(rows[0]))
            return
        for name in path[:-1]:
            data = data.setdefault(name, {})
        if is_list:
            data[path[-1]] = [shape(row) for row in rows]
        elif rows:
            data.setdefault(path[-1], {}).update(shape(rows[0]))
        elif is_nullable:
            data[path[-1]] = None

    return put


def _row_shape(columns: list[tuple[int, str, str]], nullable_groups: list[str]) -> RowShape:
    names = [name for _, _, name in columns]
    if [(index, group) for index, group, _ in columns] == [(position, "") for position in range(len(columns))]:
        return lambda row: dict(zip(names, row, strict=False))

    def shape(row: Row) -> dict[str, Any]:
        shaped: dict[str, Any] = {}
        for index, group, name in columns:
            if group:
                shaped.setdefault(group, {})[name] = row[index]
            else:
                shaped[name] = row[index]
        for group in nullable_groups:
            if not any(value is not None for value in shaped[group].values()):
                shaped[group] = None
        return shaped

    return shape


def _load_numeric_as_float(connection: psycopg.Connection[Row]) -> None:
    connection.adapters.register_loader("numeric", FloatLoader)


def main() -> None:
    """`python -m api.tools.bench.controls bare 1`: serves a control with one worker, on MAILMART_HOST and MAILMART_PORT."""
    _, which, workers = sys.argv
    end_with_parent()
    serve(Settings.from_environment(), workers=int(workers), target=TARGETS[which])


if __name__ == "__main__":
    main()
