"""Lets type checkers accept an enum's plain values where openapi-generator's Python SDK takes the enum.

At runtime pydantic accepts them already: `time_range="7d"` becomes `TimeRangePeriod.LAST_7_DAYS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# "    time_range: Optional[TimeRangePeriod] = Field(…", "        group_by: Annotated[Optional[GroupBy], Field(…"
ANNOTATED = re.compile(r"^( +\w+: )(.*?)((?:,| =) Field\(.*)$", re.MULTILINE)
IMPORTED = re.compile(r"^from mailmart_client\.models\.\w+ import (\w+)$", re.MULTILINE)


def accept_plain_values(package: Path, document: dict[str, Any]) -> None:
    """Rewrites the operations' parameters and the models that are sent. Models that are only read keep the enum."""
    schemas = document["components"]["schemas"]
    enums = {name: schema["enum"] for name, schema in schemas.items() if "enum" in schema}
    for name, values in enums.items():
        with (package / "models" / f"{_module(name)}.py").open("a") as file:
            file.write(_alias(name, values))
    sent = _models_below(schemas, _request_bodies(document))
    # a schema that is no object, such as a date, has no file
    models = [path for name in sent - set(enums) if (path := package / "models" / f"{_module(name)}.py").exists()]
    for path in (*(package / "api").glob("*_api.py"), *models):
        path.write_text(_rewritten(path.read_text(), set(enums)))


def _alias(name: str, values: list[str]) -> str:
    listed = ", ".join(f'"{value}"' for value in values)
    return f"""
from typing import TYPE_CHECKING, Literal, Union

{name}Value = Literal[{listed}]
if TYPE_CHECKING:
    {name}OrValue = Union[{name}, {name}Value]
else:
    {name}OrValue = {name}
"""


def _rewritten(source: str, enums: set[str]) -> str:
    names = re.compile(rf"\b({'|'.join(sorted(enums))})\b")
    annotated = ANNOTATED.sub(lambda found: found[1] + names.sub(r"\1OrValue", found[2]) + found[3], source)
    return IMPORTED.sub(lambda found: f"{found[0]}, {found[1]}OrValue" if found[1] in enums else found[0], annotated)


def _request_bodies(document: dict[str, Any]) -> Iterable[Any]:
    for methods in document["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict) and "requestBody" in operation:
                yield operation["requestBody"]["content"]["application/json"]["schema"]


def _models_below(schemas: dict[str, Any], parts: Iterable[Any]) -> set[str]:
    """The names of all schemas that these parts of the document refer to, also by others."""
    found: set[str] = set()
    open_parts = list(parts)
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, list):
            open_parts.extend(part)
        elif isinstance(part, dict):
            open_parts.extend(part.values())
            name = str(part.get("$ref", "")).removeprefix("#/components/schemas/")
            if name in schemas and name not in found:
                found.add(name)
                open_parts.append(schemas[name])
    return found


def _module(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
