"""The API's ASGI app with /mcp beside it. What that needs is imported at its first request: most servers never get one.

A credential is checked before the body is read, so a stranger holds nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from api.errors import ApiError
from api.server.app import WsgiApp
from api.server.asgi import AsgiAdapter, CompleteResponse, encode_headers, send_complete
from api.server.asgi_types import Receive, Scope, Send
from api.web.responses import error_body, error_headers

if TYPE_CHECKING:
    from api.mcp.http import McpEndpoint

PATH = "/mcp"


class McpMount:
    """The ASGI callable of a process: `api`, which is the adapter of `service`, for all paths but one."""

    def __init__(self, api: AsgiAdapter, service: WsgiApp, public_path: str) -> None:
        self._api = api
        self._service = service
        self._public_path = public_path
        self._paths = frozenset((PATH, f"{public_path}{PATH}"))
        self._lock: asyncio.Lock | None = None
        self._endpoint: McpEndpoint | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in self._paths:
            checked = await self._api.run_with_environ(scope, self._service.workspace_of)
            if isinstance(checked, CompleteResponse):
                await send_complete(send, checked)
            else:
                endpoint = await self._mcp()
                try:
                    await endpoint(checked, scope, receive, send)
                except ApiError as error:
                    headers = encode_headers(error_headers(error))
                    await send_complete(send, CompleteResponse(error.status, headers, error_body(error)))
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
