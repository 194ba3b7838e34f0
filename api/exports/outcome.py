"""How an export ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from api.exports.repository import Export

MESSAGE_PREFIX = "Failed to generate export"


@dataclass(frozen=True)
class FailureReason:
    """Why there is no file.

    Attributes:
        code: for telemetry.
        message: for the export's user.
    """

    code: str
    message: str


INSUFFICIENT_DATA = FailureReason("insufficient_data", f"{MESSAGE_PREFIX}: insufficient data")
UNKNOWN_TYPE = FailureReason("unknown_type", f"{MESSAGE_PREFIX}: this export type no longer exists")
INTERNAL_ERROR = FailureReason("internal_error", f"{MESSAGE_PREFIX}: internal error")
DATABASE_UNAVAILABLE = FailureReason("database_unavailable", f"{MESSAGE_PREFIX}: the database was unavailable")
ATTEMPTS_EXHAUSTED = FailureReason("attempts_exhausted", f"{MESSAGE_PREFIX}: three attempts did not finish")


class CannotExport(Exception):
    """There is nothing to write, and no other attempt would write it either."""

    def __init__(self, reason: FailureReason) -> None:
        super().__init__(reason.message)
        self.reason = reason


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written completely.

    Attributes:
        rows: rows, or JSON documents.
        size: bytes.
        sha256: of the whole file, hexadecimal.
        storage_key: `<export id>/<attempt token>.<extension>`.
        data_as_of: all events loaded up to this time are in the file.
    """

    rows: int
    size: int
    sha256: str
    storage_key: str
    data_as_of: datetime


@dataclass(frozen=True)
class ExportOutcome:
    """An export that ended: with a file, or with a reason for having none. `seconds` is the duration of its last attempt."""

    export: Export
    seconds: float
    file: WrittenFile | None = None
    reason: FailureReason | None = None
