"""The client: made from a URL and a key, with retries, exceptions, exports to wait for and to download."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import urllib3
from mailmart_client.api.analytics_api import AnalyticsApi
from mailmart_client.api.events_api import EventsApi
from mailmart_client.api.exports_api import ExportsApi
from mailmart_client.api.reports_api import ReportsApi
from mailmart_client.api_client import ApiClient
from mailmart_client.api_response import ApiResponse
from mailmart_client.configuration import Configuration
from mailmart_client.exceptions import ApiException
from mailmart_client.failures import ApiError, ConnectionFailed, DownloadFailed, ExportFailed
from mailmart_client.models.export import Export
from mailmart_client.policy import Retries, checked
from mailmart_client.rest import RESTResponse
from mailmart_client.retries import RetryingRestClient
from mailmart_client.waiting import ExportWait


class Client:
    """All operations, by group: `analytics`, `events`, `exports`, `reports`. Use it in `with`, or call `close()`.

    `url` is the service's, without `/api/v1`. `key` is an API key (`mm_…`) or a JWT. `timeout` is in seconds, for each attempt.

    Raises:
        ValueError: the URL is empty or has no scheme, or the key is empty.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, retries: Retries | None = None) -> None:
        configuration = Configuration(host=checked(url, key), access_token=key)
        self._url = configuration.host
        self._timeout = timeout
        self._http = RetryingRestClient(configuration, retries or Retries(), timeout)
        self._api = _ApiClient(configuration)
        self._api.rest_client = self._http
        self.analytics = AnalyticsApi(self._api)
        self.events = EventsApi(self._api)
        self.exports = ExportsApi(self._api)
        self.reports = ReportsApi(self._api)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.pool_manager.clear()

    def wait_for_export(
        self, workspace_id: str, export_id: str, *, timeout: float = 3600.0, on_progress: Callable[[Export], None] | None = None
    ) -> Export:
        """Waits until the export is completed, and returns it with its download link.

        `timeout` is in seconds. `on_progress` is called with each status that is not the last.

        Raises:
            ExportFailed: it failed, was canceled or is expired.
            ExportTimeout: it is still processing after `timeout` seconds.
        """
        wait = ExportWait(timeout)
        while True:
            export = self.exports.get_export(workspace_id, export_id).data
            seconds = wait.seconds(export)
            if seconds is None:
                return export
            if on_progress is not None:
                on_progress(export)
            time.sleep(seconds)

    def download(self, export: Export, path: str | os.PathLike[str]) -> Path:
        """Writes the file of a completed export to `path`. The file is there whole or not at all.

        Raises:
            ExportFailed: the export has no download link.
            ApiError: the link is refused, for example because it has expired.
            ConnectionFailed: the connection broke.
            DownloadFailed: the file's SHA-256 is not the export's.
        """
        if export.download_url is None:
            raise ExportFailed(export)
        target = Path(path)
        partial = target.with_name(f"{target.name}.partial")
        digest = hashlib.sha256()
        try:
            # the link has its own signature: the key is not sent to another host
            response = self._http.pool_manager.request(
                "GET", urljoin(self._url, export.download_url), preload_content=False, timeout=self._timeout
            )
            try:
                if response.status != 200:
                    raise ApiError(response.status, response.headers, response.read())
                with partial.open("wb") as file:
                    for chunk in response.stream(1 << 20):
                        digest.update(chunk)
                        file.write(chunk)
            finally:
                response.release_conn()
            if export.sha256 is not None and digest.hexdigest() != export.sha256:
                raise DownloadFailed(f"export {export.export_id}: the SHA-256 of the file is not the export's; download it again")
            partial.replace(target)
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionFailed(f"export {export.export_id}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)
        return target


class _ApiClient(ApiClient):
    """Raises ApiError instead of the generated exceptions."""

    def response_deserialize(
        self, response_data: RESTResponse, response_types_map: dict[str, Any] | None = None
    ) -> ApiResponse[Any]:
        try:
            response: ApiResponse[Any] = super().response_deserialize(response_data, response_types_map)
        except ApiException as error:
            raise ApiError(response_data.status, response_data.headers, response_data.data or b"") from error
        return response
