"""Reads the body of a webhook: its content encoding, and the documents or the form in it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from api.ingest.bodies import MAX_BODY_BYTES, MAX_EVENTS, BadBody, check_body, check_size, replace_invalid_escapes
from api.ingest.forms import MULTIPART, Fields, form_fields, json_of_fields, multipart_fields
from api.ingest.reader import BYTE_ORDER_MARK
from api.ingest.streams import MAX_RATIO

# a small body may have any ratio
RATIO_IS_CHECKED_FROM = 1024 * 1024
# zlib's window bits: with the header of gzip; with that of zlib; without any, as some send "deflate"
_GZIP, _ZLIB, _RAW = 31, 15, -15
ENCODINGS = ("gzip", "x-gzip", "deflate", "identity", "")
FORM_PROVIDERS = ("mailgun", "mandrill")
JSON_LINES = ("application/jsonl", "application/x-jsonlines", "application/ndjson", "application/x-ndjson")
# from its first character that is no white space to its end: an empty line is no document
_LINE = re.compile(rb"\S[^\r\n]*")
MANDRILL_EVENTS = "mandrill_events"


class ReadBody(NamedTuple):
    """A body as it was read.

    Attributes:
        content: without its content encoding.
        form: the fields, if it is a form that the provider uses.
    """

    content: bytes
    form: Fields | None


def read_body(provider: str, content_type: str, encoding: str, body: bytes) -> ReadBody:
    """Decompresses the body, and reads it if it is a form.

    Raises:
        BadBody: it is not of its encoding, or too large without it.
    """
    content = decompress(body, encoding)
    check_size(len(content))
    form = None
    if provider in FORM_PROVIDERS:
        is_multipart = content_type.lower().startswith(MULTIPART)
        form = multipart_fields(content, content_type) if is_multipart else form_fields(content)
    return ReadBody(content, form)


def documents_of(provider: str, content_type: str, body: ReadBody) -> list[str]:
    """The texts of the body's documents, as `mailmart ingest` would load them: one, or one a line of JSON lines.

    A document can still be invalid JSON, which PostgreSQL says.

    Raises:
        BadBody: a document is too deep, has too many events, or is not UTF-8; there are more than MAX_EVENTS documents; or a
            form has something else than events.
    """
    if body.form is not None:
        if MANDRILL_EVENTS in body.form:
            _check_mandrill_events(body.form[MANDRILL_EVENTS])
        return [check_body(json_of_fields(body.form))]
    content = body.content.removeprefix(BYTE_ORDER_MARK).strip()
    if not content:
        raise BadBody("unreadable_body", "the body is empty")
    is_lines = content_type.partition(";")[0].strip().lower() in JSON_LINES
    return [check_body(line) for line in (_lines(content) if is_lines else [content])]


def is_mandrill_check(body: ReadBody) -> bool:
    """Whether this is the POST without events by which Mandrill checks a URL. It is signed with a known key."""
    return body.form is not None and [value.strip() for value in body.form.get(MANDRILL_EVENTS, ())] == ["[]"]


def decompress(body: bytes, encoding: str) -> bytes:
    """The body without its content encoding, one of ENCODINGS.

    Raises:
        BadBody: it is not of this encoding, or is too large without it.
    """
    if encoding in ("", "identity"):
        return body
    # more than the bound is not decompressed
    limit = min(MAX_BODY_BYTES, max(RATIO_IS_CHECKED_FROM, MAX_RATIO * len(body)))
    window = _GZIP if encoding != "deflate" else _ZLIB if _has_zlib_header(body) else _RAW
    content = bytearray()
    rest = body
    try:
        while rest:
            stream = zlib.decompressobj(window)
            content += stream.decompress(rest, limit + 1 - len(content))
            if len(content) > limit:
                raise BadBody("too_large", f"larger than {MAX_BODY_BYTES // 1024 // 1024} MiB, or {MAX_RATIO} times its size")
            if not stream.eof:
                raise BadBody("unreadable_body", f"the {encoding} stream is cut off")
            # gzip can have several members
            rest = stream.unused_data if window == _GZIP else b""
    except zlib.error as error:
        raise BadBody("unreadable_body", f"not {encoding}: {error}") from None
    return bytes(content)


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0


def _lines(content: bytes) -> Iterator[bytes]:
    """The lines that have something. One by one: a small body can be decompressed to millions of them.

    Raises:
        BadBody: there are more than MAX_EVENTS.
    """
    for number, line in enumerate(_LINE.finditer(content)):
        if number == MAX_EVENTS:
            raise BadBody("too_many_events", f"more than {MAX_EVENTS} lines in one body")
        yield line[0]


def _check_mandrill_events(values: object) -> None:
    if not isinstance(values, list) or len(values) != 1:
        raise BadBody("unreadable_body", f"the form has the field {MANDRILL_EVENTS} several times")
    events = values[0].encode(errors="replace")
    check_body(events)
    try:
        is_array = isinstance(orjson.loads(replace_invalid_escapes(events)), list)
    except orjson.JSONDecodeError as error:
        raise BadBody("unreadable_body", f"the field {MANDRILL_EVENTS} is not JSON: {error}") from None
    if not is_array:
        raise BadBody("unreadable_body", f"the field {MANDRILL_EVENTS} is not an array")
