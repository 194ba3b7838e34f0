"""Errors of S3: their messages, and that no file is left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.client import BaseClient

from api.errors import FileMissing, StorageError
from api.exports.storage.s3 import PART_BYTES, S3Storage
from tests.integration.exports.storage.conftest import BUCKET

KEY = "exp_1/attempt.csv"


class ErrorServer(BaseHTTPRequestHandler):
    """Answers every request with the same error of S3."""

    # with the `100 Continue` that the client waits a second for, before it sends a body
    protocol_version = "HTTP/1.1"
    status, code, request_count = 500, "", 0

    def answer(self) -> None:
        type(self).request_count += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>the message</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body) if self.code else 0))
        self.send_header("x-amz-bucket-region", "eu-central-1")
        self.end_headers()
        if self.command != "HEAD" and self.code:
            self.wfile.write(body)

    do_PUT = do_POST = do_GET = do_DELETE = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def failing(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ErrorServer]]:
    class Handler(ErrorServer):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    # between retries
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    yield Handler
    server.shutdown()
    server.server_close()


def store(storage: S3Storage, size: int) -> None:
    with storage.create(KEY, "text/csv") as upload:
        upload.write(bytes(size))


@pytest.mark.parametrize(
    ("status", "code", "message", "is_lasting"),
    [
        (404, "NoSuchBucket", "does not exist", True),
        (301, "PermanentRedirect", "does not exist", True),
        (403, "AccessDenied", "denied access", True),
        (403, "InvalidAccessKeyId", "denied access", True),
        (403, "SignatureDoesNotMatch", "denied access", True),
        (403, "AllAccessDisabled", "denied access", True),
        (400, "KMS.DisabledException", "denied access", True),
        (400, "ExpiredToken", "denied access", False),
        (403, "RequestTimeTooSkewed", "denied access", False),
        (400, "InvalidRequest", "rejected the file", True),
        (507, "XMinioStorageFull", "is full", False),
        (507, "", "is full", False),
        (503, "SlowDown", "is temporarily unavailable", False),
        (500, "InternalError", "is temporarily unavailable", False),
        (409, "OperationAborted", "is temporarily unavailable", False),
    ],
)
@pytest.mark.parametrize("size", [1, PART_BYTES])
def test_errors_have_messages_and_hints(
    failing: type[ErrorServer], status: int, code: str, message: str, is_lasting: bool, size: int
) -> None:
    failing.status, failing.code = status, code
    with pytest.raises(StorageError, match=message) as raised:
        store(S3Storage(BUCKET), size)
    assert raised.value.is_lasting == is_lasting
    assert BUCKET in raised.value.hint
    # the message for users does not contain the bucket
    assert BUCKET not in raised.value.message
    assert "tests' secret" not in raised.value.hint + raised.value.message
    # retries are bounded
    assert failing.request_count <= 12


def test_an_error_without_a_body(failing: type[ErrorServer]) -> None:
    failing.status, failing.code = 403, "AccessDenied"
    with pytest.raises(StorageError, match="denied access"):
        S3Storage(BUCKET).delete(KEY)
    with pytest.raises(StorageError, match="denied access"):
        S3Storage(BUCKET).delete_leftovers("exp_1")


def test_a_missing_bucket(s3_environment: dict[str, str]) -> None:
    storage = S3Storage("missing-bucket")
    for size in (1, PART_BYTES):
        with pytest.raises(StorageError, match="does not exist") as raised:
            store(storage, size)
        assert raised.value.is_lasting
    with pytest.raises(StorageError, match="does not exist"):
        storage.delete_leftovers("exp_1")


def test_a_bucket_that_is_deleted_during_an_upload(storage: S3Storage, s3: Any) -> None:
    def write_after_deletion() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(bytes(PART_BYTES))
            storage.delete_leftovers("exp_1")
            s3.delete_bucket(Bucket=BUCKET)
            upload.write(bytes(PART_BYTES))

    try:
        with pytest.raises(StorageError):
            write_after_deletion()
    finally:
        s3.create_bucket(Bucket=BUCKET)


def test_a_missing_file(storage: S3Storage) -> None:
    with pytest.raises(FileMissing, match="no longer exists"):
        storage.open(KEY)


def test_an_unreachable_endpoint(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        # bound, but not listening
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{bound.getsockname()[1]}")
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
        with pytest.raises(StorageError, match="is temporarily unavailable") as raised:
            store(S3Storage(BUCKET), 1)
    assert not raised.value.is_lasting


def test_missing_credentials(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    storage = S3Storage(BUCKET)
    for call in (lambda: store(storage, 1), lambda: storage.url(KEY, "a.csv", "text/csv", 60)):
        with pytest.raises(StorageError, match="denied access") as raised:
            call()
        assert raised.value.is_lasting


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_lost_response_to_the_completion_of_an_upload(
    storage: S3Storage, s3: Any, monkeypatch: pytest.MonkeyPatch, is_complete: bool
) -> None:
    """boto3 retries, and the upload no longer exists: it was completed, or aborted by somebody else."""

    call = BaseClient._make_api_call

    def call_completion_twice(client: Any, operation: str, params: dict[str, Any]) -> Any:
        if operation == "CompleteMultipartUpload" and is_complete:
            call(client, operation, params)
        elif operation == "CompleteMultipartUpload":
            call(client, "AbortMultipartUpload", {name: params[name] for name in ("Bucket", "Key", "UploadId")})
        return call(client, operation, params)

    monkeypatch.setattr(BaseClient, "_make_api_call", call_completion_twice)
    if is_complete:
        store(storage, PART_BYTES)
        assert len(storage.open(KEY).read()) == PART_BYTES
    else:
        with pytest.raises(StorageError):
            store(storage, PART_BYTES)
        assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
