"""Where an export's file is fetched: at the storage's own address, or here, by a link that is signed and expires."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from flask import Blueprint, Request, Response, request, send_file

from api.db.pool import ConnectionPool
from api.errors import FileMissing, Forbidden, NotFound, StorageError, StorageUnavailable
from api.exports.formats import FORMATS
from api.exports.repository import Export
from api.exports.signed_urls import is_valid, link
from api.exports.storage import Storage
from api.settings import Settings
from api.web.request_context import current_request_context

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LOG = logging.getLogger(__name__)
LIFE = timedelta(hours=1)
PATH = "/downloads"
SECONDS_UNTIL_ASKED_AGAIN = 5.0
SPENT = "The link is not valid, or no more; the export's status has a new one"


@dataclass(frozen=True)
class StoredFile:
    """A file that is there, as app.file_of_export tells it."""

    storage_key: str
    export_type: str
    format: str
    file_size_bytes: int
    sha256: str
    file_expires_at: datetime


class Downloads:
    """Makes links to files, and answers them. One for a process."""

    def __init__(self, settings: Settings, storage: Storage, pool: ConnectionPool) -> None:
        self._address = settings.public_url
        self._storage = storage
        self._pool = pool
        self._lock = threading.Lock()
        self._secret_once_read = b""
        self._ask_again_at = 0.0

    def of(self, export: Export) -> tuple[str, datetime] | None:
        """The address of an export's file, and until when it holds; None where there is no file, or none can be had now."""
        if export.status != "completed" or export.storage_key is None or export.file_expires_at is None:
            return None
        until = min(datetime.now(UTC) + LIFE, export.file_expires_at).replace(microsecond=0)
        seconds = int((until - datetime.now(UTC)).total_seconds())
        if seconds <= 0:
            return None
        form = FORMATS[export.format]
        name = file_name(export.export_type, export.export_id, export.format)
        # a list has a hundred of them, and each might wait for credentials that do not come
        if time.monotonic() < self._ask_again_at:
            return None
        try:
            elsewhere = self._storage.url(export.storage_key, name, form.content_type, seconds)
        except StorageError as error:
            self._ask_again_at = time.monotonic() + SECONDS_UNTIL_ASKED_AGAIN
            # the export is told all the same; what to do is one line, and no trace of boto3's
            LOG.error("exports are shown without their addresses: %s %s", error.message, error.hint)  # noqa: TRY400
            return None
        return elsewhere or self.link(export.storage_key, until), until

    def link(self, key: str, until: datetime) -> str:
        """An address of ours, which holds as long as is said: it leads to the storage, where that is elsewhere."""
        return link(self._address, PATH, self._secret(), key, int(until.timestamp()))

    def answer(self, export_id: str, name: str, expires: str, signature: str) -> Response:
        """The file, whole or the range that is asked for; or the way to the storage.

        Raises:
            Forbidden: the link is not ours, or too old.
            NotFound: the file is gone.
            StorageUnavailable: it cannot be had at the moment.
        """
        key = f"{export_id}/{name}"
        if not is_valid(self._secret(), key, expires, signature):
            raise Forbidden(SPENT)
        stored = self._stored(export_id)
        if stored is None or stored.storage_key != key or datetime.now(UTC) >= stored.file_expires_at:
            raise NotFound("FILE_NOT_FOUND")
        shown = file_name(stored.export_type, export_id, stored.format)
        content_type = FORMATS[stored.format].content_type
        try:
            elsewhere = self._storage.url(key, shown, content_type, int(LIFE.total_seconds()))
            if elsewhere is not None:
                return _never_kept(Response(status=302, headers={"Location": elsewhere}))
            file = self._storage.open(key)
        except FileMissing as error:
            raise NotFound("FILE_NOT_FOUND") from error
        except StorageError as error:
            LOG.error("the file of %s cannot be fetched: %s %s", export_id, error.message, error.hint)  # noqa: TRY400
            raise StorageUnavailable from error
        response = send_file(file, mimetype=content_type, as_attachment=True, download_name=shown, etag=stored.sha256)
        response.content_length = stored.file_size_bytes
        # by itself it does so of paths alone
        response.make_conditional(_with_one_range(request), accept_ranges=True, complete_length=stored.file_size_bytes)
        return _never_kept(response)

    def _stored(self, export_id: str) -> StoredFile | None:
        def read(connection: psycopg.Connection) -> StoredFile | None:
            row = connection.execute("select * from app.file_of_export(%s)", (export_id,)).fetchone()
            return None if row is None else StoredFile(*row)

        return self._pool.execute(read) if "\0" not in export_id else None

    def _secret(self) -> bytes:
        with self._lock:
            if not self._secret_once_read:
                row = self._pool.execute(
                    lambda connection: connection.execute("select secret from app.signing_secret").fetchone()
                )
                self._secret_once_read = bytes(row[0]) if row else b""
            return self._secret_once_read


def downloads_blueprint(downloads: Downloads) -> Blueprint:
    """/downloads, for whoever has a link: no credential is asked for."""
    blueprint = Blueprint("downloads", __name__)

    @blueprint.get(f"{PATH}/<export_id>/<name>")
    def download(export_id: str, name: str) -> Response:
        current_request_context().endpoint = "download"
        return downloads.answer(export_id, name, request.args.get("expires", ""), request.args.get("signature", ""))

    return blueprint


def file_name(export_type: str, export_id: str, form: str) -> str:
    """What a user's browser calls the file."""
    return f"{export_type}-{export_id}.{FORMATS[form].extension}"


def _with_one_range(request: Request) -> WSGIEnvironment:
    """The request, without a Range that is to be ignored (RFC 9110, 14.2): malformed, of another unit, or several at once.

    werkzeug answers all of these with 416, which is for a range beyond the file.
    """
    wanted = request.range
    if wanted is not None and wanted.units == "bytes" and len(wanted.ranges) == 1:
        return request.environ
    return {name: value for name, value in request.environ.items() if name != "HTTP_RANGE"}


def _never_kept(response: Response) -> Response:
    response.headers["Cache-Control"] = "private, no-store"
    return response
