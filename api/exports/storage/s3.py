"""Exported files in an S3 bucket, or a compatible one. boto3's environment variables set endpoint, region and credentials."""

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
from api.exports.storage.s3_errors import convert_s3_error, is_missing_upload

LOG = logging.getLogger(__name__)
# buffered in memory; S3 allows 10,000 parts of at least 5 MiB
PART_BYTES = 8 * 2**20
# the limit of signature version 4
MAX_URL_SECONDS = 7 * 24 * 3600
ConvertError = Callable[[BotoCoreError | ClientError], StorageError]


class S3Storage:
    """Files below a prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str = "", encryption: str | None = None) -> None:
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._encryption = {"ServerSideEncryption": encryption} if encryption else {}
        with self._converted_errors():
            # a session of its own: boto3's default session is not thread-safe
            self._client: Any = boto3.session.Session().client("s3", config=_config())

    @contextlib.contextmanager
    def create(self, key: str, content_type: str) -> Iterator[_S3Upload]:
        """Uploads parts while they are written. The object is visible after the last call."""
        where = {"Bucket": self.bucket, "Key": self._prefix + checked_key(key)}
        upload = _S3Upload(self._client, where, {"ContentType": content_type, **self._encryption}, self.storage_error)
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    def delete(self, key: str) -> None:
        """Deletes a file."""
        with self._converted_errors():
            self._client.delete_object(Bucket=self.bucket, Key=self._prefix + checked_key(key))

    def delete_leftovers(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Deletes an export's files and aborts its unfinished uploads."""
        below = {"Bucket": self.bucket, "Prefix": f"{self._prefix}{checked_folder(prefix)}/"}
        keep = {self._prefix + checked_key(key) for key in but}
        with self._converted_errors():
            # uploads first: an upload that completes meanwhile is then found as an object
            for page in self._client.get_paginator("list_multipart_uploads").paginate(**below):
                for upload in page.get("Uploads", ()):
                    if upload["Key"] not in keep:
                        self._abort_upload(upload["Key"], upload["UploadId"])
            for page in self._client.get_paginator("list_objects_v2").paginate(**below):
                for item in page.get("Contents", ()):
                    if item["Key"] not in keep:
                        self._client.delete_object(Bucket=self.bucket, Key=item["Key"])

    def erase(self, prefix: str, *, but: Collection[str] = ()) -> None:
        """Deletes an export's files, with their old versions if the bucket keeps versions and the credentials allow it."""
        self.delete_leftovers(prefix, but=but)
        below = {"Bucket": self.bucket, "Prefix": f"{self._prefix}{checked_folder(prefix)}/"}
        keep = {self._prefix + checked_key(key) for key in but}
        try:
            for page in self._client.get_paginator("list_object_versions").paginate(**below):
                for item in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
                    if item["Key"] not in keep:
                        self._client.delete_object(Bucket=self.bucket, Key=item["Key"], VersionId=item["VersionId"])
        except (BotoCoreError, ClientError) as error:
            LOG.warning("if the bucket keeps versions, those of an erased file remain: %s", self.storage_error(error).hint)

    def open(self, key: str) -> BinaryIO:
        """Opens a file. It cannot seek."""
        with self._converted_errors():
            return cast("BinaryIO", self._client.get_object(Bucket=self.bucket, Key=self._prefix + checked_key(key))["Body"])

    def url(self, key: str, file_name: str, content_type: str, seconds: int) -> str:
        """A presigned URL. It expires earlier if the credentials do. boto3 may fetch credentials for it."""
        with self._converted_errors():
            return str(
                self._client.generate_presigned_url(
                    "get_object",
                    Params={
                        "Bucket": self.bucket,
                        "Key": self._prefix + checked_key(key),
                        "ResponseContentDisposition": f'attachment; filename="{file_name}"',
                        "ResponseContentType": content_type,
                    },
                    ExpiresIn=min(seconds, MAX_URL_SECONDS),
                )
            )

    def _abort_upload(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if not is_missing_upload(error):
                raise

    @contextlib.contextmanager
    def _converted_errors(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise self.storage_error(error) from error

    def storage_error(self, error: BotoCoreError | ClientError) -> StorageError:
        """Converts an error of boto3."""
        return convert_s3_error(error, self.bucket)


class _S3Upload:
    """An unfinished upload: one request for a small file, otherwise a multipart upload."""

    def __init__(self, client: Any, where: dict[str, str], object_options: dict[str, str], convert_error: ConvertError) -> None:
        self._client = client
        self._where = where
        self._object_options = object_options
        self._convert_error = convert_error
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[dict[str, Any]] = []
        self._size = 0
        self._is_completion_sent = False

    def write(self, data: bytes, /) -> int:
        """Buffers the bytes and uploads complete parts."""
        self._buffer += data
        while len(self._buffer) >= PART_BYTES:
            part = bytes(memoryview(self._buffer)[:PART_BYTES])
            del self._buffer[:PART_BYTES]
            self._send(part)
        return len(data)

    def finish(self) -> None:
        """Makes the object visible."""
        if not self._parts:
            self._is_completion_sent = True
            self._call("put_object", Body=bytes(self._buffer), **self._object_options)
            return
        if self._buffer:
            self._send(bytes(self._buffer))
        self._is_completion_sent = True
        try:
            self._client.complete_multipart_upload(
                **self._where, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
            )
        except (BotoCoreError, ClientError) as error:
            # if the response was lost, boto3 retried, and the upload may be missing because it is already complete
            if not (is_missing_upload(error) and self._is_complete()):
                raise self._convert_error(error) from error

    def abort(self) -> None:
        """Removes the upload if S3 is reachable; otherwise delete_leftovers removes it later."""
        self._buffer.clear()
        try:
            if self._upload_id:
                self._client.abort_multipart_upload(**self._where, UploadId=self._upload_id)
        except (BotoCoreError, ClientError) as error:
            if not is_missing_upload(error):
                LOG.warning("an unfinished upload was not removed: %s", self._convert_error(error).hint)
        try:
            # the last call may have succeeded
            if self._is_completion_sent:
                self._client.delete_object(**self._where)
        except (BotoCoreError, ClientError) as error:
            LOG.warning("a file may not have been removed: %s", self._convert_error(error).hint)

    def _send(self, part: bytes) -> None:
        if not self._upload_id:
            self._upload_id = self._call("create_multipart_upload", **self._object_options)["UploadId"]
        number = len(self._parts) + 1
        sent = self._call("upload_part", UploadId=self._upload_id, PartNumber=number, Body=part)
        self._size += len(part)
        # S3 requires the checksums that it returned for the parts
        checksums = {name: sent[name] for name in ("ChecksumCRC32", "ChecksumCRC64NVME") if name in sent}
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number, **checksums})

    def _is_complete(self) -> bool:
        try:
            return bool(self._client.head_object(**self._where)["ContentLength"] == self._size)
        except (BotoCoreError, ClientError):
            return False

    def _call(self, name: str, **params: Any) -> Any:
        try:
            return getattr(self._client, name)(**self._where, **params)
        except (BotoCoreError, ClientError) as error:
            raise self._convert_error(error) from error


def _config() -> Config:
    own: dict[str, Any] = {}
    if any(name in os.environ for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")):
        # few compatible servers have a host name per bucket, and some do not support the newer checksums
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
