"""The API's ASGI app with /mcp beside it. What that needs is imported at its first request: most servers never get one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from api.server.asgi import AsgiAdapter
from api.server.asgi_types import Receive, Scope, Send

if TYPE_CHECKING:
    from api.mcp.http import McpEndpoint

PATH = "/mcp"


class McpMount:
    """The ASGI callable of a process: `api` for all paths but one."""

    def __init__(self, api: AsgiAdapter, public_path: str) -> None:
        self._api = api
        self._public_path = public_path
        self._paths = frozenset((PATH, f"{public_path}{PATH}"))
        self._lock: asyncio.Lock | None = None
        self._endpoint: McpEndpoint | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in self._paths:
            endpoint = await self._mcp()
            await endpoint(scope, receive, send)
        else:
            await self._api(scope, receive, send)

    async def _mcp(self) -> McpEndpoint:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if self._endpoint is None:
                # it takes a second, in which others are answered
                self._endpoint = await asyncio.to_thread(self._make)
        return self._endpoint

    def _make(self) -> McpEndpoint:
        from api.mcp.http import McpEndpoint

        return McpEndpoint(self._api, self._public_path)
