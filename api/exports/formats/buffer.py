"""Small pieces of a file, gathered to blocks."""

from __future__ import annotations

from api.exports.formats.base import Sink

BLOCK = 256 * 1024


class Blocks:
    """Passes on what is written to it in blocks; the last one with `flush`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._kept = bytearray()

    def write(self, data: bytes) -> None:
        """Keeps the bytes, until there is a block of them."""
        self._kept += data
        if len(self._kept) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Passes on what there is."""
        if self._kept:
            self._sink.write(bytes(self._kept))
            self._kept.clear()
