"""A response's data out of the rows of its sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from api.contract.exposures import Section


def statement(section: Section) -> str:
    """The query of a section's columns."""
    columns = ", ".join(f'"{field.column}"' for field in section.fields)
    return f"select {columns} from {section.view}"  # noqa: S608 - names out of our own manifest


Shape = list[tuple[int, str, str]]
Assembler = Callable[[list[list[tuple[Any, ...]]], dict[str, Any], Mapping[str, Any]], dict[str, Any]]


def assembler(sections: Sequence[Section]) -> Assembler:
    """Puts the sections' rows to their places; which those are is worked out once."""

    def assemble(found: list[list[tuple[Any, ...]]], shown: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for section, rows in zip(sections, found, strict=True):
            if section.not_found_error:
                continue
            shape = shape_of(section, given)
            if not section.path:
                data |= shaped(shape, rows[0]) if rows else {}
                continue
            *parents, last = section.path
            place = data
            for parent in parents:
                place = place.setdefault(parent, {})
            if section.is_list:
                place[last] = [shaped(shape, row) for row in rows]
            elif rows:
                place[last] = {**place.get(last, {}), **shaped(shape, rows[0])}
            elif section.is_nullable:
                place[last] = None
        # ids and names first, then what was asked for, then the numbers
        simple = {name: value for name, value in data.items() if not isinstance(value, dict | list)}
        return {**simple, **shown, **data}

    return assemble


def shape_of(section: Section, given: Mapping[str, Any]) -> Shape:
    """Which columns the request shows, and where."""
    shape: Shape = []
    for index, field in enumerate(section.fields):
        parameter, value = field.if_param
        asked = given.get(parameter)
        if not parameter or (value in asked if isinstance(asked, list) else value == asked):
            shape.append((index, field.group, field.name))
    return shape


def shaped(shape: Shape, row: tuple[Any, ...]) -> dict[str, Any]:
    """The object that a row is shown as."""
    made: dict[str, Any] = {}
    for index, inside, name in shape:
        if inside:
            made.setdefault(inside, {})[name] = row[index]
        else:
            made[name] = row[index]
    return made
