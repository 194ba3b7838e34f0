"""The file formats of exports. Each streams a source to a sink and holds at most a batch of rows in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from api.exports.formats.base import Column, Sink, Source, Table

__all__ = ["FORMATS", "Column", "Format", "Sink", "Source", "Table"]


@dataclass(frozen=True)
class Format:
    """A format. The module of this package with its name writes it."""

    name: str
    extension: str
    content_type: str

    def write(self, source: Source, sink: Sink) -> None:
        """Writes the whole file. Exceptions of the source and the sink are re-raised."""
        # imported on first use: writing CSV does not need Arrow in memory
        import_module(f"{__name__}.{self.name}").write(source, sink)


FORMATS: Mapping[str, Format] = {
    form.name: form
    for form in (
        Format("csv", "csv", "text/csv; charset=utf-8"),
        Format("json", "json", "application/json"),
        Format("ndjson", "ndjson", "application/x-ndjson"),
        Format("xlsx", "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        Format("parquet", "parquet", "application/vnd.apache.parquet"),
    )
}
