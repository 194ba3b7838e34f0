"""The responses of the controls: a file in the temporary home folder, which the processes of the controls read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from api.contract.exposures import Section
from api.contract.parameters import PARAMETERS
from api.db.prepared_statements import Statement
from api.settings import Settings
from api.tools.bench.requests import BenchRequest


class SectionShape(TypedDict):
    """Where the rows of one statement go in the response.

    `columns` are index, group ('' for none) and name of each column in the response; None if the rows are not in the response.
    """

    path: list[str]
    is_list: bool
    is_nullable: bool
    nullable_groups: list[str]
    columns: list[tuple[int, str, str]] | None


class ControlResponse(TypedDict):
    """The transaction of a request, each statement with its values, and how the rows become a response."""

    transaction: list[tuple[str, list[str]]]
    fields: dict[str, Any]
    sections: list[SectionShape]


class ControlResponses(TypedDict):
    """`responses` by method and path. `static` is the whole body of the static routes."""

    data_as_of: str
    responses: dict[str, ControlResponse]
    static: str


def responses_file(settings: Settings) -> Path:
    """The path of the file."""
    return settings.home / "control_responses.json"


def write_responses(
    scratch: Settings,
    transactions: Mapping[str, Sequence[Statement]],
    requests: list[BenchRequest],
    data_as_of: datetime,
    static: str,
) -> None:
    """Writes the file; `transactions` are by endpoint."""
    responses: ControlResponses = {
        "data_as_of": data_as_of.isoformat(),
        "responses": {
            f"{request.method} {request.path}": _response(request, transactions[request.endpoint.name]) for request in requests
        },
        "static": static,
    }
    responses_file(scratch).write_text(json.dumps(responses))


def read_responses(settings: Settings) -> ControlResponses:
    """Reads the file."""
    responses: ControlResponses = json.loads(responses_file(settings).read_text())
    return responses


def _response(request: BenchRequest, transaction: Sequence[Statement]) -> ControlResponse:
    fields: dict[str, Any] = {}
    today = datetime.now(UTC).date()
    for name in request.endpoint.parameters:
        fields |= PARAMETERS[name].resolve(request.params, today).response_fields
    if request.endpoint.page is not None:
        # its list fits into one page
        fields["next_cursor"] = None
    sections = [_section(section, request.params) for section in request.endpoint.sections if section.is_shown(request.params)]
    statements = [(statement.text, list(statement.values)) for statement in transaction]
    return {"transaction": statements, "fields": fields, "sections": sections}


def _section(section: Section, params: Mapping[str, Any]) -> SectionShape:
    columns = []
    for index, field in enumerate(section.fields):
        parameter, value = field.if_param
        requested = params.get(parameter)
        if not parameter or (value in requested if isinstance(requested, list) else value == requested):
            columns.append((index, field.group, field.name))
    return {
        "path": list(section.path),
        "is_list": section.is_list,
        "is_nullable": section.is_nullable,
        "nullable_groups": sorted(section.nullable_groups),
        "columns": None if section.not_found_error else columns,
    }
