"""Files in S3, over HTTP."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.client import BaseClient

from api.errors import StorageError
from api.exports.storage.s3 import PART_BYTES, S3Storage
from tests.integration.exports.storage.conftest import BUCKET

KEY = "exp_1/attempt.csv"
FULL_KEY = f"mailmart/exports/{KEY}"


def objects(s3: Any) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]


def uploads(s3: Any) -> list[str]:
    return [item["Key"] for item in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]


@pytest.mark.parametrize("size", [0, 10, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12_345])
def test_a_file_is_uploaded_completely(storage: S3Storage, s3: Any, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    with storage.create(KEY, "text/csv; charset=utf-8") as upload:
        for start in range(0, size, 1_000_003):
            upload.write(data[start : start + 1_000_003])
        assert objects(s3) == []
    stored = s3.get_object(Bucket=BUCKET, Key=FULL_KEY)
    assert stored["Body"].read() == data
    assert stored["ContentType"] == "text/csv; charset=utf-8"
    assert storage.open(KEY).read() == data
    assert uploads(s3) == []
    storage.delete(KEY)
    storage.delete(KEY)
    assert objects(s3) == []


@pytest.mark.parametrize("size", [10, 2 * PART_BYTES + 10])
@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_interrupted_upload_leaves_nothing(storage: S3Storage, s3: Any, size: int, problem: type[BaseException]) -> None:

    def interrupted() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(bytes(size))
            assert uploads(s3) == ([FULL_KEY] if size > PART_BYTES else [])
            raise problem

    with pytest.raises(problem):
        interrupted()
    assert uploads(s3) == []
    assert objects(s3) == []


def test_an_upload_that_was_aborted_meanwhile_does_not_become_a_file(storage: S3Storage, s3: Any) -> None:
    """A worker that was considered dead continues; the upload that the recovery aborted stays aborted."""

    def write_after_abort() -> None:
        with storage.create(KEY, "text/csv") as upload:
            upload.write(bytes(PART_BYTES))
            storage.delete_leftovers("exp_1")
            upload.write(bytes(PART_BYTES))

    with pytest.raises(StorageError) as raised:
        write_after_abort()
    assert not raised.value.is_lasting
    assert uploads(s3) == objects(s3) == []


KILLED = """
import sys
from api.exports.storage.s3 import PART_BYTES, S3Storage
with S3Storage(sys.argv[1], "mailmart/exports").create(sys.argv[2], "text/csv") as upload:
    upload.write(bytes(PART_BYTES + 1))
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


def test_leftovers_of_other_exports_stay(storage: S3Storage, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"exp_1/{number}.csv" for number in range(5)]
    for key in [*keys, "exp_10/0.csv"]:
        with storage.create(key, "text/csv") as upload:
            upload.write(b"1")
    for number in range(5):
        s3.create_multipart_upload(Bucket=BUCKET, Key=f"mailmart/exports/exp_1/unfinished{number}.csv")
    s3.create_multipart_upload(Bucket=BUCKET, Key="mailmart/exports/exp_10/unfinished.csv")
    s3.put_object(Bucket=BUCKET, Key="exp_1/other_file")
    get_paginator = BaseClient.get_paginator
    monkeypatch.setattr(BaseClient, "get_paginator", lambda client, name: SmallPages(get_paginator(client, name)))
    storage.delete_leftovers("exp_1/", but=[keys[3]])
    assert sorted(objects(s3)) == ["exp_1/other_file", "mailmart/exports/exp_1/3.csv", "mailmart/exports/exp_10/0.csv"]
    assert uploads(s3) == ["mailmart/exports/exp_10/unfinished.csv"]
    for prefix in ("", "/", "..", "exp_1/../exp_10"):
        with pytest.raises(StorageError):
            storage.delete_leftovers(prefix)


class SmallPages:
    """A paginator with two items per page."""

    def __init__(self, paginator: Any) -> None:
        self._paginator = paginator

    def paginate(self, **params: Any) -> Any:
        return self._paginator.paginate(**params, PaginationConfig={"PageSize": 2})


def test_a_presigned_url_serves_the_file_as_an_attachment(storage: S3Storage) -> None:
    with storage.create(KEY, "text/csv; charset=utf-8") as upload:
        upload.write("a,é\n".encode())
    url = storage.url(KEY, "messages-exp_1.csv", "text/csv; charset=utf-8", 3600)
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["3600"]
    assert "tests'" not in url
    with urllib.request.urlopen(url, timeout=30) as response:
        assert response.read() == "a,é\n".encode()
        assert response.headers["Content-Disposition"] == 'attachment; filename="messages-exp_1.csv"'
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize("size", [10, PART_BYTES + 10])
@pytest.mark.parametrize("encryption", ["AES256", "aws:kms"])
def test_files_are_encrypted(s3: Any, size: int, encryption: str) -> None:
    storage = S3Storage(BUCKET, "", encryption)
    with storage.create(KEY, "text/csv") as upload:
        upload.write(bytes(size))
    assert s3.head_object(Bucket=BUCKET, Key=KEY)["ServerSideEncryption"] == encryption


def test_an_erased_file_has_no_old_version(storage: S3Storage, s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        with storage.create(KEY, "text/csv") as upload:
            upload.write(b"content")
    kept = "exp_1/another.csv"
    with storage.create(kept, "text/csv") as upload:
        upload.write(b"content")
    storage.erase("exp_1/", but=[kept])
    listed = s3.list_object_versions(Bucket=BUCKET)
    assert [item["Key"] for item in listed.get("Versions", ())] == [f"mailmart/exports/{kept}"]
    assert not listed.get("DeleteMarkers")
    storage.erase("exp_1/")
    assert not s3.list_object_versions(Bucket=BUCKET).get("Versions")
