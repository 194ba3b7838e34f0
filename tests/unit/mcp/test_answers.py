"""Answers are compact and bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.mcp.answers import MAX_CHARACTERS, answer


def read(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text)
    return data


def test_a_list_of_objects_is_a_table() -> None:
    data = {"list": [{"a": 1, "b": {"c": 2, "d": None}}, {"a": 3, "b": {"c": 4}}]}
    assert read(answer(data, {}))["list"] == {"columns": ["a", "b.c"], "rows": [[1, 2], [3, 4]]}


def test_a_column_without_a_value_is_left_out_but_an_empty_list_is_not() -> None:
    assert read(answer({"list": [{"a": None}], "empty": []}, {})) == {
        "list": {"columns": [], "rows": [[]]},
        "empty": [],
        "definitions": {},
    }


def test_definitions_are_of_the_names_in_the_answer() -> None:
    text = answer(
        {"rates": {"open_rate": 1.0}, "list": [{"x": {"sent": 1}}]}, {"open_rate": "Opens. More.", "sent": "S", "other": "O"}
    )
    assert read(text)["definitions"] == {"open_rate": "Opens", "sent": "S"}


@pytest.mark.parametrize("rows", [10_000, 700])
def test_rows_are_left_out_until_it_fits(rows: int) -> None:
    data = {"short": [{"id": 1}], "long": [{"id": f"campaign {number}", "rate": number / 7} for number in range(rows)]}
    text = answer(data, {"rate": "A rate."})
    assert len(text.encode()) <= MAX_CHARACTERS
    table = read(text)["long"]
    assert len(table["rows"]) + table["left_out"] == rows
    assert table["rows"][0] == ["campaign 0", 0.0]
    assert read(text)["short"]["rows"] == [[1]]
    assert "left out" in read(text)["advice"]


def test_a_row_that_does_not_fit_is_left_out() -> None:
    text = answer({"list": [{"name": "x" * 1_000_000}]}, {})
    assert len(text) <= MAX_CHARACTERS
    assert read(text)["list"]["left_out"] == 1
