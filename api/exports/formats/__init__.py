"""The formats of exported files. Each writes a source to a sink in a stream, and keeps no more of it than a batch of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from api.exports.formats.base import Column, Sink, Source, Table

__all__ = ["FORMATS", "Column", "Format", "Sink", "Source", "Table"]


@dataclass(frozen=True)
class Format:
    """One format: the end of its files' names, what they are in HTTP, and the module of this folder that writes them."""

    name: str
    extension: str
    content_type: str

    def write(self, source: Source, sink: Sink) -> None:
        """Writes the whole file. What the source or the sink raises goes through."""
        # not before it is needed: who writes CSV alone does without Arrow in memory
        import_module(f"{__name__}.{self.name}").write(source, sink)


FORMATS: Mapping[str, Format] = {
    given.name: given
    for given in (
        Format("csv", "csv", "text/csv; charset=utf-8"),
        Format("json", "json", "application/json"),
        Format("ndjson", "ndjson", "application/x-ndjson"),
        Format("xlsx", "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        Format("parquet", "parquet", "application/vnd.apache.parquet"),
    )
}
