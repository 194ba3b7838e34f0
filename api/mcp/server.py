"""The MCP server with all tools, for one credential (stdio) or for that of each request (HTTP)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from mcp.server import MCPServer

from api.mcp.contract import ContractTexts
from api.mcp.tools import INSTRUCTIONS, RestOf, register


def create_server(rest_of: RestOf) -> MCPServer[Any]:
    """A server whose calls go to the API that `rest_of` makes."""
    server: MCPServer[Any] = MCPServer(
        "mailmart",
        title="mailmart",
        instructions=INSTRUCTIONS,
        version=version("mailmart"),
        log_level="WARNING",
        subscriptions=False,
    )
    register(server, rest_of, ContractTexts())
    return server
