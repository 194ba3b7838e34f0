"""`mailmart mcp`: one client, on standard input and output, with one API key."""

from __future__ import annotations

import anyio
import httpx2

from api.mcp.rest import TIMEOUT_SECONDS, RestApi
from api.mcp.server import create_server


def serve_stdio(api_url: str, api_key: str) -> None:
    """Answers until standard input ends."""
    anyio.run(_serve, api_url, api_key)


async def _serve(api_url: str, api_key: str) -> None:
    async with httpx2.AsyncClient(base_url=api_url, timeout=TIMEOUT_SECONDS) as http:
        rest = RestApi(http, f"Bearer {api_key}")
        await create_server(lambda context: rest).run_stdio_async()
