"""Which bodies are refused, what is mended in them, and that nothing else of them changes."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

import pytest

from api.ingest.bodies import MAX_BODY_BYTES, MAX_DEPTH, MAX_EVENTS, BadBody, check_body


def problem(body: bytes) -> str:
    with pytest.raises(BadBody) as caught:
        check_body(body)
    return caught.value.problem


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'"a\u0000b"', rb'"a\ufffdb"'),
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\udE00x"', rb'"\ufffdx"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        # a pair, an escaped backslash and other escapes stay
        (rb'"\ud83d\ude00 \\u0000 \\\u0000 \u00e9 \u0001"', rb'"\ud83d\ude00 \\u0000 \\\ufffd \u00e9 \u0001"'),
        (b' {"a": 1.10, "a": 123456789012345678901234567890, "b": 1e131071}\r\n', None),
        ('{"é": "\U0001f600"}'.encode(), None),
    ],
)
def test_only_characters_that_jsonb_cannot_hold_are_replaced(body: bytes, expected: bytes | None) -> None:
    assert check_body(body).encode() == (expected or body.strip())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'"' + b"x" * MAX_BODY_BYTES + b'"', "too_large"),
        (b"[" * 5000 + b"]" * 5000, "unreadable_body"),
        (b'{"a":' * 5000, "unreadable_body"),
        (b"[" * 4_000_000, "unreadable_body"),
        (b'[{"text": "]]]]]"},' + b"[" * (MAX_DEPTH + 1), "unreadable_body"),
        (b"[" + b"{}," * 400_000 + b"{}]", "too_many_events"),
        (b'{"items": [' + b"1," * MAX_EVENTS + b"1]}", "too_many_events"),
        (b'"\xff"', "unreadable_body"),
        (b'"\xed\xa0\x80"', "unreadable_body"),
        ('{"a": 1}'.encode("utf-16"), "unreadable_body"),
        (b'{"a": "\0"}', "unreadable_body"),
    ],
    ids=lambda value: value if isinstance(value, str) else "body",
)
def test_bodies_that_postgresql_must_not_see(body: bytes, expected: str) -> None:
    assert problem(body) == expected


def test_ordinary_bodies_pass() -> None:
    event = {"text": "[" * 500 + '"\\', "list": list(range(50)), "a": {"b": {"c": []}}}
    keys = {str(number): 1 for number in range(100_000)}
    ordinary: list[Any] = [event, [event] * 1000, [{}] * MAX_EVENTS, keys, {"items": [event] * 900}]
    for body in ordinary:
        text = json.dumps(body)
        assert check_body(text.encode()) == text


@pytest.mark.slow
def test_brackets_of_strings_are_no_structure() -> None:
    """Against a plain scanner, for random texts with quotes everywhere, with escapes and without."""
    random = Random(20)
    for _ in range(3000):
        characters = b'[]{},"a\\' if random.random() < 0.5 else b'[]{},"a'
        # more than MAX_DEPTH, so that the body is looked at
        body = bytes(random.choices(characters, k=random.randrange(20))) + b"[" * random.randrange(95, 106) + b'{"":""}'
        deepest, is_readable = depth(body)
        if is_readable:
            assert is_too_deep(body) == (deepest > MAX_DEPTH), body
        else:
            assert is_too_deep(body) or deepest <= MAX_DEPTH, body


def is_too_deep(body: bytes) -> bool:
    try:
        check_body(body)
    except BadBody as bad:
        return "deeper" in bad.reason
    return False


def depth(body: bytes) -> tuple[int, bool]:
    """The deepest level outside of strings, and False if that is only up to a backslash there, where a parser ends."""
    level = deepest = 0
    in_string = is_escaped = False
    for byte in body.decode():
        if in_string:
            in_string = is_escaped or byte != '"'
            is_escaped = byte == "\\" and not is_escaped
        elif byte == '"':
            in_string = True
        elif byte == "\\":
            return deepest, False
        else:
            level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(byte, 0)
            deepest = max(deepest, level)
    return deepest, True


@pytest.mark.slow
def test_a_check_takes_linear_time() -> None:
    """Each of these would take minutes if it were quadratic; the bound is far from both."""
    started = time.process_time()
    for part in (b'"', b'\\"', b'"\\', b"\\", b"[", b"{}", b",", b"[,", b'["', b"\\ud800"):
        for start in (b"", b'"', b"[" * 101 + b'"'):
            body = start + part * (2**20 // len(part))
            try:
                check_body(body)
            except BadBody:
                continue
    assert time.process_time() - started < 60
