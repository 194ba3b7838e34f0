"""What a tool says if something else than the API answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from mcp.server.mcpserver.exceptions import ToolError

from api.mcp.rest import RestApi

CALLS: dict[str, Callable[[RestApi], Awaitable[Any]]] = {
    "document": lambda rest: rest.document(),
    "get": lambda rest: rest.get("/campaigns"),
    "post": lambda rest: rest.post("/analytics/query", {}),
}


def call(name: str, status: int, content: bytes) -> Any:
    async def run() -> Any:
        transport = httpx2.MockTransport(lambda request: httpx2.Response(status, content=content))
        async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as http:
            return await CALLS[name](RestApi(http, "Bearer mm_x", "ws_1"))

    return asyncio.run(run())


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("content", [b"<html>404</html>", b"[1]", b'"text"', b"\xff", b""], ids=repr)
def test_an_answer_of_something_else_says_where_the_address_is_set(name: str, content: bytes) -> None:
    with pytest.raises(ToolError, match=r"The API answered 404 .*MAILMART_PUBLIC_URL"):
        call(name, 404, content)


@pytest.mark.parametrize("name", CALLS)
def test_an_error_of_the_api_is_a_sentence(name: str) -> None:
    problem = b'{"success": false, "error": {"code": "WAREHOUSE_UNAVAILABLE", "message": "Later."}}'
    with pytest.raises(ToolError, match="WAREHOUSE_UNAVAILABLE: Later"):
        call(name, 503, problem)


def test_an_answer_of_the_api_is_returned_whole() -> None:
    assert call("document", 200, b'{"paths": {}}') == {"paths": {}}
