"""Pages of a table's rows, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

# the time and the id of the last row of the page before
Position = tuple[datetime, str]


def read_page(
    cursor: psycopg.Cursor[Any],
    table: str,
    columns: Iterable[str],
    order: tuple[str, str],
    before: Position | None,
    limit: int,
    equal: Mapping[str, str] | None = None,
    join: sql.Composable | None = None,
) -> list[Any]:
    """Up to `limit` rows after the position.

    Args:
        table: name with schema.
        order: the columns of the time and of the id, which order the rows.
        equal: values that columns must have.
        join: what is joined to the table.
    """
    time, row_id = before or ("infinity", "")
    equal = equal or {}
    conditions = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in equal]
    query = sql.SQL(
        "select {columns} from {table} {join} where {conditions} ({time}, {id}) < (%(before_time)s::timestamptz, %(before_id)s)"
        " order by {time} desc, {id} desc limit %(limit)s"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        table=sql.Identifier(*table.split(".")),
        join=join or sql.SQL(""),
        conditions=sql.SQL("").join(condition + sql.SQL(" and") for condition in conditions),
        time=sql.Identifier(order[0]),
        id=sql.Identifier(order[1]),
    )
    return cursor.execute(query, {**equal, "before_time": time, "before_id": row_id, "limit": limit}).fetchall()
