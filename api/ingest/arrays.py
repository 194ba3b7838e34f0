"""Splits an array into its elements, or documents without line ends into single ones, while they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from api.ingest.bodies import MAX_BODY_BYTES

_QUOTE_OR_STRUCTURE = re.compile(rb'["\[\]{},]')
# the rest of a string in a chunk: up to its quote, or up to the chunk's end, which a backslash can be
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+("|\\?)', re.DOTALL)


def split_array(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The elements of an array that arrives in pieces, each with the number of line ends before it.

    Only brackets, commas and strings are looked at, so an element that is not valid JSON costs no other. Of an element that is
    larger than MAX_BODY_BYTES the first MAX_BODY_BYTES + 1 bytes are kept, so memory is bounded. Whatever follows the array is
    an element, too: nothing is dropped.
    """
    yield from _split(chunks, level=1)


def split_documents(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The objects and arrays that follow each other, with or without white space or commas between, as `split_array` does.

    Firehose writes such files. What is cut off at the end is a document, too.
    """
    yield from _split(chunks, level=0)


def _split(chunks: Iterable[bytes], level: int) -> Iterator[tuple[int, bytes]]:
    splitter = _Splitter(level)
    for chunk in chunks:
        yield from splitter.feed(chunk)
    # what was cut off, or is behind the end of an array
    yield from splitter.take_element()


class _Splitter:
    """Splits what is `level` brackets deep."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._depth = 0
        self._in_string = False
        self._ends_with_backslash = False
        self._element = bytearray()
        self._lines = 0
        self._line_of_element = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        start = position = 0
        while (position := self._next_structure(chunk, position)) < len(chunk):
            byte = chunk[position : position + 1]
            position += 1
            if byte in (b"[", b"{"):
                self._depth += 1
                if self._depth > 1 or self._level == 0:
                    continue
                # the bracket of the array itself
                end = position - 1
            elif byte == b",":
                if self._depth != self._level:
                    continue
                end = position - 1
            else:
                self._depth = max(0, self._depth - 1)
                if self._depth > 0:
                    continue
                # the bracket of the array itself is no part of an element; that of a document is
                end = position - self._level
            self._add(chunk[start:end])
            yield from self.take_element()
            start = position
        self._add(chunk[start:])

    def take_element(self) -> Iterator[tuple[int, bytes]]:
        """The element so far, if there is one."""
        element = bytes(self._element).rstrip()
        self._element.clear()
        if element:
            yield self._line_of_element, element

    def _next_structure(self, chunk: bytes, position: int) -> int:
        """The position of the next bracket or comma outside of strings; at least the chunk's length if the chunk has neither."""
        while position < len(chunk):
            if self._in_string:
                position = self._skip_string(chunk, position)
                continue
            match = _QUOTE_OR_STRUCTURE.search(chunk, position)
            if match is None:
                return len(chunk)
            if match[0] != b'"':
                return match.start()
            self._in_string = True
            position = match.end()
        return position

    def _skip_string(self, chunk: bytes, position: int) -> int:
        if self._ends_with_backslash:
            self._ends_with_backslash = False
            position += 1
        match = _STRING_REST.match(chunk, position)
        if match is None:
            return len(chunk)
        self._in_string = match[1] != b'"'
        self._ends_with_backslash = match[1] == b"\\"
        return match.end()

    def _add(self, part: bytes) -> None:
        if not self._element:
            content = part.lstrip()
            self._line_of_element = self._lines + part.count(b"\n", 0, len(part) - len(content))
            self._element += content[: MAX_BODY_BYTES + 1]
        else:
            self._element += part[: MAX_BODY_BYTES + 1 - len(self._element)]
        self._lines += part.count(b"\n")
