"""CSV (RFC 4180, UTF-8): a header, and the lines as PostgreSQL's COPY writes them, terminated by a line feed."""

from __future__ import annotations

import codecs
import csv
import io

from api.exports.formats.base import Sink, Source


def write(source: Source, sink: Sink) -> None:
    """Writes the first table. Null is an empty field; an empty text is a pair of quotes."""
    table = source.tables[0]
    if source.byte_order_mark:
        sink.write(codecs.BOM_UTF8)
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(column.name for column in table.columns)
    sink.write(header.getvalue().encode())
    for block in source.csv_lines(table):
        sink.write(block)
