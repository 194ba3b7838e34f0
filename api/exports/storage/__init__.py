"""Where exported files are kept: a local folder, or a bucket of S3."""

from __future__ import annotations

from api.exports.storage.base import Storage, Upload
from api.settings import Settings

__all__ = ["Storage", "Upload", "storage_of"]


def storage_of(settings: Settings) -> Storage:
    """The storage of this installation. It can be used by several threads; a process makes its own.

    Raises:
        StorageError: nothing can be kept there as it is configured.
    """
    if settings.export_bucket is None:
        from api.exports.storage.local import LocalStorage

        return LocalStorage(settings.export_folder or settings.home / "exports")
    # boto3 takes a third of a second and 40 MB
    from api.exports.storage.s3 import S3Storage

    return S3Storage(settings.export_bucket, settings.export_prefix, settings.export_encryption)
