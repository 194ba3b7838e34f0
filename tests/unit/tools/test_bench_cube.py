"""The comparison with Cube: its answers have to be ours, no two of its uncached requests are equal, and npm may be missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from api.cli import bench
from api.errors import MailmartError
from api.tools.bench import cube
from api.tools.bench.load import Load, requests_of

TIME_RANGE = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-31T23:59:59Z"}


def our_row(**metrics: float) -> dict[str, Any]:
    values = dict.fromkeys(cube.BODY["metrics"], 0.0) | metrics
    return {
        "time": "2026-01-02",
        "dimensions": {"campaign": "c1"},
        "metrics": {name: {"value": value} for name, value in values.items()},
    }


def their_row(**metrics: str) -> dict[str, Any]:
    values: dict[str, str | None] = dict.fromkeys(cube.BODY["metrics"], None)
    return {
        "mail.campaign": "c1",
        "mail.sent_date.day": "2026-01-02T00:00:00.000",
        **{f"mail.{name}": value for name, value in (values | metrics).items()},
    }


def test_an_answer_that_differs_is_refused() -> None:
    cube._check_same([our_row(sent=3, open_rate=33.3)], [their_row(sent="3", open_rate="33.30")])
    with pytest.raises(MailmartError, match="1 of 1 rows differently"):
        cube._check_same([our_row(sent=3)], [their_row(sent="4")])
    with pytest.raises(MailmartError, match="0 of 0 rows"):
        cube._check_same([], [])


def test_no_two_uncached_requests_are_equal() -> None:
    text = cube._cube_request(TIME_RANGE)
    assert text.count(cube.FIRST_LIMIT) == 1
    requests = requests_of(Load(1, text, 200, 1, 1, 1, cube.FIRST_LIMIT))
    limits = []
    for _ in range(3):
        head, _, body = next(requests).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        limits.append(json.loads(body)["query"]["limit"])
    first = int(cube.FIRST_LIMIT)
    assert limits == [first, first + 1, first + 2]


def test_it_is_skipped_without_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "is_available", lambda: False)
    result = CliRunner().invoke(bench.command, ["cube"])
    assert (result.exit_code, result.output) == (0, "npm or node is missing: nothing is measured\n")
