"""Bodies of forms (application/x-www-form-urlencoded): Mandrill's, and Mailgun's before 2018."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import orjson

# a body of a form begins with the name of a field that says which provider it is, or has that field later
_FORM = re.compile(rb"[A-Za-z0-9%+._~*-]+=[^\s{}\[\]\"<>]*+\Z")
_FIELDS = (b"mandrill_events", b"event")


def json_of_form(body: bytes) -> bytes | None:
    """A form's fields as a JSON object of texts; None if the body is no form of these providers.

    A field that is there several times is an array of its texts. The values are not looked at: a field that holds JSON, such as
    `mandrill_events`, stays a text.
    """
    body = body.strip()
    if _FORM.match(body) is None or not any(re.search(rb"(?:^|&)" + field + rb"=", body) for field in _FIELDS):
        return None
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(body.decode(errors="replace"), keep_blank_values=True):
        fields.setdefault(name, []).append(value)
    return orjson.dumps({name: values[0] if len(values) == 1 else values for name, values in fields.items()})
