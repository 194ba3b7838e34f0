"""S3 that is away, full, or says no: what is told of it, and that nothing is left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from api.errors import FileMissing, StorageError
from api.exports.storage.s3 import PART, S3Storage
from tests.integration.exports.storage.conftest import BUCKET

KEY = "exp_1/attempt.csv"


class ResponseCache(BaseHTTPRequestHandler):
    """Answers every request with one error of S3."""

    status, code, asked = 500, "", 0

    def answer(self) -> None:
        type(self).asked += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>said so</Message></Error>".encode()
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
def refusing(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ResponseCache]]:
    class Own(ResponseCache):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    # between tries
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    yield Own
    server.shutdown()
    server.server_close()


def store(storage: S3Storage, size: int) -> None:
    with storage.create(KEY, "text/csv") as upload:
        upload.write(bytes(size))


@pytest.mark.parametrize(
    ("status", "code", "message", "is_lasting"),
    [
        (404, "NoSuchBucket", "is not there", True),
        (301, "PermanentRedirect", "is not there", True),
        (403, "AccessDenied", "refuses us", True),
        (403, "InvalidAccessKeyId", "refuses us", True),
        (403, "SignatureDoesNotMatch", "refuses us", True),
        (403, "AllAccessDisabled", "refuses us", True),
        (400, "KMS.DisabledException", "refuses us", True),
        (400, "ExpiredToken", "refuses us", False),
        (403, "RequestTimeTooSkewed", "refuses us", False),
        (400, "InvalidRequest", "does not take the file", True),
        (507, "XMinioStorageFull", "is full", False),
        (507, "", "is full", False),
        (503, "SlowDown", "does not answer", False),
        (500, "InternalError", "does not answer", False),
        (409, "OperationAborted", "does not answer", False),
    ],
)
@pytest.mark.parametrize("size", [1, PART])
def test_what_s3_says_is_told(
    refusing: type[ResponseCache], status: int, code: str, message: str, is_lasting: bool, size: int
) -> None:
    refusing.status, refusing.code = status, code
    with pytest.raises(StorageError, match=message) as raised:
        store(S3Storage(BUCKET), size)
    assert raised.value.is_lasting == is_lasting
    assert BUCKET in raised.value.hint
    # who asked for the file does not learn where we keep it
    assert BUCKET not in raised.value.message
    assert "tests' secret" not in raised.value.hint + raised.value.message
    # tried again, and not without end
    assert refusing.asked <= 12


def test_a_refusal_without_a_body_is_told(refusing: type[ResponseCache]) -> None:
    refusing.status, refusing.code = 403, "AccessDenied"
    with pytest.raises(StorageError, match="refuses us"):
        S3Storage(BUCKET).delete(KEY)
    with pytest.raises(StorageError, match="refuses us"):
        S3Storage(BUCKET).delete_leftovers("exp_1")


def test_a_bucket_that_is_gone(s3_environment: dict[str, str]) -> None:
    storage = S3Storage("nobodys-bucket")
    for size in (1, PART):
        with pytest.raises(StorageError, match="is not there") as raised:
            store(storage, size)
        assert raised.value.is_lasting
    with pytest.raises(StorageError, match="is not there"):
        storage.delete_leftovers("exp_1")


def test_a_bucket_that_goes_while_a_file_is_sent(storage: S3Storage, s3: Any) -> None:
    def should_continue() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(bytes(PART))
            storage.delete_leftovers("exp_1")
            s3.delete_bucket(Bucket=BUCKET)
            upload.write(bytes(PART))

    try:
        with pytest.raises(StorageError):
            should_continue()
    finally:
        s3.create_bucket(Bucket=BUCKET)


def test_a_file_that_is_not_there(storage: S3Storage) -> None:
    with pytest.raises(FileMissing, match="not there any more"):
        storage.open(KEY)


def test_an_endpoint_that_is_away(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # bound, and nobody listens
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
        with pytest.raises(StorageError, match="does not answer") as raised:
            store(S3Storage(BUCKET), 1)
    assert not raised.value.is_lasting


def test_no_credentials(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    storage = S3Storage(BUCKET)
    for call in (lambda: store(storage, 1), lambda: storage.url(KEY, "a.csv", "text/csv", 60)):
        with pytest.raises(StorageError, match="refuses us") as raised:
            call()
        assert raised.value.is_lasting


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_answer_to_the_last_call_that_is_lost(storage: S3Storage, s3: Any, is_whole: bool) -> None:
    """It is asked for again, and the upload is not known any more: it became a file, or was ended."""

    def lost() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(bytes(PART))
            finish = storage._client.complete_multipart_upload

            def twice(**given: Any) -> Any:
                if is_whole:
                    finish(**given)
                else:
                    storage._client.abort_multipart_upload(**{name: given[name] for name in ("Bucket", "Key", "UploadId")})
                return finish(**given)

            storage._client.complete_multipart_upload = twice

    if is_whole:
        lost()
        assert len(storage.open(KEY).read()) == PART
    else:
        with pytest.raises(StorageError):
            lost()
        assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
