"""The REST API as the tools use it: one credential, one workspace, errors as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx2
from mcp.server.mcpserver.exceptions import ToolError

TIMEOUT_SECONDS = 30.0


class RestApi:
    """The API under one credential. `http` has its base URL; or none, in the API's own process."""

    def __init__(self, http: httpx2.AsyncClient, authorization: str, workspace_id: str = "") -> None:
        """Without `workspace_id`, the API says which workspace the credential belongs to."""
        self._http = http
        self._headers = {"Authorization": authorization}
        self._workspace_id = workspace_id

    async def _workspace(self) -> str:
        if not self._workspace_id:
            self._workspace_id = (await self._request("GET", "/api/v1/credential"))["data"]["workspace_id"]
        return self._workspace_id

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The response's `data` and `meta`, of a path below the workspace; parameters that are None are left out.

        Raises:
            ToolError: the API refused the request, with its reason.
        """
        return await self._request("GET", await self._path(path), params=_without_none(params))

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """As `get`, with a JSON body."""
        return await self._request("POST", await self._path(path), json=_without_none(body))

    async def document(self) -> dict[str, Any]:
        """The OpenAPI document.

        Raises:
            ToolError: as `get`.
        """
        return await self._request("GET", "/openapi.json")

    async def _path(self, path: str) -> str:
        return f"/api/v1/workspaces/{quote(await self._workspace(), safe='')}{path}"

    async def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        response = await self._send(method, path, **arguments)
        try:
            body: Any = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ToolError(
                f"The API answered {response.status_code} without a JSON object. Is --url, or MAILMART_PUBLIC_URL, the API's?"
            )
        if response.status_code >= 400:
            raise ToolError(_sentence(response, body.get("error") or {}))
        return body

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        try:
            return await self._http.request(method, path, headers=self._headers, **arguments)
        except httpx2.HTTPError as error:
            raise ToolError(f"The API cannot be reached at {self._http.base_url}: {error or type(error).__name__}") from error


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _sentence(response: httpx2.Response, error: Mapping[str, Any]) -> str:
    """What an agent needs to correct the call: code, message, and which field is wrong."""
    parts = [f"{error.get('code', response.status_code)}: {error.get('message', 'the API refused the request')}"]
    for name, problems in (error.get("details") or {}).items():
        parts.append(f"{name}: {' '.join(map(str, problems)) if isinstance(problems, list) else problems}")
    if "Retry-After" in response.headers:
        parts.append(f"Try again in {response.headers['Retry-After']} s.")
    return " · ".join(parts)
