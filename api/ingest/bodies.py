"""Checks a body, and replaces invalid escapes, before PostgreSQL reads it: its size, depth, number of events and characters.

Everything here works on bytes, in linear time, and builds no tree of the body: a number keeps its digits, an object its
duplicate keys. `mailmart ingest` and every other way in use the same functions.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Literal

MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_EVENTS = 10_000
# PostgreSQL's parser needs stack for each level, and SQL cannot catch its error about too many
MAX_DEPTH = 100
# so deep are the bodies of most providers
COMMON_DEPTH = 6

Problem = Literal["too_large", "too_many_events", "unreadable_body", "invalid_event", "not_rfc3339"]

# a string of an outline up to its end, or up to the end of the text
_STRING = re.compile(rb'"[^"]*+"?')
_NOT_STRUCTURE_OR_QUOTE = bytes(byte for byte in range(256) if byte not in b'[]{},"')
_STEP = tuple({"[": 1, "{": 1, "]": -1, "}": -1}.get(chr(byte), 0) for byte in range(256))
_MAY_HAVE_INVALID_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
# every escape is one match, so that the u0000 of an escaped backslash (\\u0000) does not match
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u0000|u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_REPLACEMENT = rb"\ufffd"


class BadBody(Exception):
    """A body that is not loaded: the problem that data quality counts, and the reason in words."""

    def __init__(self, problem: Problem, reason: str) -> None:
        super().__init__(reason)
        self.problem = problem
        self.reason = reason


def check_body(body: bytes) -> str:
    """The text of a body as PostgreSQL can hold it, without white space around it. It can still be invalid JSON.

    `\\u0000` and each half of a surrogate pair that stands alone become U+FFFD. Nothing else changes.

    Raises:
        BadBody: the body is too large or too deep, has too many events, or is not UTF-8.
    """
    check_size(len(body))
    body = replace_invalid_escapes(body.strip())
    text = decode(body)
    outline = _outline(body)
    has_many_brackets = outline.count(b"[") + outline.count(b"{") > MAX_DEPTH
    has_many_commas = outline.count(b",") >= MAX_EVENTS
    # an ordinary body has few brackets and commas, and needs no closer look
    if has_many_brackets or has_many_commas:
        structure = _structure(outline)
        if has_many_brackets:
            check_depth(structure)
        if has_many_commas:
            check_events(structure)
    return text


def check_size(size: int) -> None:
    """Raises BadBody for more than MAX_BODY_BYTES bytes."""
    if size > MAX_BODY_BYTES:
        raise BadBody("too_large", f"larger than {MAX_BODY_BYTES // 1024 // 1024} MiB")


def decode(body: bytes) -> str:
    """Raises BadBody for bytes that are not UTF-8, and for NUL bytes."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadBody("unreadable_body", f"not UTF-8 at byte {error.start + 1}") from None
    position = body.find(b"\0")
    if position >= 0:
        raise BadBody("unreadable_body", f"not JSON: a NUL byte at byte {position + 1}")
    return text


def replace_invalid_escapes(body: bytes) -> bytes:
    """The body with U+FFFD in place of each escape that jsonb cannot hold: `\\u0000`, and half of a surrogate pair."""
    # looking for one byte costs a fiftieth of the expression
    if b"\\" not in body or _MAY_HAVE_INVALID_ESCAPE.search(body) is None:
        return body
    return _ESCAPE.sub(lambda match: _REPLACEMENT if match[1] else match[0], body)


def check_depth(structure: bytes) -> None:
    """Raises BadBody for brackets that are nested deeper than MAX_DEPTH."""
    brackets = structure.translate(None, delete=b",")
    for _ in range(COMMON_DEPTH):
        # each round removes the innermost level
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if not brackets:
        return
    if max(accumulate(map(_STEP.__getitem__, structure)), default=0) > MAX_DEPTH:
        raise BadBody("unreadable_body", f"nested deeper than {MAX_DEPTH} levels")


def check_events(structure: bytes) -> None:
    """Raises BadBody for more than MAX_EVENTS elements of the array, or of the arrays that are members of the object.

    An array of an object, such as `items` or `Records`, has events too. Arrays further down are parts of one event.
    """
    level = 1 if structure[:1] == b"[" else 2
    depth = events = 0
    for byte in structure:
        depth += _STEP[byte]
        if depth == level and byte == 0x2C:
            events += 1
    # a comma less than elements; members of an object's objects count, too, which are never that many
    if events >= MAX_EVENTS:
        raise BadBody("too_many_events", f"more than {MAX_EVENTS} events in one body")


def _outline(body: bytes) -> bytes:
    """Brackets, commas and the quotes that show which of them are inside of strings."""
    if b"\\" in body:
        # first each pair of backslashes: one that is left in front of a quote escapes it
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Now each quote begins or ends a string. Two that have nothing between them are an empty string, or the end of one and the
    # beginning of the next: without them, every bracket is inside or outside of a string as before.
    return body.translate(None, delete=_NOT_STRUCTURE_OR_QUOTE).replace(b'""', b"")


def _structure(outline: bytes) -> bytes:
    """Brackets and commas outside of strings."""
    return _STRING.sub(b"", outline)
