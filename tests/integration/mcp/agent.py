"""An agent's client: the SDK's own, over /mcp in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from api.server.app import WsgiApp
from api.server.asgi import AsgiAdapter
from api.server.mcp_mount import McpMount

if TYPE_CHECKING:
    from mcp import Client

Result = TypeVar("Result")


class Agent:
    """Calls tools with one API key. Each call is a connection of its own, as /mcp keeps no session."""

    def __init__(self, service: WsgiApp, key: str) -> None:
        self._service = service
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def call(self, tool: str, **arguments: Any) -> tuple[bool, str]:
        """Whether the call failed, and the text of its answer."""

        async def call(client: Client) -> tuple[bool, str]:
            result = await client.call_tool(tool, arguments)
            return bool(result.is_error), "".join(getattr(part, "text", "") for part in result.content)

        return self.run(call)

    def answer(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a call that has to succeed."""
        is_error, text = self.call(tool, **arguments)
        assert not is_error, text
        data: dict[str, Any] = json.loads(text)
        return data

    def run(self, use: Callable[[Client], Awaitable[Result]]) -> Result:
        # each process that collects the tests would pay for the import
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client

        async def run() -> Result:
            async with (
                self.http() as http,
                Client(streamable_http_client("http://mailmart.test/mcp", http_client=http)) as client,
            ):
                return await use(client)

        return asyncio.run(run())

    def http(self) -> httpx2.AsyncClient:
        app = McpMount(AsgiAdapter(self._service, threads=2), self._service, "")
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://mailmart.test", headers=self._headers)


def rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table of an answer, as objects."""
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
