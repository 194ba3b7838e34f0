"""All typed exceptions of mailmart."""

from __future__ import annotations

# the 404s that a contract can name, and what each says
NOT_FOUND = {
    "CAMPAIGN_NOT_FOUND": "Campaign with ID {id} not found in workspace {workspace}",
    "DOMAIN_NOT_FOUND": "Domain with ID {id} not found in workspace {workspace}",
    "EXPORT_NOT_FOUND": "Export with ID {id} not found in workspace {workspace}",
    "FILE_NOT_FOUND": "The file is not there any more",
    "REPORT_NOT_FOUND": "Report with ID {id} not found in workspace {workspace}",
    "NOT_FOUND": "There is nothing here",
}
# what the details then name
INVALID = "The request's parameters are not valid"


class MailmartError(Exception):
    """Something that a person can mend: one line of what is wrong, and one of what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(MailmartError):
    """A setting of the environment that cannot be used."""


class ServerError(MailmartError):
    """An embedded server that does not start, stop or answer."""


class StorageError(MailmartError):
    """Where exports are kept does not do what it should. The message is for who asked for the file, the hint for the operator.

    `is_lasting`: trying again does not help before somebody mends it.
    """

    def __init__(self, message: str, *, hint: str = "", is_lasting: bool) -> None:
        super().__init__(message, hint=hint)
        self.is_lasting = is_lasting


class FileMissing(StorageError):
    """A file that is not there, or no more: the storage does what it should."""


class ContractError(MailmartError):
    """An exposure, a model or a column that cannot be made into an endpoint."""


class ExportUnfinished(Exception):
    """An attempt at an export came to nothing, and there is to be another one, `seconds` from now."""

    def __init__(self, *, seconds: int) -> None:
        super().__init__(f"to be taken up again in {seconds} s")
        self.seconds = seconds


class ApiError(Exception):
    """What a request is answered with in place of data."""

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
    """A body that is not JSON; `problem` is what is wrong with it, and where."""

    status = 400
    code = "MALFORMED_REQUEST"

    def __init__(self, problem: str) -> None:
        super().__init__("The body is not JSON", details={"body": [problem]})


class ContentTooLarge(ApiError):
    """A body of more than `most` bytes."""

    status = 413
    code = "CONTENT_TOO_LARGE"

    def __init__(self, most: int) -> None:
        super().__init__("The body is too large", details={"body": [f"Must be at most {most} bytes."]})


class UnsupportedMediaType(ApiError):
    """A body that does not say that it is JSON."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"

    def __init__(self) -> None:
        super().__init__("Send the body as application/json", details={"Content-Type": ["Must be application/json."]})


class InvalidTimeRange(ApiError):
    """A window whose dates are well formed, and make no window."""

    status = 400
    code = "INVALID_TIME_RANGE"


class Unauthorized(ApiError):
    """No credential, or none that counts."""

    status = 401
    code = "UNAUTHORIZED"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": 'Bearer realm="mailmart"'})


class Forbidden(ApiError):
    """A credential that counts, and not for this."""

    status = 403
    code = "FORBIDDEN"


class NotFound(ApiError):
    """Something asked for by its id that is not in the workspace; the code says what."""

    status = 404

    def __init__(self, code: str, *, id: str = "", workspace: str = "") -> None:  # noqa: A002 - what the messages call it
        super().__init__(NOT_FOUND[code].format(id=id, workspace=workspace))
        self.code = code


class ValidationFailed(ApiError):
    """Parameters that are not what the document says; `details` names each."""

    status = 422
    code = "VALIDATION_ERROR"


class RateLimitExceeded(ApiError):
    """A workspace that asked more often than it may; `limit` is requests a minute, `seconds` until the next one counts."""

    status = 429
    code = "RATE_LIMIT_EXCEEDED"

    def __init__(self, limit: int, seconds: int, headers: dict[str, str]) -> None:
        super().__init__(
            f"More than {limit} requests in a minute; try again in {seconds} s", headers={**headers, "Retry-After": str(seconds)}
        )


class WarehouseUnavailable(ApiError):
    """The database is away, or has nothing published yet."""

    status = 503
    code = "WAREHOUSE_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class QueryTimeout(ApiError):
    """A query that took longer than it may."""

    status = 503
    code = "QUERY_TIMEOUT"

    def __init__(self) -> None:
        super().__init__("The query took too long; ask for a shorter window.", headers={"Retry-After": "30"})


class StorageUnavailable(ApiError):
    """A file that is there by the books, and that its storage does not give."""

    status = 503
    code = "STORAGE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("The file cannot be fetched at the moment; try again in a while.", headers={"Retry-After": "30"})


class DeliveryFailed(Exception):
    """A report that did not reach somebody; `is_lasting` where trying again is no use, `is_gone` where the receiver said so."""

    def __init__(self, message: str, *, is_lasting: bool = False, is_gone: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_lasting = is_lasting or is_gone
        self.is_gone = is_gone
