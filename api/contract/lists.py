"""Reads how a list is paged, sorted and searched: `page` of a section of an exposure's endpoint.

    {list: campaign_list, path: campaigns,
     page: {id: campaign_id, sort: [emails_sent, open_rate], search: [campaign_id, campaign_name], sort_view: campaign_order}}

`id` is the column that identifies a row in a workspace. `sort` are the columns that the rows can be sorted by; the first is the
default. `order` is the default order: desc, or asc. `search` are text columns in which a request can search. `limit` and
`max_limit` are the rows of a page by default and at most.

`sort_view` is another view with the id, the sort and the search columns of the same rows, if reading all rows of the list's own
view costs too much. A page is then sorted and cut in the sort view, and only its rows are read from the list's view.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import marshmallow as ma

from api.contract.suggestions import suggest
from api.errors import ContractError

Order = Literal["asc", "desc"]
ORDERS: tuple[Order, ...] = ("asc", "desc")
PAGE_KEYS = ("id", "limit", "max_limit", "order", "search", "sort", "sort_view")
DEFAULT_LIMIT = 50
DEFAULT_MAX_LIMIT = 200
# a page of more rows is an export
LARGEST_LIMIT = 1000
MAX_SEARCH_LENGTH = 100


@dataclass(frozen=True)
class SortColumn:
    """A column that rows can be sorted by.

    Attributes:
        name: its public name.
        data_type: PostgreSQL's, without precision.
    """

    column: str
    name: str
    data_type: str

    @property
    def is_text(self) -> bool:
        """Sorted whatever the case."""
        return self.data_type == "text"


@dataclass(frozen=True)
class ListPage:
    """How a list is paged.

    Attributes:
        id_column: identifies a row in a workspace.
        sort: the columns that rows can be sorted by, by public name; the first is the default.
        order: the default order.
        search: the text columns that are searched; () if the list cannot be searched.
        limit: the default number of rows of a page.
        sort_view: the quoted name of the view that is sorted; '' for the list's own.
    """

    id_column: str
    sort: Mapping[str, SortColumn]
    order: Order
    search: tuple[str, ...]
    limit: int
    max_limit: int
    sort_view: str = ""

    @property
    def default_sort(self) -> str:
        """The name of the column that rows are sorted by if the request does not say."""
        return next(iter(self.sort))


def read_list_page(where: str, part: Mapping[str, Any], view: str, models: Mapping[str, Any]) -> ListPage | None:
    """The `page` of a section over a view; None if it has none.

    Raises:
        ContractError: it is invalid; the message starts with `where`.
    """
    if "page" not in part:
        return None
    where = f"{where}: the page of {view}"
    if "list" not in part:
        raise ContractError(f"{where} needs a list", hint="Only a list has pages; an object is one row.")
    meta = part["page"]
    if not isinstance(meta, Mapping):
        raise ContractError(f"{where} is not a mapping", hint=_EXAMPLE)
    for key in meta:
        if key not in PAGE_KEYS:
            raise ContractError(f"{where} has the unknown key {key}", hint=suggest(str(key), PAGE_KEYS))
    if "id" not in meta or not meta.get("sort"):
        missing = "id" if "id" not in meta else "sort"
        raise ContractError(f"{where} has no {missing}", hint=_EXAMPLE)
    columns = models[view]["columns"]
    id_column = _column(where, "id", str(meta["id"]), columns)
    if _data_type(columns[id_column]) != "text":
        raise ContractError(f"{where}: the id {id_column} is not text", hint="An id is a column of type text that is never null.")
    sort = _sort_columns(where, meta["sort"], columns)
    search = tuple(_column(where, "search", str(name), columns) for name in meta.get("search", ()))
    for name in search:
        if _data_type(columns[name]) != "text":
            raise ContractError(
                f"{where}: search names {name}, which is not text", hint="Only columns of type text are searched."
            )
    order = meta.get("order", "desc")
    if order not in ORDERS:
        raise ContractError(f"{where} has the unknown order {order}", hint=suggest(str(order), ORDERS))
    max_limit = _limit(where, "max_limit", meta.get("max_limit", DEFAULT_MAX_LIMIT), LARGEST_LIMIT)
    return ListPage(
        id_column=id_column,
        sort=sort,
        order=order,
        search=search,
        limit=_limit(where, "limit", meta.get("limit", min(DEFAULT_LIMIT, max_limit)), max_limit),
        max_limit=max_limit,
        sort_view=_sort_view(where, meta, [id_column, *(key.column for key in sort.values()), *search], columns, models),
    )


_EXAMPLE = "For example page: {id: campaign_id, sort: [emails_sent, campaign_name], search: [campaign_id, campaign_name]}."
_SORTABLE = ("bigint", "integer", "int", "smallint", "numeric", "double precision", "text", "date")


def _sort_columns(where: str, names: Any, columns: Mapping[str, Any]) -> dict[str, SortColumn]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ContractError(f"{where}: sort is not a list", hint=_EXAMPLE)
    sort: dict[str, SortColumn] = {}
    for column in names:
        _column(where, "sort", str(column), columns)
        meta = columns[column].get("config", {}).get("meta", {})
        data_type = _data_type(columns[column])
        if meta.get("hidden"):
            raise ContractError(
                f"{where}: sort names {column}, which is hidden",
                hint="Clients must see the value that rows are sorted by: remove `hidden` from the column.",
            )
        if data_type not in _SORTABLE:
            raise ContractError(
                f"{where}: sort names {column}, whose type {data_type or 'is unknown'} cannot be sorted",
                hint=f"Types that can: {', '.join(_SORTABLE)}.",
            )
        name = str(meta.get("alias", column))
        if name in sort:
            raise ContractError(
                f"{where}: two columns of sort have the public name {name}", hint="Remove one, or give it another alias."
            )
        sort[name] = SortColumn(column, name, data_type)
    return sort


def _sort_view(
    where: str, meta: Mapping[str, Any], needed: Sequence[str], columns: Mapping[str, Any], models: Mapping[str, Any]
) -> str:
    if "sort_view" not in meta:
        return ""
    name = str(meta["sort_view"])
    if name not in models:
        raise ContractError(
            f"{where}: the exposure does not depend on the sort_view {name}",
            hint=f"Add ref('{name}') to its depends_on; the view has to be a model of marts. {suggest(name, models)}",
        )
    model = models[name]
    for column in dict.fromkeys(needed):
        if _data_type(model["columns"].get(column, {})) != _data_type(columns[column]):
            raise ContractError(
                f"{where}: the sort_view {name} has no column {column} of type {_data_type(columns[column])}",
                hint="It needs the id, the sort and the search columns of the list, with the same types.",
            )
    return f'"{model["schema"]}"."{model["alias"]}"'


def _column(where: str, key: str, name: str, columns: Mapping[str, Any]) -> str:
    if name not in columns:
        raise ContractError(f"{where}: {key} names {name}, which is no column", hint=suggest(name, columns))
    return name


def _data_type(column: Mapping[str, Any]) -> str:
    return re.sub(r"\(.*\)", "", str(column.get("data_type") or "").lower()).strip()


def _limit(where: str, key: str, value: Any, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ContractError(f"{where}: {key} is {value!r}", hint=f"Use a whole number from 1 to {largest}.")
    return value


class SearchText(ma.fields.String):
    """A text to search for: any characters that PostgreSQL can store. Spaces around it do not count."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs)).strip()
        if not text or len(text) > MAX_SEARCH_LENGTH or "\0" in text:
            raise ma.ValidationError(f"Must be 1 to {MAX_SEARCH_LENGTH} characters of text.")
        return text


