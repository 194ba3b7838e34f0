"""Every exception of mailmart: those that a person reads at a terminal, and those that the API answers a request with."""

from __future__ import annotations

from pathlib import Path

# code of a 404 -> its message; a contract may name these codes
NOT_FOUND = {
    "CAMPAIGN_NOT_FOUND": "Campaign with ID {id} not found in workspace {workspace}",
    "CHART_NOT_FOUND": "Chart with name {id} not found",
    "DOMAIN_NOT_FOUND": "Domain with ID {id} not found in workspace {workspace}",
    "EXPORT_NOT_FOUND": "Export with ID {id} not found in workspace {workspace}",
    "FILE_NOT_FOUND": "The file no longer exists",
    "REPORT_NOT_FOUND": "Report with ID {id} not found in workspace {workspace}",
    "NOT_FOUND": "Not found",
}
# the message of a 422; `details` names the parameters
INVALID = "Invalid parameters"


class MailmartError(Exception):
    """An error that a person can fix: `message` says what is wrong, `hint` says what to do, one line each."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(MailmartError):
    """An environment variable has an invalid value."""


class SessionError(MailmartError):
    """A database session does not have the role that it needs, or the role is not bound by row-level security."""


class ServerError(MailmartError):
    """A server does not start, stop or answer."""


class HomeNotWritable(ServerError):
    """MAILMART_HOME cannot be written."""

    def __init__(self, home: Path, error: OSError) -> None:
        super().__init__(f"cannot write to {home}: {error.strerror}", hint="Set MAILMART_HOME to a folder that you can write to.")


class StorageError(MailmartError):
    """The storage of exports failed. API users read the message, operators the hint.

    `is_lasting`: retrying does not help until somebody fixes it.
    """

    def __init__(self, message: str, *, hint: str = "", is_lasting: bool) -> None:
        super().__init__(message, hint=hint)
        self.is_lasting = is_lasting


class FileMissing(StorageError):
    """The file does not exist; the storage itself works."""


class ContractError(MailmartError):
    """An exposure, a model or a column cannot become an endpoint or an export type. Analysts read the message and the hint."""


class SecretError(MailmartError):
    """A webhook's signing secret does not look like one of its provider."""


class SignatureError(Exception):
    """A webhook is not signed by its provider. `reason` is a plain sentence without any part of the secret or the request."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HttpGetFailed(Exception):
    """A server did not answer a GET in time; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CertificateUnavailable(Exception):
    """The certificate that a webhook is signed with cannot be downloaded now: the provider should send the webhook again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SubscriptionUnconfirmed(Exception):
    """A subscription to SNS cannot be confirmed now: SNS should ask again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LimitExceeded(Exception):
    """A workspace has reached a limit; the message names the limit and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ExportUnfinished(Exception):
    """An attempt at an export failed; the next attempt starts in `seconds`."""

    def __init__(self, *, seconds: int) -> None:
        super().__init__(f"retry in {seconds} s")
        self.seconds = seconds


class ApiError(Exception):
    """An error response of the API: status, code, message, `details` by parameter, and headers."""

    status = 500
    code = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str,
        *,
        details: dict[str, list[str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = headers or {}


class MalformedRequest(ApiError):
    """The body is not JSON; `problem` says why, and where."""

    status = 400
    code = "MALFORMED_REQUEST"

    def __init__(self, problem: str) -> None:
        super().__init__("The body is not JSON", details={"body": [problem]})


class MethodNotAllowed(ApiError):
    """The path does not have the method; `allowed` are those that it has."""

    status = 405
    code = "METHOD_NOT_ALLOWED"

    def __init__(self, message: str, *allowed: str) -> None:
        super().__init__(message, headers={"Allow": ", ".join(allowed)})


class ContentTooLarge(ApiError):
    """The body has more than `limit` bytes."""

    status = 413
    code = "CONTENT_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        super().__init__("The body is too large", details={"body": [f"Must be at most {limit} bytes."]})


class InvalidHost(ApiError):
    """The request does not have exactly one Host header (RFC 9112, 3.2)."""

    status = 400
    code = "MALFORMED_REQUEST"

    def __init__(self) -> None:
        super().__init__("Send exactly one Host header")


class RequestTimeout(ApiError):
    """A body was not complete in time."""

    status = 408
    code = "REQUEST_TIMEOUT"

    def __init__(self) -> None:
        super().__init__("The request's body took too long.", details={"body": ["Send it at once."]})


class UnsupportedEncoding(ApiError):
    """The Content-Encoding of a webhook is unknown."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"

    def __init__(self, encoding: str) -> None:
        super().__init__(
            "The body's encoding is unknown", details={"Content-Encoding": [f"{encoding!r}: use gzip, deflate or none."]}
        )


