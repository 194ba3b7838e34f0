"""marshmallow classes that are made of a contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma


def schema_class(
    name: str, fields: Mapping[str, Any], bases: tuple[type, ...] = (ma.Schema,), *, unknown: str = ma.RAISE
) -> type[ma.Schema]:
    """A schema with these fields and methods. Unknown fields are refused; with `ma.EXCLUDE` they are ignored.

    It is not registered by its name: contracts can be loaded one after another in a process, and have schemas of the same names.
    """
    meta = type("Meta", (), {"unknown": unknown, "register": False})
    return type(name, bases, {**fields, "Meta": meta})
