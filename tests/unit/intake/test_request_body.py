"""What a body may hold: its JSON lines have the bound of the events of one body, however small it came."""

from __future__ import annotations

import gzip

import pytest

from api.ingest.bodies import MAX_EVENTS, BadBody
from api.intake.request_body import documents_of, read_body

LINES = "application/jsonl; charset=utf-8"


def documents(content: bytes) -> list[str]:
    return documents_of("resend", LINES, read_body("resend", LINES, "gzip", gzip.compress(content)))


def test_json_lines_are_documents() -> None:
    assert documents(b'\n {"a": 1} \r\n\r\n\t\n{"b": 2}\r{"c": 3}\n') == ['{"a": 1}', '{"b": 2}', '{"c": 3}']
    assert len(documents(b"{}\n\n" * MAX_EVENTS)) == MAX_EVENTS


@pytest.mark.parametrize("lines", [MAX_EVENTS + 1, 3_000_000])
def test_a_body_has_no_more_lines_than_events(lines: int) -> None:
    body = read_body("resend", LINES, "", b"{}\n" * lines)
    with pytest.raises(BadBody) as refused:
        documents_of("resend", LINES, body)
    assert refused.value.problem == "too_many_events"