class UnsupportedMediaType(ApiError):
    """The Content-Type of the body is not application/json."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"

    def __init__(self) -> None:
        super().__init__("Send the body as application/json", details={"Content-Type": ["Must be application/json."]})


class InvalidTimeRange(ApiError):
    """The dates are well formed, but start after they end or span too many days."""

    status = 400
    code = "INVALID_TIME_RANGE"


class InvalidCursor(ApiError):
    """The cursor of a list or a query is not one, was changed, or belongs to another request."""

    status = 422
    code = "INVALID_CURSOR"

    def __init__(self, problem: str = "Must be the next_cursor of another page, unchanged.") -> None:
        super().__init__("The cursor is invalid; request the first page again", details={"cursor": [problem]})


class CursorExpired(ApiError):
    """The rows that the pages before were read from cannot be read any more."""

    status = 400
    code = "CURSOR_EXPIRED"

    def __init__(self) -> None:
        super().__init__(
            "The data has changed since the first page; request the first page again",
            details={"cursor": ["Belongs to data that is no longer published."]},
        )


class Unauthorized(ApiError):
    """The credential is missing or invalid."""

    status = 401
    code = "UNAUTHORIZED"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": 'Bearer realm="mailmart"'})


class Forbidden(ApiError):
    """The credential is valid, but not for this workspace or scope."""

    status = 403
    code = "FORBIDDEN"


class NotFound(ApiError):
    """The requested object is not in the workspace; `code` says which kind it is."""

    status = 404

    def __init__(
        self,
        code: str,
        *,
        id: str = "",  # noqa: A002 - what the messages call it
        workspace: str = "",
        details: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(NOT_FOUND[code].format(id=id, workspace=workspace), details=details)
        self.code = code


class ValidationFailed(ApiError):
    """Parameters do not match the OpenAPI document; `details` names each."""

    status = 422
    code = "VALIDATION_ERROR"


class RateLimitExceeded(ApiError):
    """The workspace sent more than `limit` requests in a minute; the next one is allowed in `seconds`."""

    status = 429
    code = "RATE_LIMIT_EXCEEDED"

    def __init__(self, limit: int, seconds: int, headers: dict[str, str]) -> None:
        super().__init__(
            f"More than {limit} requests in a minute; try again in {seconds} s", headers={**headers, "Retry-After": str(seconds)}
        )


class QuotaExceeded(ApiError):
    """The workspace has reached its limit of exports, or of bytes of files."""

    status = 429
    code = "QUOTA_EXCEEDED"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"Retry-After": "60"})


class TooManyFailedLogins(ApiError):
    """A client sent too many invalid API keys."""

    status = 429
    code = "RATE_LIMIT_EXCEEDED"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many invalid API keys from this address; try again in {seconds} s", headers={"Retry-After": str(seconds)}
        )


class TooManyDownloads(ApiError):
    """The limit of concurrent downloads of a link, a workspace or the process is reached."""

    status = 429
    code = "TOO_MANY_DOWNLOADS"

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(
            f"{limit} downloads of this {name} are running; try again when one has ended.", headers={"Retry-After": "5"}
        )


class WarehouseUnavailable(ApiError):
    """The database is unavailable."""

    status = 503
    code = "WAREHOUSE_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class NothingPublished(WarehouseUnavailable):
    """No batch has been published yet, so there is no data to read."""

    def __init__(self) -> None:
        message = "Nothing is published yet: wait for the build, or run `mailmart build` if none is running."
        super().__init__(message, retry_after=60)


class QueryTimeout(ApiError):
    """A query ran into its time limit."""

    status = 503
    code = "QUERY_TIMEOUT"

    def __init__(self) -> None:
        super().__init__("The query took too long; use a shorter time range.", headers={"Retry-After": "30"})


class StorageUnavailable(ApiError):
    """The storage cannot deliver a file that the database lists."""

    status = 503
    code = "STORAGE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("The file is temporarily unavailable; try again later.", headers={"Retry-After": "30"})


class ChartUnavailable(ApiError):
    """A chart cannot be drawn as a picture: others are being drawn, or the library failed."""

    status = 503
    code = "CHART_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class DeliveryFailed(Exception):
    """A report could not be delivered. `is_lasting`: retrying does not help. `is_gone`: the receiver answered 410 Gone."""

    def __init__(self, message: str, *, is_lasting: bool = False, is_gone: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_lasting = is_lasting or is_gone
        self.is_gone = is_gone
