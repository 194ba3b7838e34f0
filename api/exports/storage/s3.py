"""Exported files in a bucket of S3, or of what speaks it. Endpoint, region and credentials are boto3's own variables."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from api.errors import StorageError
from api.exports.storage.base import checked_folder, checked_key
from api.exports.storage.s3_errors import is_missing, storage_problem

LOG = logging.getLogger(__name__)
# what is in memory of a file; S3 takes 10,000 of them, of at least 5 MiB
PART = 8 * 2**20
# of a signature of version 4
MAX_SECONDS = 7 * 24 * 3600
Problem = Callable[[BotoCoreError | ClientError], StorageError]


class S3Storage:
    """A bucket; files are below a prefix in it."""

    def __init__(self, bucket: str, prefix: str = "", encryption: str | None = None) -> None:
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._encryption = {"ServerSideEncryption": encryption} if encryption else {}
        with self._problems():
            # a session of its own: boto3's common one is not made for threads
            self._client: Any = boto3.session.Session().client("s3", config=_config())

    @contextlib.contextmanager
    def create(self, key: str, content_type: str) -> Iterator[_S3Upload]:
        """Sends parts as they are written; S3 shows nothing before the last call."""
        where = {"Bucket": self.bucket, "Key": self._prefix + checked_key(key)}
        upload = _S3Upload(self._client, where, {"ContentType": content_type, **self._encryption}, self.problem)
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    def delete(self, key: str) -> None:
        """Removes a file."""
        with self._problems():
            self._client.delete_object(Bucket=self.bucket, Key=self._prefix + checked_key(key))

    def delete_leftovers(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Removes an export's files, and ends its uploads whose process is gone."""
        below = {"Bucket": self.bucket, "Prefix": f"{self._prefix}{checked_folder(prefix)}/"}
        kept = {self._prefix + checked_key(key) for key in but}
        with self._problems():
            # uploads first: one that ends meanwhile is then an object that is found
            for page in self._client.get_paginator("list_multipart_uploads").paginate(**below):
                for found in page.get("Uploads", ()):
                    if found["Key"] not in kept:
                        self._end_upload(found["Key"], found["UploadId"])
            for page in self._client.get_paginator("list_objects_v2").paginate(**below):
                for found in page.get("Contents", ()):
                    if found["Key"] not in kept:
                        self._client.delete_object(Bucket=self.bucket, Key=found["Key"])

    def open(self, key: str) -> BinaryIO:
        """A file for reading, from its beginning on."""
        with self._problems():
            return cast("BinaryIO", self._client.get_object(Bucket=self.bucket, Key=self._prefix + checked_key(key))["Body"])

    def url(self, key: str, file_name: str, content_type: str, seconds: int) -> str:
        """A signed address; it ends sooner where the credentials do. Who gives out credentials may be asked."""
        with self._problems():
            return str(
                self._client.generate_presigned_url(
                    "get_object",
                    Params={
                        "Bucket": self.bucket,
                        "Key": self._prefix + checked_key(key),
                        "ResponseContentDisposition": f'attachment; filename="{file_name}"',
                        "ResponseContentType": content_type,
                    },
                    ExpiresIn=min(seconds, MAX_SECONDS),
                )
            )

    def _end_upload(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if not is_missing(error):
                raise

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise self.problem(error) from error

    def problem(self, error: BotoCoreError | ClientError) -> StorageError:
        """What went wrong, as it is told."""
        return storage_problem(error, self.bucket)


class _S3Upload:
    """A file that is being sent: in one piece when it is small."""

    def __init__(self, client: Any, where: dict[str, str], about: dict[str, str], problem: Problem) -> None:
        self._client = client
        self._where = where
        self._about = about
        self._problem = problem
        self._kept = bytearray()
        self._upload_id = ""
        self._parts: list[dict[str, Any]] = []
        self._size = 0
        self._is_sent = False

    def write(self, data: bytes, /) -> int:
        """Keeps the bytes, and sends the parts that are full."""
        self._kept += data
        while len(self._kept) >= PART:
            part = bytes(memoryview(self._kept)[:PART])
            del self._kept[:PART]
            self._send(part)
        return len(data)

    def finish(self) -> None:
        """Makes the object visible."""
        if not self._parts:
            self._is_sent = True
            self._call("put_object", Body=bytes(self._kept), **self._about)
            return
        if self._kept:
            self._send(bytes(self._kept))
        self._is_sent = True
        try:
            self._client.complete_multipart_upload(
                **self._where, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
            )
        except (BotoCoreError, ClientError) as error:
            # an answer that was lost is asked for again, and then there is no such upload any more: it may be complete
            if not (is_missing(error) and self._is_there()):
                raise self._problem(error) from error

    def abort(self) -> None:
        """Leaves nothing, as far as S3 can be asked; delete_leftovers removes the rest later."""
        self._kept.clear()
        try:
            if self._upload_id:
                self._client.abort_multipart_upload(**self._where, UploadId=self._upload_id)
        except (BotoCoreError, ClientError) as error:
            if not is_missing(error):
                LOG.warning("an upload is left behind: %s", self._problem(error).hint)
        try:
            # whether the last call came through is not known
            if self._is_sent:
                self._client.delete_object(**self._where)
        except (BotoCoreError, ClientError) as error:
            LOG.warning("a file may be left behind: %s", self._problem(error).hint)

    def _send(self, part: bytes) -> None:
        if not self._upload_id:
            self._upload_id = self._call("create_multipart_upload", **self._about)["UploadId"]
        number = len(self._parts) + 1
        sent = self._call("upload_part", UploadId=self._upload_id, PartNumber=number, Body=part)
        self._size += len(part)
        # S3 wants the checksums that it gave for the parts
        checksums = {name: sent[name] for name in ("ChecksumCRC32", "ChecksumCRC64NVME") if name in sent}
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number, **checksums})

    def _is_there(self) -> bool:
        try:
            return bool(self._client.head_object(**self._where)["ContentLength"] == self._size)
        except (BotoCoreError, ClientError):
            return False

    def _call(self, name: str, **given: Any) -> Any:
        try:
            return getattr(self._client, name)(**self._where, **given)
        except (BotoCoreError, ClientError) as error:
            raise self._problem(error) from error


def _config() -> Config:
    own: dict[str, Any] = {}
    if any(name in os.environ for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")):
        # few of those who speak S3 have a name for each bucket, and some do not know the newer checksums
        own = {"s3": {"addressing_style": "path"}, "request_checksum_calculation": "when_required"}
        own |= {"response_checksum_validation": "when_required"}
    return Config(
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=4,
        **own,
    )
