"""Bodies of forms: Mandrill's and Mailgun's before 2018 (application/x-www-form-urlencoded, or multipart with attachments)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import orjson
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

MAX_FIELDS = 1000
MULTIPART = "multipart/form-data"
# a body of a form begins with the name of a field that says which provider it is, or has that field later
_FORM = re.compile(rb"[A-Za-z0-9%+._~*-]+=[^\s{}\[\]\"<>]*+\Z")
_FIELDS = (b"mandrill_events", b"event")

Fields = Mapping[str, Sequence[str]]


def json_of_form(body: bytes) -> bytes | None:
    """A form's fields as a JSON object of texts; None if the body is no form of these providers."""
    fields = form_fields(body)
    return None if fields is None else json_of_fields(fields)


def form_fields(body: bytes) -> Fields | None:
    """A form's fields, each with its values; None if the body is no form of these providers, or has more than MAX_FIELDS."""
    body = body.strip()
    if body.count(b"&") >= MAX_FIELDS:
        return None
    if _FORM.match(body) is None or not any(re.search(rb"(?:^|&)" + field + rb"=", body) for field in _FIELDS):
        return None
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(body.decode(errors="replace"), keep_blank_values=True):
        fields.setdefault(name, []).append(value)
    return fields


def multipart_fields(body: bytes, content_type: str) -> Fields | None:
    """The fields of a multipart form, without its files; None if the body is no such form, or has more than MAX_FIELDS."""
    media_type, options = parse_options_header(content_type)
    if media_type != MULTIPART or "boundary" not in options:
        return None
    parser = FormDataParser(
        # attachments of a bounced message: nothing of them is kept
        stream_factory=lambda *_, **__: io.BytesIO(),
        max_form_memory_size=len(body),
        max_form_parts=MAX_FIELDS,
        silent=False,
    )
    try:
        _, form, _ = parser.parse(io.BytesIO(body), media_type, len(body), options)
    except (ValueError, RequestEntityTooLarge):
        return None
    return {name: form.getlist(name) for name in form} or None


def json_of_fields(fields: Fields) -> bytes:
    """The fields as a JSON object of texts.

    A field that is there several times is an array of its texts. The values are not looked at: a field that holds JSON, such as
    `mandrill_events`, stays a text.
    """
    return orjson.dumps({name: values[0] if len(values) == 1 else values for name, values in fields.items()})
