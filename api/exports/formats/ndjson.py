"""JSON, one object a line: a row of the first table."""

from __future__ import annotations

import orjson

from api.exports.formats.base import Sink, Source
from api.exports.formats.buffer import Blocks
from api.web.responses import JSON_OPTIONS


def write(source: Source, sink: Sink) -> None:
    """Writes the rows, with every column in each."""
    table = source.tables[0]
    names = [column.name for column in table.columns]
    option = JSON_OPTIONS | orjson.OPT_APPEND_NEWLINE
    blocks = Blocks(sink)
    for batch in source.rows(table):
        for row in batch:
            blocks.write(orjson.dumps(dict(zip(names, row, strict=True)), option=option))
    blocks.flush()
