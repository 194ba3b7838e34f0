"""Parquet, compressed with zstd. Columns that are never null are required."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from api.contract.exposures import Kind
from api.exports.formats.base import Sink, Source, Table
from api.exports.formats.streams import UnseekableFile

TYPES: Mapping[Kind, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "date-time": pa.timestamp("us", tz="UTC"),
}
# a row group is in memory until it is written; it ends at the first of these limits
MAX_ROWS = 65_536
MAX_BYTES = 32 * 2**20


def write(source: Source, sink: Sink) -> None:
    """Writes the first table."""
    table = source.tables[0]
    schema = schema_of(table)
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    with pq.ParquetWriter(UnseekableFile(sink), schema, compression="zstd") as writer:
        for batch in source.rows(table):
            if not batch:
                continue
            batches.append(_record_batch(schema, batch))
            rows += len(batch)
            size += batches[-1].nbytes
            if rows >= MAX_ROWS or size >= MAX_BYTES:
                writer.write_table(pa.Table.from_batches(batches, schema), row_group_size=MAX_ROWS)
                batches.clear()
                rows = size = 0
        if batches:
            writer.write_table(pa.Table.from_batches(batches, schema), row_group_size=MAX_ROWS)


def schema_of(table: Table) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema([pa.field(column.name, TYPES[column.kind], nullable=column.is_nullable) for column in table.columns])


def _record_batch(schema: pa.Schema, batch: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*batch, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for field, values in zip(schema, columns, strict=True)], schema=schema
    )
