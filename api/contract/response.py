"""Builds a response's data from the rows of its sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from api.contract.exposures import Section

Row = tuple[Any, ...]
# index of a column in the row, the object inside the section ('' for the section itself), public name
Shape = list[tuple[int, str, str]]
# rows of each section -> `data`
Assembler = Callable[[Sequence[Sequence[Row]]], dict[str, Any]]


def statement(section: Section) -> str:
    """The SELECT of a section's columns."""
    columns = ", ".join(f'"{field.column}"' for field in section.fields)
    return f"select {columns} from {section.view}"  # noqa: S608 - names from our own manifest


def assembler(sections: Sequence[Section], response_fields: Mapping[str, Any], params: Mapping[str, Any]) -> Assembler:
    """A function that puts the rows of these sections together to `data`, for the response to a request with these parameters.

    `response_fields` are further fields of the response.
    """
    shown = [
        (section, shape_of(section, params)) if section.is_shown(params) and not section.not_found_error else None
        for section in sections
    ]

    def assemble(rows_by_section: Sequence[Sequence[Row]]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for section_and_shape, rows in zip(shown, rows_by_section, strict=True):
            if section_and_shape is None:
                continue
            section, shape = section_and_shape
            if not section.path:
                data |= to_object(shape, rows[0], section.nullable_groups) if rows else {}
                continue
            *parents, last = section.path
            target = data
            for parent in parents:
                target = target.setdefault(parent, {})
            if section.is_list:
                target[last] = [to_object(shape, row, section.nullable_groups) for row in rows]
            elif rows:
                target[last] = {**target.get(last, {}), **to_object(shape, rows[0], section.nullable_groups)}
            elif section.is_nullable:
                target[last] = None
        # ids and names first, then what describes the request, then the numbers
        scalars = {name: value for name, value in data.items() if not isinstance(value, dict | list)}
        return {**scalars, **response_fields, **data}

    return assemble


def shape_of(section: Section, params: Mapping[str, Any]) -> Shape:
    """Which columns the response to these parameters shows, and where."""
    shape: Shape = []
    for index, field in enumerate(section.fields):
        parameter, value = field.if_param
        requested = params.get(parameter)
        if not parameter or (value in requested if isinstance(requested, list) else value == requested):
            shape.append((index, field.group, field.name))
    return shape


def to_object(shape: Shape, row: Row, nullable_groups: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The JSON object of a row. A nullable group without any value is null."""
    result: dict[str, Any] = {}
    for index, group, name in shape:
        if group:
            result.setdefault(group, {})[name] = row[index]
        else:
            result[name] = row[index]
    for group in nullable_groups:
        if not any(value is not None for value in result[group].values()):
            result[group] = None
    return result
