"""An iterator over the pages of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar, cast


class _List(Protocol):
    @property
    def next_cursor(self) -> str | None: ...


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
    """
    call = cast(Callable[..., PageT], operation)
    cursor: str | None = None
    while True:
        page = call(*args, **(kwargs if cursor is None else {**kwargs, "cursor": cursor}))
        yield page
        cursor = cast(_List, page.data).next_cursor
        if cursor is None:
            return
