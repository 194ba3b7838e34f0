"""Download links for exported files, and the endpoint that serves them: from local storage, or by a redirect to S3."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from flask import Blueprint, Request, Response, request, send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import ClosingIterator

from api.db.pool import ConnectionPool
from api.errors import FileMissing, Forbidden, NotFound, StorageError, StorageUnavailable
from api.exports.download_limits import DownloadLimits
from api.exports.formats import FORMATS
from api.exports.repository import LINK_LIFETIME_SECONDS, Export
from api.exports.signed_urls import PATH, parse_link, signed_url
from api.exports.storage import Storage
from api.settings import Settings
from api.web.request_context import current_request_context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import WSGIEnvironment

LOG = logging.getLogger(__name__)
STORAGE_RETRY_SECONDS = 5.0
INVALID_LINK = "The link is invalid or expired. Request the export's status for a new one"


@dataclass(frozen=True)
class StoredFile:
    """A file that can be downloaded: a row of app.find_export_file."""

    workspace_id: str
    storage_key: str
    export_type: str
    format: str
    file_size_bytes: int
    sha256: str
    file_expires_at: datetime


class Downloads:
    """Makes download links, and serves files. One per process."""

    def __init__(self, settings: Settings, storage: Storage, pool: ConnectionPool) -> None:
        self._public_url = settings.public_url
        self._storage = storage
        self._pool = pool
        self._retry_storage_at = 0.0
        self._limits = DownloadLimits()

    def of(self, export: Export) -> tuple[str, datetime] | None:
        """An export's download link and its expiry; None if there is no file, or the storage cannot make a link now."""
        until = export.link_expires_at
        if export.storage_key is None or until is None or export.link_signature is None:
            return None
        seconds = int((until - datetime.now(UTC)).total_seconds())
        if seconds <= 0:
            return None
        form = FORMATS[export.format]
        name = download_name(export.export_type, export.export_id, export.format)
        # a list has up to a hundred exports, and each could wait for missing credentials
        if time.monotonic() < self._retry_storage_at:
            return None
        try:
            storage_url = self._storage.url(export.storage_key, name, form.content_type, seconds)
        except StorageError as error:
            self._retry_storage_at = time.monotonic() + STORAGE_RETRY_SECONDS
            # the export is shown without its link; the hint is enough, without boto3's stack trace
            LOG.error("exports are shown without download links: %s %s", error.message, error.hint)  # noqa: TRY400
            return None
        own_url = signed_url(self._public_url, PATH, export.storage_key, int(until.timestamp()), export.link_signature)
        return storage_url or own_url, until

    def serve(self, export_id: str, name: str, expires: str, signature: str) -> Response:
        """The file, or the requested range of it; a redirect if the storage has URLs of its own.

        Raises:
            Forbidden: the link is invalid or expired.
            NotFound: the file no longer exists.
            StorageUnavailable: the file cannot be read now.
        """
        key = f"{export_id}/{name}"
        link = parse_link(expires, signature)
        if link is None or "\0" in key:
            raise Forbidden(INVALID_LINK)
        stored = self._find(export_id, key, *link)
        file_name = download_name(stored.export_type, export_id, stored.format)
        content_type = FORMATS[stored.format].content_type
        try:
            storage_url = self._storage.url(key, file_name, content_type, LINK_LIFETIME_SECONDS)
            if storage_url is not None:
                return _without_caching(Response(status=302, headers={"Location": storage_url}))
            release = self._limits.acquire(key, stored.workspace_id)
            try:
                file = self._storage.open(key)
            except StorageError:
                release()
                raise
        except FileMissing as error:
            raise NotFound("FILE_NOT_FOUND") from error
        except StorageError as error:
            LOG.error("the file of %s cannot be read: %s %s", export_id, error.message, error.hint)  # noqa: TRY400
            raise StorageUnavailable from error
        media_type = content_type.partition(";")[0]
        response = send_file(file, mimetype=media_type, as_attachment=True, download_name=file_name, etag=stored.sha256)
        # not as the mimetype, to which werkzeug adds its own charset
        response.headers["Content-Type"] = content_type
        response.content_length = stored.file_size_bytes
        try:
            # send_file supports ranges for paths only
            response.make_conditional(_with_one_range(request), accept_ranges=True, complete_length=stored.file_size_bytes)
        except RequestedRangeNotSatisfiable:
            file.close()
            release()
            raise
        # not call_on_close, which a response that is passed through to the server never calls
        response.response = ClosingIterator(cast("Iterable[bytes]", response.response), release)
        return _without_caching(response)

    def _find(self, export_id: str, key: str, expires_at: int, signature: str) -> StoredFile:
        """The file of a link.

        Raises:
            Forbidden: the signature is not ours.
            NotFound: the file no longer exists.
        """
        row = self._pool.execute(
            lambda connection: connection.execute(
                "select * from app.find_export_file(%s, %s, %s, %s)", (export_id, key, expires_at, signature)
            ).fetchone()
        )
        if row is None:
            raise Forbidden(INVALID_LINK)
        if row[0] is None:
            raise NotFound("FILE_NOT_FOUND")
        return StoredFile(*row)


def downloads_blueprint(downloads: Downloads) -> Blueprint:
    """GET /downloads/{exportId}/{name}: the signed link is the only credential."""
    blueprint = Blueprint("downloads", __name__)

    @blueprint.get(f"{PATH}/<export_id>/<name>")
    def download(export_id: str, name: str) -> Response:
        current_request_context().endpoint = "download"
        return downloads.serve(export_id, name, request.args.get("expires", ""), request.args.get("signature", ""))

    return blueprint


def download_name(export_type: str, export_id: str, form: str) -> str:
    """The file name of a download."""
    return f"{export_type}-{export_id}.{FORMATS[form].extension}"


def _with_one_range(request: Request) -> WSGIEnvironment:
    """The request without a Range header that RFC 9110 (14.2) allows to ignore: malformed, another unit, or several ranges.

    werkzeug answers all of these with 416, which is meant for a range beyond the end of the file.
    """
    wanted = request.range
    if wanted is not None and wanted.units == "bytes" and len(wanted.ranges) == 1:
        return request.environ
    return {name: value for name, value in request.environ.items() if name != "HTTP_RANGE"}


def _without_caching(response: Response) -> Response:
    response.headers["Cache-Control"] = "private, no-store"
    return response