def list_fields(page: ListPage, enum_name: str) -> dict[str, ma.fields.Field[Any]]:
    """The fields of a list's parameters, by their names in the query. `enum_name` is that of the names in `sort`."""
    fields: dict[str, ma.fields.Field[Any]] = {}
    if page.search:
        fields["search"] = SearchText(
            metadata={
                "description": f"Only rows whose {' or '.join(page.search)} contains this text, ignoring case."
                " `%` and `_` have no special meaning.",
                "minLength": 1,
                "maxLength": MAX_SEARCH_LENGTH,
            }
        )
    fields["sort"] = ma.fields.String(
        load_default=page.default_sort,
        validate=ma.validate.OneOf(list(page.sort)),
        metadata={
            "description": "The field that rows are sorted by. Rows with equal values are sorted by id; rows without a value come"
            " last.",
            "example": page.default_sort,
            "x-enum-name": enum_name,
        },
    )
    fields["order"] = ma.fields.String(
        load_default=page.order,
        validate=ma.validate.OneOf(ORDERS),
        metadata={"description": "Ascending or descending.", "example": page.order, "x-enum-name": "SortOrder"},
    )
    fields["limit"] = ma.fields.Integer(
        strict=False,
        load_default=page.limit,
        validate=ma.validate.Range(1, page.max_limit),
        metadata={"description": "Rows per page.", "example": page.limit},
    )
    fields["cursor"] = ma.fields.String(
        metadata={"description": "`next_cursor` of the previous page. Send the same other parameters; only `limit` may differ."}
    )
    return fields


def list_settings(page: ListPage, params: Mapping[str, Any]) -> dict[str, str]:
    """The settings of the request context that a page's query reads, without those of a cursor."""
    settings = {
        "mailmart.page_sort": str(params["sort"]),
        "mailmart.page_order": str(params["order"]),
        "mailmart.page_limit": str(params["limit"]),
    }
    if params.get("search"):
        settings["mailmart.page_search"] = params["search"]
    return settings
