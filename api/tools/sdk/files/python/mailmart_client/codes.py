"""The type of `ApiError.code`."""

from __future__ import annotations

from typing import Literal

from mailmart_client.models.error_code import ErrorCodeValue

Code = ErrorCodeValue | Literal["UNKNOWN_RESPONSE"]
