"""Files in S3, spoken over HTTP."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from api.errors import StorageError
from api.exports.storage.s3 import PART, S3Storage
from tests.integration.exports.storage.conftest import BUCKET

KEY = "exp_1/attempt.csv"
FULL_KEY = f"mailmart/exports/{KEY}"


def objects(s3: Any) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]


def uploads(s3: Any) -> list[str]:
    return [found["Key"] for found in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]


@pytest.mark.parametrize("size", [0, 10, PART - 1, PART, PART + 1, 2 * PART + 12_345])
def test_a_file_arrives_whole(storage: S3Storage, s3: Any, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    with storage.create(KEY, "text/csv; charset=utf-8") as upload:
        for start in range(0, size, 1_000_003):
            upload.write(data[start : start + 1_000_003])
        assert objects(s3) == []
    found = s3.get_object(Bucket=BUCKET, Key=FULL_KEY)
    assert found["Body"].read() == data
    assert found["ContentType"] == "text/csv; charset=utf-8"
    assert storage.open(KEY).read() == data
    assert uploads(s3) == []
    storage.delete(KEY)
    storage.delete(KEY)
    assert objects(s3) == []


@pytest.mark.parametrize("size", [10, 2 * PART + 10])
@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_interrupted_upload_leaves_nothing(storage: S3Storage, s3: Any, size: int, problem: type[BaseException]) -> None:

    def interrupted() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(bytes(size))
            assert uploads(s3) == ([FULL_KEY] if size > PART else [])
            raise problem

    with pytest.raises(problem):
        interrupted()
    assert uploads(s3) == []
    assert objects(s3) == []


def test_an_upload_that_was_ended_meanwhile_does_not_become_a_file(storage: S3Storage, s3: Any) -> None:
    """A worker that was taken for dead goes on: what recovery removed stays away."""

    def should_continue() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(bytes(PART))
            storage.delete_leftovers("exp_1")
            upload.write(bytes(PART))

    with pytest.raises(StorageError) as raised:
        should_continue()
    assert not raised.value.is_lasting
    assert uploads(s3) == objects(s3) == []


KILLED = """
import sys
from api.exports.storage.s3 import PART, S3Storage
with S3Storage(sys.argv[1], "mailmart/exports").create(sys.argv[2], "text/csv") as upload:
    upload.write(bytes(PART + 1))
    print("sent", flush=True)
    sys.stdin.read()
"""


def test_leftovers_of_a_killed_process_are_removed(storage: S3Storage, s3: Any) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, BUCKET, KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"sent\n"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert uploads(s3) == [FULL_KEY]
    storage.delete_leftovers("exp_2")
    assert uploads(s3) == [FULL_KEY]
    storage.delete_leftovers("exp_1", but=[KEY])
    assert uploads(s3) == [FULL_KEY]
    storage.delete_leftovers("exp_1", but=["exp_1/other.csv"])
    assert uploads(s3) == []


def test_leftovers_are_an_exports_own(storage: S3Storage, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"exp_1/{number}.csv" for number in range(5)]
    for key in [*keys, "exp_10/0.csv"]:
        with storage.create(key, "text/csv") as upload:
            upload.write(b"1")
    for number in range(5):
        s3.create_multipart_upload(Bucket=BUCKET, Key=f"mailmart/exports/exp_1/unfinished{number}.csv")
    s3.create_multipart_upload(Bucket=BUCKET, Key="mailmart/exports/exp_10/unfinished.csv")
    s3.put_object(Bucket=BUCKET, Key="exp_1/somebody_elses")
    paginator = storage._client.get_paginator
    # a page a key
    monkeypatch.setattr(storage._client, "get_paginator", lambda name: Paged(paginator(name)))
    storage.delete_leftovers("exp_1/", but=[keys[3]])
    assert sorted(objects(s3)) == ["exp_1/somebody_elses", "mailmart/exports/exp_1/3.csv", "mailmart/exports/exp_10/0.csv"]
    assert uploads(s3) == ["mailmart/exports/exp_10/unfinished.csv"]
    for prefix in ("", "/", "..", "exp_1/../exp_10"):
        with pytest.raises(StorageError):
            storage.delete_leftovers(prefix)


class Paged:
    """A paginator of small pages."""

    def __init__(self, paginator: Any) -> None:
        self._paginator = paginator

    def paginate(self, **given: Any) -> Any:
        return self._paginator.paginate(**given, PaginationConfig={"PageSize": 2})


def test_an_address_gives_the_file_as_an_attachment(storage: S3Storage) -> None:
    with storage.create(KEY, "text/csv; charset=utf-8") as upload:
        upload.write("a,é\n".encode())
    address = storage.url(KEY, "messages-exp_1.csv", "text/csv; charset=utf-8", 3600)
    query = parse_qs(urlsplit(address).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["3600"]
    assert "tests'" not in address
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.read() == "a,é\n".encode()
        assert answer.headers["Content-Disposition"] == 'attachment; filename="messages-exp_1.csv"'
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize("size", [10, PART + 10])
@pytest.mark.parametrize("encryption", ["AES256", "aws:kms"])
def test_encryption_is_asked_for(s3: Any, size: int, encryption: str) -> None:
    storage = S3Storage(BUCKET, "", encryption)
    with storage.create(KEY, "text/csv") as upload:
        upload.write(bytes(size))
    assert s3.head_object(Bucket=BUCKET, Key=KEY)["ServerSideEncryption"] == encryption
