"""/mcp of the API server: streamable HTTP without sessions. Its calls are requests to the API in the same process.

What comes in is a body of a few kilobytes, of a client whose credential was checked. No state is kept between requests, so any
worker and any server can answer the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
from mcp.server.mcpserver import Context
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from api.errors import MethodNotAllowed, RequestTimeout
from api.mcp.rest import TIMEOUT_SECONDS, RestApi
from api.mcp.server import create_server

MAX_BODY_BYTES = 64 * 1024
SECONDS_TO_READ = 30.0
# member of a request's scope: the workspace of its credential
WORKSPACE = "mailmart.workspace_id"
# the headers by which the API knows the client, behind proxies too
FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "host")


class McpEndpoint:
    """The one path. `api` is the ASGI app of the API."""

    def __init__(self, api: Any, public_path: str = "") -> None:
        self._api = api
        self._public_path = public_path
        server = create_server(self._rest_of)
        # browsers of other sites cannot send an API key, and the API's own Host check follows
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self._manager = StreamableHTTPSessionManager(
            server._lowlevel_server,
            json_response=True,
            stateless=True,
            security_settings=security,
            max_request_body_size=MAX_BODY_BYTES,
        )
        self._is_running = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    async def __call__(self, workspace_id: str, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request whose credential is of the workspace.

        Raises:
            ApiError: the response is this error, and nothing was sent.
        """
        if scope["method"] != "POST":
            # without sessions there is nothing to send later: a GET would wait for it, and a DELETE ends nothing
            raise MethodNotAllowed("Send messages by POST", "POST")
        scope[WORKSPACE] = workspace_id
        await self._start()
        has_begun = False

        async def sending(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            async with asyncio.timeout(SECONDS_TO_READ + TIMEOUT_SECONDS):
                await self._manager.handle_request(scope, receive, sending)
        except TimeoutError as error:
            # without a response, the server would say that it is broken
            if not has_begun:
                raise RequestTimeout from error

    async def _start(self) -> None:
        """The manager runs in a task of its own, from the first request to the end of the process."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        await self._is_running.wait()

    async def _run(self) -> None:
        async with self._manager.run():
            self._is_running.set()
            await asyncio.Event().wait()

    def _http(self, headers: Mapping[str, str], client: Any) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self._api, client=tuple(client) if client else ("127.0.0.1", 0))
        return httpx2.AsyncClient(
            transport=transport,
            base_url=f"http://localhost{self._public_path}",
            headers={name: headers[name] for name in FORWARDED if name in headers},
            timeout=TIMEOUT_SECONDS,
        )

    def _rest_of(self, context: Context[Any, Any]) -> RestApi:
        # the SDK's Starlette request, whose scope is ours
        request: Any = context.request_context.request
        headers = dict(request.headers)
        return RestApi(self._http(headers, request.client), headers["authorization"], request.scope[WORKSPACE])
