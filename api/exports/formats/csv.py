"""CSV as RFC 4180 has it, in UTF-8: a header, and the lines as PostgreSQL's COPY writes them, which end with a line feed."""

from __future__ import annotations

import csv
import io

from api.exports.formats.base import Sink, Source


def write(source: Source, sink: Sink) -> None:
    """Writes the first table. An empty field is null; an empty text is in quotes."""
    table = source.tables[0]
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(column.name for column in table.columns)
    sink.write(header.getvalue().encode())
    for block in source.csv_lines(table):
        sink.write(block)
