"""Downloading a file: all of it, a range, and errors."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Iterator

import pytest
from werkzeug.test import Client, TestResponse

from api.db.connection import connect
from api.exports.download_limits import MAX_PER_LINK
from api.server.app import WsgiApp
from tests.integration.exports.conftest import Exporter
from tests.integration.exports.test_attempts import files


def fetch(exporter: Exporter, link: str, **headers: str) -> TestResponse:
    # buffered: closes the response, which ends the download
    return exporter.client.get(link.removeprefix(exporter.settings.public_url), headers=headers, buffered=True)


def completed(exporter: Exporter) -> tuple[str, str]:
    """A completed export and its download link."""
    export_id = exporter.request()["export_id"]
    exporter.attempt(export_id)
    return export_id, exporter.status(export_id)["download_url"]


def test_an_invalid_range_is_ignored(exporter: Exporter) -> None:
    _, link = completed(exporter)
    complete = fetch(exporter, link)
    assert complete.headers["Content-Type"] == "text/csv; charset=utf-8"
    whole = complete.data
    for ignored in ("nonsense", "bytes=", "bytes=5-2", "bytes=a-b", "items=0-5", "bytes=0-0,-1", "bytes=0-1,5-6,9-"):
        response = fetch(exporter, link, Range=ignored)
        assert (response.status_code, response.data) == (200, whole), ignored
        assert response.headers["Accept-Ranges"] == "bytes"
    for byte_range, expected in (("bytes=0-0", whole[:1]), ("bytes=-5", whole[-5:]), ("bytes=3-", whole[3:])):
        response = fetch(exporter, link, Range=byte_range)
        assert (response.status_code, response.data) == (206, expected), byte_range
    beyond = fetch(exporter, link, Range="bytes=99999999-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")


def test_the_database_signs_by_hmac_sha256(exporter: Exporter) -> None:
    _, link = completed(exporter)
    key, query = link.removeprefix(f"{exporter.settings.public_url}/downloads/").split("?")
    expires, signature = (part.split("=")[1] for part in query.split("&"))
    with connect(exporter.settings, "mailmart_owner") as connection:
        (inner_key,) = connection.execute("select inner_key from app.signing_secret").fetchone() or (b"",)
    secret = bytes(byte ^ 0x36 for byte in inner_key)
    assert signature == hmac.new(secret, f"mailmart export\n{expires}\n{key}".encode(), hashlib.sha256).hexdigest()


def test_a_link_is_for_one_file_and_time(exporter: Exporter) -> None:
    _, link = completed(exporter)
    other_id, other_link = completed(exporter)
    (expires,) = re.findall(r"expires=(\d+)", link)
    export_id = link.split("/")[-2]
    for changed in (
        link.replace(expires, str(int(expires) + 1)),
        link.replace(expires, str(int(time.time()) - 1)),
        link.replace(export_id, other_id),
        other_link.split("?")[0] + "?" + link.split("?")[1],
        link.split("&")[0],
        link.replace("signature=", "signature=0"),
        link.replace(export_id, "exp_nobody"),
    ):
        assert fetch(exporter, changed).status_code == 403, changed
    assert fetch(exporter, link).status_code == 200


def test_a_download_that_ended_counts_no_longer(exporter: Exporter) -> None:
    _, link = completed(exporter)
    path = link.removeprefix(exporter.settings.public_url)
    etag = fetch(exporter, link).headers["ETag"]
    for _ in range(MAX_PER_LINK + 1):
        assert fetch(exporter, link).status_code == 200
        assert fetch(exporter, link, Range="bytes=0-0").status_code == 206
        assert fetch(exporter, link, Range="bytes=99999999-").status_code == 416
        assert fetch(exporter, link, **{"If-None-Match": etag}).status_code == 304
        assert exporter.client.head(path, buffered=True).status_code == 200
    unread = [exporter.client.get(path) for _ in range(MAX_PER_LINK)]
    assert fetch(exporter, link).get_json()["error"]["code"] == "TOO_MANY_DOWNLOADS"
    for response in unread:
        response.close()
    assert fetch(exporter, link).status_code == 200


def test_a_missing_or_unreadable_file(exporter: Exporter, caplog: pytest.LogCaptureFixture) -> None:
    export_id, link = completed(exporter)
    (file,) = files(exporter, export_id)
    file.unlink()
    missing = fetch(exporter, link)
    assert (missing.status_code, missing.get_json()["error"]["code"]) == (404, "FILE_NOT_FOUND")
    # a folder cannot be opened as a file, whatever the permissions
    file.mkdir()
    unreadable = fetch(exporter, link)
    assert (unreadable.status_code, unreadable.get_json()["error"]["code"]) == (503, "STORAGE_UNAVAILABLE")
    assert int(unreadable.headers["Retry-After"]) > 0
    assert str(file) not in unreadable.text
    assert str(file) in caplog.text


@pytest.fixture
def without_credentials(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporter]:
    """Calls a service that has no credentials for its bucket."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    settings = dataclasses.replace(exporter.settings, export_bucket="exports-of-tests")
    service = WsgiApp(settings)
    yield dataclasses.replace(exporter, settings=settings, service=service, client=Client(service))
    service.close()


def test_exports_are_shown_if_the_storage_denies_access(
    exporter: Exporter, without_credentials: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"export_type": "campaign_performance", "format": "csv"}
    headers = {"Idempotency-Key": "while-access-is-denied"}
    export_id = exporter.call("POST", "export", json=body, headers=headers).get_json()["data"]["export_id"]
    exporter.attempt(export_id)
    link = exporter.status(export_id)["download_url"]
    with caplog.at_level(logging.ERROR, "api.exports.downloads"):
        status = without_credentials.status(export_id)
        listed = without_credentials.call("GET", "exports")
        again = without_credentials.call("POST", "export", json=body, headers=headers)
    assert (status["status"], status["download_url"], status["expires_at"]) == ("completed", None, None)
    assert listed.status_code == 200
    assert {export["download_url"] for export in listed.get_json()["data"]["exports"]} == {None}
    assert (again.status_code, again.get_json()["data"]) == (202, status)
    # logged once, not once per export
    assert len(caplog.records) == 1
    assert "credentials" in caplog.text
    fetched = fetch(without_credentials, link)
    assert (fetched.status_code, fetched.get_json()["error"]["code"]) == (503, "STORAGE_UNAVAILABLE")
