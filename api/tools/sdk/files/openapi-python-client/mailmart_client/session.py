"""The client: made from a URL and a key, with retries, and exports to wait for; also for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast

import httpx
from attrs import define, field
from mailmart_client.api.exports import get_export
from mailmart_client.client import AuthenticatedClient
from mailmart_client.failures import ConnectionFailed, seconds_of_retry_after
from mailmart_client.models.export import Export
from mailmart_client.pages import Arguments, next_arguments
from mailmart_client.policy import STATUSES, Retries, checked, is_repeatable
from mailmart_client.waiting import ExportWait

P = ParamSpec("P")
PageT = TypeVar("PageT")
# the service cannot have received the request
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@define
class Client(AuthenticatedClient):
    """The generated client, with retries. `connect` makes one."""

    retries: Retries = field(factory=Retries, kw_only=True)

    def get_httpx_client(self) -> httpx.Client:
        """The httpx client, with retries, made at the first call."""
        if self._client is None:
            self._client = _HttpClient(self.retries, **self._arguments())
        return self._client

    def get_async_httpx_client(self) -> httpx.AsyncClient:
        """The asynchronous httpx client, with retries, made at the first call."""
        if self._async_client is None:
            self._async_client = _AsyncHttpClient(self.retries, **self._arguments())
        return self._async_client

    def _arguments(self) -> dict[str, Any]:
        return {
            "base_url": self._base_url,
            "cookies": self._cookies,
            "headers": {**self._headers, self.auth_header_name: f"{self.prefix} {self.token}"},
            "timeout": self._timeout,
            "verify": self._verify_ssl,
            "follow_redirects": self._follow_redirects,
            **self._httpx_args,
        }


def connect(url: str, key: str, *, timeout: float = 30.0, retries: Retries | None = None) -> Client:
    """A client, for `with` or `async with`, of which every operation is called: `get_freshness.sync("ws_1", client=client)`.

    `url` is the service's, without `/api/v1`. `key` is an API key (`mm_…`) or a JWT. `timeout` is in seconds, for each attempt.

    Raises:
        ValueError: the URL is empty or has no scheme, or the key is empty.
    """
    return Client(base_url=checked(url, key), token=key, timeout=httpx.Timeout(timeout), retries=retries or Retries())


def wait_for_export(client: Client, workspace_id: str, export_id: str, *, timeout: float = 3600.0) -> Export:
    """Waits until the export is completed, and returns it with its download link. `timeout` is in seconds.

    Raises:
        ExportFailed: it failed, was canceled or is expired.
        ExportTimeout: it is still processing after `timeout` seconds.
    """
    wait = ExportWait(timeout)
    while True:
        export = get_export.sync(workspace_id, export_id, client=client).data
        seconds = wait.seconds(export)
        if seconds is None:
            return export
        time.sleep(seconds)


async def wait_for_export_async(client: Client, workspace_id: str, export_id: str, *, timeout: float = 3600.0) -> Export:
    """`wait_for_export` for asyncio."""
    wait = ExportWait(timeout)
    while True:
        export = (await get_export.asyncio(workspace_id, export_id, client=client)).data
        seconds = wait.seconds(export)
        if seconds is None:
            return export
        await asyncio.sleep(seconds)


async def pages_async(operation: Callable[P, Awaitable[PageT]], *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[PageT]:
    """`pages` for asyncio: `async for page in pages_async(list_exports.asyncio, "ws_demo_1", client=client)`."""
    call = cast(Callable[..., Awaitable[PageT]], operation)
    arguments: Arguments | None = (args, kwargs)
    while arguments is not None:
        positional, named = arguments
        page = await call(*positional, **named)
        yield page
        arguments = next_arguments(page, args, kwargs)


def _wait(
    retries: Retries, request: httpx.Request, can_repeat: bool, attempt: int, result: httpx.Response | httpx.TransportError
) -> float | None:
    """Seconds until the request is sent again, which it logs; None if the response is the last one.

    Raises:
        ConnectionFailed: there was no response, and there will be no other attempt.
    """
    path = request.url.path
    if isinstance(result, httpx.TransportError):
        wait = retries.wait(attempt, None) if can_repeat or isinstance(result, NOT_SENT) else None
        if wait is None:
            raise ConnectionFailed(f"{request.method} {request.url}: {result or type(result).__name__}") from result
        retries.log(request.method, path, type(result).__name__, attempt, wait)
        return wait
    if result.status_code not in STATUSES or not (can_repeat or result.status_code == 429):
        return None
    retry_after = seconds_of_retry_after(result.headers)
    wait = retries.wait(attempt, retry_after)
    if wait is not None:
        retries.log(request.method, path, f"HTTP {result.status_code}", attempt, wait, is_retry_after=retry_after is not None)
    return wait


class _HttpClient(httpx.Client):
    def __init__(self, retries: Retries, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._retries = retries

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        can_repeat = is_repeatable(request.method, request.url.path, request.headers)
        attempt = 0
        while True:
            attempt += 1
            result: httpx.Response | httpx.TransportError
            try:
                result = super().send(request, **options)
            except httpx.TransportError as error:
                result = error
            wait = _wait(self._retries, request, can_repeat, attempt, result)
            if wait is None:
                return cast(httpx.Response, result)
            time.sleep(wait)


class _AsyncHttpClient(httpx.AsyncClient):
    def __init__(self, retries: Retries, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._retries = retries

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        can_repeat = is_repeatable(request.method, request.url.path, request.headers)
        attempt = 0
        while True:
            attempt += 1
            result: httpx.Response | httpx.TransportError
            try:
                result = await super().send(request, **options)
            except httpx.TransportError as error:
                result = error
            wait = _wait(self._retries, request, can_repeat, attempt, result)
            if wait is None:
                return cast(httpx.Response, result)
            await asyncio.sleep(wait)
