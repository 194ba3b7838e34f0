"""Forms that become JSON, and what is no form."""

from __future__ import annotations

import json

import pytest

from api.ingest.forms import json_of_form


def test_fields_become_texts() -> None:
    body = b"event=opened&recipient=jane%40example.com&tag=a&tag=b&empty=&name=J%C3%A4ne+Doe\r\n"
    assert json.loads(json_of_form(body) or b"") == {
        "event": "opened",
        "recipient": "jane@example.com",
        "tag": ["a", "b"],
        "empty": "",
        "name": "J\u00e4ne Doe",
    }
    assert json.loads(json_of_form(b"mandrill_events=%5B%7B%7D%5D") or b"") == {"mandrill_events": "[{}]"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"event": "event=1"}',
        b"a=1&b=2",
        b"email,event,timestamp",
        b"event opened",
        b"[event=1]",
        b"event=1 2",
        b"preevent=1",
    ],
)
def test_other_texts_are_no_form(body: bytes) -> None:
    assert json_of_form(body) is None
