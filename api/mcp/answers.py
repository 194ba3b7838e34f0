"""Results of tools as compact JSON of a bounded size: lists of objects as columns and rows, with definitions of the fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

# everybody knows what they are
SELF_EXPLANATORY = frozenset(("end", "period", "start", "workspace_id"))
# 4,000 tokens; JSON with numbers and ids has about three characters a token
MAX_CHARACTERS = 12_000
MAX_DEFINITION_CHARACTERS = 160


def answer(data: Mapping[str, Any], definitions: Mapping[str, str], notes: list[str] | None = None) -> str:
    """The JSON text of a result. Rows of the longest list are left out until it fits, and `left_out` says how many.

    Args:
        data: of a response of the API.
        definitions: what each name in it means, by the contract.
        notes: sentences about the answer.
    """
    compact = _compact(data)
    names = set(_names(compact)) - SELF_EXPLANATORY
    result: dict[str, Any] = {
        **compact,
        "definitions": {name: _first_sentence(text) for name, text in definitions.items() if name in names},
    }
    if notes:
        result["notes"] = notes
    while len(text := orjson.dumps(result)) > MAX_CHARACTERS:
        longest = max(_tables(result), key=lambda table: len(orjson.dumps(table["rows"])), default=None)
        if longest is None or not longest["rows"]:
            if not result["definitions"]:
                break
            result["definitions"] = {}
            continue
        kept = len(longest["rows"]) * 3 // 4
        longest["left_out"] = longest.get("left_out", 0) + len(longest["rows"]) - kept
        longest["rows"] = longest["rows"][:kept]
        result["advice"] = "Rows are left out. Ask for fewer: a shorter window, a coarser time step, a filter or a limit."
    return text.decode()


def _compact(value: Any) -> Any:
    """The value with each list of objects as {columns, rows}, without columns that have no value."""
    if isinstance(value, Mapping):
        return {name: _compact(part) for name, part in value.items()}
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        flat = [dict(_flat(row)) for row in value]
        columns = list(dict.fromkeys(name for row in flat for name, part in row.items() if part is not None))
        return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in flat]}
    return value


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A row's fields; those of an object inside it have its name and a dot before theirs."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _names(value: Any) -> Iterator[str]:
    """Names of all fields, and of all columns without what is before the last dot."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield name
            if name == "columns" and isinstance(part, list):
                for column in part:
                    yield from column.split(".")
            yield from _names(part)


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "columns" in value and "rows" in value:
            yield value
        else:
            for part in value.values():
                yield from _tables(part)


def _first_sentence(text: str) -> str:
    sentence = text.strip().split(". ")[0].rstrip(".")
    return sentence if len(sentence) <= MAX_DEFINITION_CHARACTERS else f"{sentence[: MAX_DEFINITION_CHARACTERS - 1]}…"
