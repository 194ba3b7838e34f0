"""File objects that write to a sink."""

from __future__ import annotations

import io
from typing import Any

from api.exports.formats.base import Sink

BLOCK_BYTES = 256 * 1024


class BlockWriter:
    """Collects small writes into blocks; call `flush` after the last one."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = bytearray()

    def write(self, data: bytes, /) -> None:
        """Buffers the bytes, and writes them to the sink if there is a block of them."""
        self._buffer += data
        if len(self._buffer) >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes the buffered bytes to the sink."""
        if self._buffer:
            self._sink.write(bytes(self._buffer))
            self._buffer.clear()


class UnseekableFile(io.RawIOBase):
    """A sink as a binary file for zipfile and Arrow. Closing it does not close the sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Writes any bytes-like object."""
        content = bytes(data)
        self._sink.write(content)
        return len(content)
