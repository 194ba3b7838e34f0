"""What the controls are told to answer: a file in the scratch home, which their processes read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from api.contract.exposures import Section
from api.contract.parameters import PARAMETERS
from api.settings import Settings
from api.tools.bench.questions import Question


class SectionAnswer(TypedDict):
    """Where the rows of a statement go, as of one request.

    `columns` are index, object inside ('' for none) and name of what is shown; None: the rows are not shown at all.
    """

    at: list[str]
    is_list: bool
    is_nullable: bool
    columns: list[tuple[int, str, str]] | None


class Answer(TypedDict):
    """A request's transaction, and what becomes of its rows."""

    transaction: str
    shown: dict[str, Any]
    sections: list[SectionAnswer]


class ControlAnswers(TypedDict):
    """`answers` by method and path; `static` is a whole body."""

    data_as_of: str
    answers: dict[str, Answer]
    static: str


def file_of(settings: Settings) -> Path:
    """Where they are."""
    return settings.home / "control_answers.json"


def write_answers(
    scratch: Settings, transactions: Mapping[str, str], questions: list[Question], data_as_of: datetime, static: str
) -> None:
    """Writes the file; `transactions` are by the endpoints' names."""
    answers: ControlAnswers = {
        "data_as_of": data_as_of.isoformat(),
        "answers": {
            f"{question.method} {question.path}": _answer(question, transactions[question.endpoint.name])
            for question in questions
        },
        "static": static,
    }
    file_of(scratch).write_text(json.dumps(answers))


def read_answers(settings: Settings) -> ControlAnswers:
    """Reads it."""
    answers: ControlAnswers = json.loads(file_of(settings).read_text())
    return answers


def _answer(question: Question, transaction: str) -> Answer:
    shown: dict[str, Any] = {}
    today = datetime.now(UTC).date()
    for name in question.endpoint.parameters:
        shown |= PARAMETERS[name].resolve(question.given, today).response_fields
    sections = [_section(section, question.given) for section in question.endpoint.sections]
    return {"transaction": transaction, "shown": shown, "sections": sections}


def _section(section: Section, given: Mapping[str, Any]) -> SectionAnswer:
    columns = []
    for index, field in enumerate(section.fields):
        parameter, value = field.if_param
        asked = given.get(parameter)
        if not parameter or (value in asked if isinstance(asked, list) else value == asked):
            columns.append((index, field.group, field.name))
    return {
        "at": list(section.path),
        "is_list": section.is_list,
        "is_nullable": section.is_nullable,
        "columns": None if section.not_found_error else columns,
    }
