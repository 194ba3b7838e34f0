"""What the service is measured against, under granian as the service is: with no key, no limit, no log and no framework.

`bare` runs the very transaction of the service, makes the same body of its rows, and has a route that returns a constant;
`flask` is a Flask app with that route alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
from flask import Flask, Response
from psycopg.types.numeric import FloatLoader
from psycopg_pool import ConnectionPool

from api.db.connection import conninfo
from api.processes.parent_death import end_with_parent
from api.server.granian import serve
from api.settings import Settings
from api.tools.bench.control_answers import Answer, read_answers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

STATIC = "/static"
READY = "/readyz"
TARGETS = {"bare": "api.tools.bench.controls:make_bare", "flask": "api.tools.bench.controls:make_flask"}

Row = tuple[Any, ...]
Shape = Callable[[Row], dict[str, Any]]


def make_bare() -> WSGIApplication:
    """The bare WSGI function of this process."""
    end_with_parent()
    settings = Settings.from_environment()
    told = read_answers(settings)
    pool = ConnectionPool(
        conninfo(settings, "mailmart_api"),
        min_size=1,
        max_size=settings.pool_size,
        kwargs={"autocommit": True, "prepare_threshold": None},
        configure=_read_numbers_as_json_has_them,
        open=True,
    )
    meta = {"data_as_of": datetime.fromisoformat(told["data_as_of"])}
    constants = {STATIC: told["static"].encode(), READY: b"{}"}
    answers = {
        asked: (answer["transaction"].encode(), _shapes(answer), answer["shown"]) for asked, answer in told["answers"].items()
    }

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        constant = constants.get(environ["PATH_INFO"])
        if constant is not None:
            return _answered(constant, start_response)
        transaction, shapes, shown = answers[f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"]
        with pool.connection() as connection:
            found = _rows(connection, transaction)
        data = dict(shown)
        for section, rows in zip(shapes, found, strict=True):
            section(data, rows)
        body = {"success": True, "data": data, "meta": meta}
        return _answered(orjson.dumps(body, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS), start_response)

    return application


def make_flask() -> WSGIApplication:
    """The Flask app of this process."""
    end_with_parent()
    app = Flask(__name__, static_folder=None)
    body = read_answers(Settings.from_environment())["static"].encode()

    @app.get(STATIC)
    @app.get(READY)
    def constant() -> Response:
        return Response(body, 200, mimetype="application/json")

    return app


def _answered(body: bytes, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _rows(connection: psycopg.Connection, transaction: bytes) -> list[list[Row]]:
    cursor = connection.execute(transaction)
    found = []
    while True:
        if cursor.description is not None:
            found.append(cursor.fetchall())
        if not cursor.nextset():
            return found


Section = Callable[[dict[str, Any], list[Row]], None]


def _shapes(answer: Answer) -> list[Section]:
    """For each statement what puts its rows into the data; all that can be is worked out here, once."""
    return [
        _section(tuple(section["at"]), section["columns"], is_list=section["is_list"], is_nullable=section["is_nullable"])
        for section in answer["sections"]
    ]


def _section(at: tuple[str, ...], columns: list[tuple[int, str, str]] | None, *, is_list: bool, is_nullable: bool) -> Section:
    if columns is None:
        return lambda data, rows: None
    shape = _shape(columns)

    def put(data: dict[str, Any], rows: list[Row]) -> None:
        if not at:
            if rows:
                data.update(shape(rows[0]))
            return
        for name in at[:-1]:
            data = data.setdefault(name, {})
        if is_list:
            data[at[-1]] = [shape(row) for row in rows]
        elif rows:
            data.setdefault(at[-1], {}).update(shape(rows[0]))
        elif is_nullable:
            data[at[-1]] = None

    return put


def _shape(columns: list[tuple[int, str, str]]) -> Shape:
    names = [name for _, _, name in columns]
    if [(index, inside) for index, inside, _ in columns] == [(place, "") for place in range(len(columns))]:
        return lambda row: dict(zip(names, row, strict=False))

    def shape(row: Row) -> dict[str, Any]:
        shaped: dict[str, Any] = {}
        for index, inside, name in columns:
            if inside:
                shaped.setdefault(inside, {})[name] = row[index]
            else:
                shaped[name] = row[index]
        return shaped

    return shape


def _read_numbers_as_json_has_them(connection: psycopg.Connection) -> None:
    connection.adapters.register_loader("numeric", FloatLoader)


def main() -> None:
    """`python -m api.tools.bench.controls bare 1`: serves one of them with so many workers, at the environment's address."""
    _, which, workers = sys.argv
    end_with_parent()
    serve(Settings.from_environment(), workers=int(workers), target=TARGETS[which])


if __name__ == "__main__":
    main()
