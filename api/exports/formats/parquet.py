"""Parquet, with zstd: a column's type is its kind's, and one that is never null is required."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from api.contract.exposures import Kind
from api.exports.formats.base import Sink, Source, Table

TYPES: Mapping[Kind, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "date-time": pa.timestamp("us", tz="UTC"),
}
# a group of rows is in memory until it is written: whichever comes first
MAX_ROWS = 65_536
MAX_BYTES = 32 * 2**20


def write(source: Source, sink: Sink) -> None:
    """Writes the first table."""
    table = source.tables[0]
    schema = schema_of(table)
    kept: list[pa.RecordBatch] = []
    rows = size = 0
    with pq.ParquetWriter(_Unseekable(sink), schema, compression="zstd") as writer:
        for batch in source.rows(table):
            if not batch:
                continue
            kept.append(_record_batch(schema, batch))
            rows += len(batch)
            size += kept[-1].nbytes
            if rows >= MAX_ROWS or size >= MAX_BYTES:
                writer.write_table(pa.Table.from_batches(kept, schema), row_group_size=MAX_ROWS)
                kept.clear()
                rows = size = 0
        if kept:
            writer.write_table(pa.Table.from_batches(kept, schema), row_group_size=MAX_ROWS)


def schema_of(table: Table) -> pa.Schema:
    """The types of a table's columns."""
    return pa.schema([pa.field(column.name, TYPES[column.kind], nullable=column.is_nullable) for column in table.columns])


def _record_batch(schema: pa.Schema, batch: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*batch, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for field, values in zip(schema, columns, strict=True)], schema=schema
    )


class _Unseekable(io.RawIOBase):
    """A sink as Arrow takes it; it is the caller's to close."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        given = bytes(data)
        self._sink.write(given)
        return len(given)
