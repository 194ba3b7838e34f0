"""Lets openapi-python-client's SDK raise exceptions for errors, where the generated code returns a union of types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from api.tools.sdk.programs import ProgramFailed

# the end of each function _parse_response, as Ruff formats it
UNEXPECTED = re.compile(
    r"    if client\.raise_on_unexpected_status:\n"
    r"        raise errors\.UnexpectedStatus\(response\.status_code, response\.content\)\n"
    r"    else:\n"
    r"        return None\n"
)
# Ruff gives the argument a line of its own if the enum's name is long
CHECK = re.compile(r"(def check_\w+\(\s*value: str,?\s*\) -> (\w+):\n    if value in \w+:\n)        return value\n")
RAISED = "    raise ApiError(response.status_code, response.headers, response.content)\n"


def without_errors(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the responses of success alone. Changes it."""
    for methods in document["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict):
                responses = operation["responses"]
                operation["responses"] = {status: response for status, response in responses.items() if status < "400"}
    return document


def raise_errors(package: Path) -> None:
    """Rewrites the generated operations: any other response is an ApiError, and the result is never None.

    `format_` becomes `format`: a property may have this name.

    Raises:
        ProgramFailed: the generated code has another form than expected.
    """
    for path in (package / "api").glob("*/*.py"):
        source = path.read_text()
        if path.name == "__init__.py":
            continue
        raised, count = UNEXPECTED.subn(RAISED, source)
        if count != 1:
            raise ProgramFailed(
                "the code of openapi-python-client has another form than that of 0.29",
                hint=f"{path.name}: the end of _parse_response; api/tools/sdk/exceptions.py has to be changed",
            )
        raised = raised.replace("from ... import errors\n", "from ...failures import ApiError\n")
        raised = re.sub(r"^(.*\) -> .*) \| None:$", r"\1:", raised, flags=re.MULTILINE)
        path.write_text(raised)
    types = package / "types.py"
    types.write_text(types.read_text().replace("    parsed: T | None\n", "    parsed: T\n"))
    for path in (package / "models").glob("*.py"):
        source = re.sub(r"\bformat_\b", "format", path.read_text())
        # mypy does not see that a value in a set of literals is one of them
        checked = CHECK.sub(r"\1        return cast(\2, value)\n", source)
        if checked != source:
            source = checked.replace("from typing import Literal\n", "from typing import Literal, cast\n")
        path.write_text(source)
