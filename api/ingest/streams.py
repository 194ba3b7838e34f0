"""Reads a plain or gzip stream in bounded memory. What cannot be read ends the stream, and is kept as its problem."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import BinaryIO

GZIP_MAGIC = b"\x1f\x8b"
# a few thousand bytes of gzip can hold millions; real mail events compress 5 to 50 times
MAX_RATIO = 200
# in bytes; a small file may have any ratio
RATIO_IS_CHECKED_FROM = 64 * 1024 * 1024


class InputStream(io.RawIOBase):
    """The decompressed bytes of a stream, up to the first error. `problem` says what it was; None at a regular end.

    gzip can have several members, one after the other.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.problem: str | None = None
        self._input = _CountingReader(stream)
        buffered = io.BufferedReader(self._input)
        self._is_packed = buffered.peek(2)[:2] == GZIP_MAGIC if not self._input.problem else False
        self._stream: io.BufferedIOBase = gzip.GzipFile(fileobj=buffered) if self._is_packed else buffered
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed: any buffer
        if self.problem is not None:
            return 0
        try:
            data = self._stream.read1(len(buffer))
        except (EOFError, OSError, zlib.error) as error:
            self.problem = self._input.problem or str(error)
            return 0
        self._size += len(data)
        if self._is_packed and self._size > RATIO_IS_CHECKED_FROM and self._size > MAX_RATIO * self._input.size:
            self.problem = f"it expands to more than {MAX_RATIO} times its size"
            return 0
        if not data:
            self.problem = self._input.problem
        buffer[: len(data)] = data
        return len(data)


class _CountingReader(io.RawIOBase):
    """Counts the bytes that were read. An error of the file system ends the stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self.size = 0
        self.problem: str | None = None
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed: any buffer
        try:
            data = self._stream.read(len(buffer))
        except OSError as error:
            self.problem = str(error)
            return 0
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)
