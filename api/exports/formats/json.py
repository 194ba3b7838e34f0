"""One JSON object: the source's head, and its documents in `data`, one per line."""

from __future__ import annotations

import orjson

from api.exports.formats.base import JSON_OPTIONS, Sink, Source
from api.exports.formats.streams import BlockWriter


def write(source: Source, sink: Sink) -> None:
    """Writes the documents as the API returns them, but times with all of their digits."""
    blocks = BlockWriter(sink)
    head = orjson.dumps(source.head, option=JSON_OPTIONS)[1:-1]
    blocks.write(b"{" + head + (b"," if head else b"") + b'"data":[')
    separator = b"\n"
    for document in source.documents():
        blocks.write(separator + orjson.dumps(document, option=JSON_OPTIONS))
        separator = b",\n"
    blocks.write(b"\n]}\n")
    blocks.flush()
