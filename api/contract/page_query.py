"""The query of one page of a list: the rows after a position, in the requested order.

Values of a request are settings, read as `(select current_setting(…))`, so that one prepared statement serves all of them: see
db/prepared_statements.py. The texts differ only by sort, order, search or not, and by where the page begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from api.contract.exposures import Section
from api.contract.lists import ListPage, SortColumn
from api.contract.response import Row, statement

PAGE_AFTER = "mailmart.page_after"
# of a text, only so much decides its place: a cursor is a part of a URL
SORTED_CHARACTERS = 100


@dataclass(frozen=True)
class Position:
    """The last row of the page before: the text of the value that rows are sorted by, and its id."""

    value: str | None
    row_id: str

    def setting(self) -> str:
        """As the query reads it."""
        return orjson.dumps([self.value, self.row_id]).decode()


# A batch that is not here any more has lost rows. It is looked for after the page, in the same transaction: if it is here, no row
# was removed before
IS_STILL_READABLE = (
    "select batch_id from app.publications"
    " where batch_id = (select current_setting('mailmart.as_of')::bigint) and withdrawn_at is null"
)


def section_statement(section: Section, params: Mapping[str, Any], after: Position | None = None) -> str:
    """The SELECT of a section for these parameters: of one page of a list that has pages, else of all rows."""
    return statement(section) if section.page is None else page_statement(section, section.page, params, after)


def cut_page(rows: list[Row], limit: int) -> tuple[list[Row], Position | None]:
    """The rows of a page, and its last row's position if there is another page."""
    if len(rows) <= limit:
        return rows, None
    *_, value, row_id = rows[limit - 1]
    return rows[:limit], Position(value, row_id)


def page_statement(section: Section, page: ListPage, params: Mapping[str, Any], after: Position | None) -> str:
    """The SELECT of a page and one more row, which shows that there is another page.

    Its columns are those of the section, the text of the value that rows are sorted by, and the id.
    """
    sort = page.sort[params.get("sort", page.default_sort)]
    columns = ", ".join(f'listed."{field.column}"' for field in section.fields)
    row_id = f'listed."{page.id_column}"'
    # the planner knows the largest page; a smaller one ends earlier
    selected = (
        f"from {page.sort_view or section.view} as listed{_where(sort, page, params, after)}"
        f" {_order_by(_sort_key(sort), row_id, sort, page, params)} limit {page.max_limit + 1}"
    )
    # names are from our own manifest
    if not page.sort_view:
        return f"select * from (select {columns}, ({_sort_key(sort)})::text, {row_id} {selected}) as page limit {_LIMIT}"  # noqa: S608
    keys = f"select {_sort_key(sort)} as value, {row_id} as id {selected}"
    # `offset 0`: each row is looked up by its id. A join would be planned for the whole view
    row = f"select {columns} from {section.view} as listed where {row_id} = page.id offset 0"  # noqa: S608
    return (
        f"with page as materialized (select * from ({keys}) as keys limit {_LIMIT})"  # noqa: S608
        f" select {columns}, page.value::text, page.id from page cross join lateral ({row}) as listed"
        f" {_order_by('page.value', 'page.id', sort, page, params)}"
    )


_LIMIT = "(select current_setting('mailmart.page_limit')::bigint + 1)"


def _where(sort: SortColumn, page: ListPage, params: Mapping[str, Any], after: Position | None) -> str:
    conditions = []
    if params.get("search"):
        text = "(select lower(current_setting('mailmart.page_search')))"
        conditions.append(" or ".join(f'strpos(lower(listed."{column}"), {text}) > 0' for column in page.search))
    if after is not None:
        key, row_id = _sort_key(sort), f'listed."{page.id_column}" collate "C"'
        # null values come last, so what follows a null is null
        is_later = f"{row_id} > (select current_setting('{PAGE_AFTER}')::jsonb ->> 1)"
        if after.value is None:
            conditions.append(f"{key} is null and {is_later}")
        else:
            value = f"(select (current_setting('{PAGE_AFTER}')::jsonb ->> 0)::{sort.data_type})"
            beyond = "<" if params.get("order", page.order) == "desc" else ">"
            conditions.append(f"({key}){_collation(sort)} {beyond} {value} or {key} is null or ({key} = {value} and {is_later})")
    return " where " + " and ".join(f"({condition})" for condition in conditions) if conditions else ""


def _order_by(value: str, row_id: str, sort: SortColumn, page: ListPage, params: Mapping[str, Any]) -> str:
    return f'order by {value}{_collation(sort)} {params.get("order", page.order)} nulls last, {row_id} collate "C"'


def _sort_key(sort: SortColumn) -> str:
    column = f'listed."{sort.column}"'
    return f"lower(left({column}, {SORTED_CHARACTERS}))" if sort.is_text else column


def _collation(sort: SortColumn) -> str:
    """Bytes, so that two databases have one order, and equal means equal."""
    return ' collate "C"' if sort.is_text else ""
