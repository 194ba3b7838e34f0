"""The storage of exported files: a local folder or an S3 bucket."""

from __future__ import annotations

from api.exports.storage.base import Storage, Upload
from api.settings import Settings

__all__ = ["Storage", "Upload", "storage_of"]


def storage_of(settings: Settings) -> Storage:
    """The configured storage. It is thread-safe; each process makes its own.

    Raises:
        StorageError: the configuration is invalid.
    """
    if settings.export_bucket is None:
        from api.exports.storage.local import LocalStorage

        return LocalStorage(settings.export_folder or settings.home / "exports")
    # imported on use: boto3 takes a third of a second and 40 MB
    from api.exports.storage.s3 import S3Storage

    return S3Storage(settings.export_bucket, settings.export_prefix, settings.export_encryption)
