"""An iterator over the pages of a list, or of a query."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar, cast


class _Page(Protocol):
    @property
    def data(self) -> Any: ...


P = ParamSpec("P")
PageT = TypeVar("PageT", bound=_Page)


def pages(operation: Callable[P, PageT], *args: P.args, **kwargs: P.kwargs) -> Iterator[PageT]:
    """The pages of an operation with a cursor, each requested when the loop needs it.

    for page in pages(client.exports.list_exports, "ws_demo_1", limit=100):
        for export in page.data.exports:
            print(export.export_id)

    The cursor of a query is a field of its request, and of the response's metadata:

    request = QueryMetricsRequest(metrics=["sent"], dimensions=["campaign"])
    for page in pages(client.analytics.query_metrics, "ws_demo_1", request):
        print(page.data.rows)
    """
    call = cast(Callable[..., PageT], operation)
    arguments: Arguments | None = (args, kwargs)
    while arguments is not None:
        positional, named = arguments
        page = call(*positional, **named)
        yield page
        arguments = next_arguments(page, args, kwargs)


Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


def next_arguments(page: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments | None:
    """The arguments of the page after this one, which was requested with `args` and `kwargs`; None if it is the last."""
    is_list = hasattr(page.data, "next_cursor")
    cursor = page.data.next_cursor if is_list else page.meta.next_cursor
    if cursor is None:
        return None
    if is_list:
        return args, {**kwargs, "cursor": cursor}
    return (
        tuple(_with_cursor(argument, cursor) for argument in args),
        {name: _with_cursor(argument, cursor) for name, argument in kwargs.items()},
    )


def _with_cursor(argument: Any, cursor: str) -> Any:
    """The request with the cursor; any other argument as it is."""
    if isinstance(argument, dict):
        return {**argument, "cursor": cursor}
    if not hasattr(argument, "cursor"):
        return argument
    request = copy.copy(argument)
    request.cursor = cursor
    return request
