"""Newline-delimited JSON: each row of the first table as an object."""

from __future__ import annotations

import orjson

from api.exports.formats.base import JSON_OPTIONS, Sink, Source
from api.exports.formats.streams import BlockWriter


def write(source: Source, sink: Sink) -> None:
    """Writes the rows. Each object has all columns."""
    table = source.tables[0]
    names = [column.name for column in table.columns]
    option = JSON_OPTIONS | orjson.OPT_APPEND_NEWLINE
    blocks = BlockWriter(sink)
    for batch in source.rows(table):
        for row in batch:
            blocks.write(orjson.dumps(dict(zip(names, row, strict=True)), option=option))
    blocks.flush()
