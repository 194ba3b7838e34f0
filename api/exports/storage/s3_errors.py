"""What S3's errors mean, to who waits for a file and to the operator."""

from __future__ import annotations

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from api.errors import FileMissing, StorageError

NOT_THERE = "The storage of exports is not there."
REFUSED = "The storage of exports refuses us."
AWAY = "The storage of exports does not answer at the moment."
MISSING = "The file is not there any more."
FULL = "The storage of exports is full."

RIGHTS = (
    "s3:PutObject, GetObject, DeleteObject, AbortMultipartUpload, ListBucket and ListBucketMultipartUploads"
    " (and kms:GenerateDataKey and kms:Decrypt with a key)"
)

# code → the message, what the operator can do, and whether that is what it takes
_CODES: dict[str, tuple[str, str, bool]] = {
    "NoSuchBucket": (NOT_THERE, "make the bucket, or set MAILMART_EXPORT_BUCKET to one that is there", True),
    "InvalidBucketName": (NOT_THERE, "set MAILMART_EXPORT_BUCKET to the name of a bucket", True),
    "PermanentRedirect": (NOT_THERE, "the bucket is in another region: set AWS_DEFAULT_REGION to it", True),
    "AuthorizationHeaderMalformed": (NOT_THERE, "the bucket is in another region: set AWS_DEFAULT_REGION to it", True),
    "IllegalLocationConstraintException": (NOT_THERE, "the bucket is in another region: set AWS_DEFAULT_REGION to it", True),
    "NoSuchKey": (MISSING, "somebody else removed it, or a lifecycle rule of the bucket did", True),
    "AccessDenied": (
        REFUSED,
        f"the credentials have to allow {RIGHTS}",
        True,
    ),
    "InvalidAccessKeyId": (REFUSED, "AWS_ACCESS_KEY_ID is not known there", True),
    "SignatureDoesNotMatch": (REFUSED, "AWS_SECRET_ACCESS_KEY is not the one of this access key", True),
    "InvalidToken": (REFUSED, "AWS_SESSION_TOKEN is none that counts", True),
    # fresh ones may be on their way
    "ExpiredToken": (REFUSED, "the credentials have expired", False),
    "RequestTimeTooSkewed": (REFUSED, "the clock of this machine is wrong by more than a quarter of an hour", False),
    "NoSuchUpload": (
        AWAY,
        "the upload was ended by somebody else: by a lifecycle rule, or because its worker was taken for dead",
        False,
    ),
    "EntityTooLarge": ("The file is larger than the storage of exports takes.", "S3 takes 80 GB in our parts", True),
    "QuotaExceeded": (FULL, "make room, or raise the quota", False),
    "XMinioStorageFull": (FULL, "make room", False),
}
# where there is no body to read the code from, as in the answer to a HEAD, it is the status
_STATUSES = {"403": "AccessDenied", "404": "NoSuchKey", "301": "PermanentRedirect"}


def storage_problem(error: BotoCoreError | ClientError, bucket: str) -> StorageError:
    """The error as ours."""
    if isinstance(error, ClientError):
        return _answer(error, bucket)
    # boto3's own words name the endpoint, and no secret
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError
        | exceptions.ProfileNotFound
        | exceptions.SSOError,
    ):
        return StorageError(REFUSED, hint=f"There are no credentials for the bucket {bucket}: {error}", is_lasting=True)
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError | exceptions.IncompleteReadError):
        return StorageError(AWAY, hint=f"No answer for the bucket {bucket}: {error}", is_lasting=False)
    # parameters, region, endpoint or configuration that boto3 does not take
    return StorageError("The storage of exports is not set up rightly.", hint=f"boto3 says: {error}", is_lasting=True)


def is_missing(error: BotoCoreError | ClientError) -> bool:
    """Whether S3 says that there is no such upload."""
    return isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in ("NoSuchUpload", "404")


def _answer(error: ClientError, bucket: str) -> StorageError:
    said = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
    code = str(said.get("Code", ""))
    code = _STATUSES.get(code, code)
    known = _CODES.get(code)
    if known is None and status == 507:
        known = _CODES["QuotaExceeded"]
    if known is None and code.startswith("KMS."):
        known = (REFUSED, "the key that encrypts the bucket cannot be used", True)
    if known is None and status in (401, 403):
        known = (REFUSED, "the credentials do not allow it", True)
    if known is None:
        # 408, 409, 429 and what starts with 5 pass by themselves
        is_lasting = 400 <= status < 500 and status not in (408, 409, 429)
        message = "The storage of exports does not take the file." if is_lasting else AWAY
        known = (message, str(said.get("Message") or f"status {status}"), is_lasting)
    message, hint, is_lasting = known
    kind = FileMissing if message == MISSING else StorageError
    return kind(message, hint=f"{error.operation_name} in the bucket {bucket}: {code}: {hint}", is_lasting=is_lasting)
