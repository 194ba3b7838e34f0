"""Converts errors of S3 to messages for the export's user and hints for the operator."""

from __future__ import annotations

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from api.errors import FileMissing, StorageError

NOT_FOUND = "The export storage does not exist."
ACCESS_DENIED = "The export storage denied access."
UNAVAILABLE = "The export storage is temporarily unavailable."
FILE_MISSING = "The file no longer exists."
FULL = "The export storage is full."

PERMISSIONS = (
    "s3:PutObject, GetObject, DeleteObject, AbortMultipartUpload, ListBucket and ListBucketMultipartUploads"
    " (and kms:GenerateDataKey and kms:Decrypt with a key)"
)

# error code → the message, the operator's hint, and whether the error is permanent
_CODES: dict[str, tuple[str, str, bool]] = {
    "NoSuchBucket": (NOT_FOUND, "create the bucket, or set MAILMART_EXPORT_BUCKET to an existing one", True),
    "InvalidBucketName": (NOT_FOUND, "set MAILMART_EXPORT_BUCKET to a valid bucket name", True),
    "PermanentRedirect": (NOT_FOUND, "the bucket is in another region: set AWS_DEFAULT_REGION to it", True),
    "AuthorizationHeaderMalformed": (NOT_FOUND, "the bucket is in another region: set AWS_DEFAULT_REGION to it", True),
    "IllegalLocationConstraintException": (NOT_FOUND, "the bucket is in another region: set AWS_DEFAULT_REGION to it", True),
    "NoSuchKey": (FILE_MISSING, "it was deleted by a lifecycle rule of the bucket, or by hand", True),
    "AccessDenied": (
        ACCESS_DENIED,
        f"the credentials must allow {PERMISSIONS}",
        True,
    ),
    "InvalidAccessKeyId": (ACCESS_DENIED, "AWS_ACCESS_KEY_ID is unknown", True),
    "SignatureDoesNotMatch": (ACCESS_DENIED, "AWS_SECRET_ACCESS_KEY does not match the access key", True),
    "InvalidToken": (ACCESS_DENIED, "AWS_SESSION_TOKEN is invalid", True),
    # they may be renewed soon
    "ExpiredToken": (ACCESS_DENIED, "the credentials have expired", False),
    "RequestTimeTooSkewed": (ACCESS_DENIED, "the clock of this machine is off by more than 15 minutes", False),
    "NoSuchUpload": (
        UNAVAILABLE,
        "the upload was aborted, by a lifecycle rule or because its worker was considered dead",
        False,
    ),
    "EntityTooLarge": ("The file is too large for the export storage.", "S3 accepts 80 GB in parts of this size", True),
    "QuotaExceeded": (FULL, "free space, or raise the quota", False),
    "XMinioStorageFull": (FULL, "free space", False),
}
# without a response body (HEAD requests) the code is the HTTP status
_STATUSES = {"403": "AccessDenied", "404": "NoSuchKey", "301": "PermanentRedirect"}


def convert_s3_error(error: BotoCoreError | ClientError, bucket: str) -> StorageError:
    """The StorageError for an error of boto3."""
    if isinstance(error, ClientError):
        return _convert_client_error(error, bucket)
    # boto3's messages contain the endpoint, but no secret
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError
        | exceptions.ProfileNotFound
        | exceptions.SSOError,
    ):
        return StorageError(ACCESS_DENIED, hint=f"No credentials for the bucket {bucket}: {error}", is_lasting=True)
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError | exceptions.IncompleteReadError):
        return StorageError(UNAVAILABLE, hint=f"No response for the bucket {bucket}: {error}", is_lasting=False)
    # parameters, region, endpoint or configuration that boto3 rejects
    return StorageError("The export storage is misconfigured.", hint=f"boto3: {error}", is_lasting=True)


def is_missing_upload(error: BotoCoreError | ClientError) -> bool:
    """Whether the error is that the upload does not exist."""
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in ("NoSuchUpload", "404")


def _convert_client_error(error: ClientError, bucket: str) -> StorageError:
    details = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
    code = str(details.get("Code", ""))
    code = _STATUSES.get(code, code)
    known = _CODES.get(code)
    if known is None and status == 507:
        known = _CODES["QuotaExceeded"]
    if known is None and code.startswith("KMS."):
        known = (ACCESS_DENIED, "the bucket's encryption key cannot be used", True)
    if known is None and status in (401, 403):
        known = (ACCESS_DENIED, "the credentials do not allow the operation", True)
    if known is None:
        # 408, 409, 429 and 5xx are transient
        is_lasting = 400 <= status < 500 and status not in (408, 409, 429)
        message = "The export storage rejected the file." if is_lasting else UNAVAILABLE
        known = (message, str(details.get("Message") or f"status {status}"), is_lasting)
    message, hint, is_lasting = known
    kind = FileMissing if message == FILE_MISSING else StorageError
    return kind(message, hint=f"{error.operation_name} in the bucket {bucket}: {code}: {hint}", is_lasting=is_lasting)
