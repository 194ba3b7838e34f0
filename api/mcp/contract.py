"""Texts of the contract, out of the OpenAPI document, which is read again after a minute."""

from __future__ import annotations

import time
from typing import Any

from api.mcp.definitions import request_enum, response_definitions
from api.mcp.rest import RestApi

SECONDS_TO_KEEP = 60.0


class ContractTexts:
    """Definitions by operation. One for each process: the document is the same for all workspaces."""

    def __init__(self) -> None:
        self._document: dict[str, Any] = {}
        self._definitions: dict[str, dict[str, str]] = {}
        self._read_at = float("-inf")

    async def definitions(self, rest: RestApi, operation_id: str) -> dict[str, str]:
        """Name → description of the fields of the operation's response."""
        await self._read(rest)
        if operation_id not in self._definitions:
            self._definitions[operation_id] = response_definitions(self._document, operation_id)
        return self._definitions[operation_id]

    async def query_names(self, rest: RestApi) -> tuple[dict[str, str], dict[str, str]]:
        """The metrics and the dimensions of a query, each with its description."""
        await self._read(rest)
        return (
            request_enum(self._document, "queryMetrics", "metrics"),
            request_enum(self._document, "queryMetrics", "dimensions"),
        )

    async def _read(self, rest: RestApi) -> None:
        if time.monotonic() - self._read_at > SECONDS_TO_KEEP:
            self._document, self._definitions = await rest.document(), {}
            self._read_at = time.monotonic()
