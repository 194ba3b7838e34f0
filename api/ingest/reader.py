"""Splits a file into JSON documents: one on each line, or one in the whole of a file. Memory is bounded by MAX_BODY_BYTES."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import BinaryIO

import orjson

from api.ingest.arrays import split_array, split_documents
from api.ingest.bodies import MAX_BODY_BYTES, BadBody, Problem, check_body, check_size, replace_invalid_escapes
from api.ingest.forms import json_of_form
from api.ingest.streams import InputStream

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CHUNK_BYTES = 64 * 1024
# in characters; enough to find a line in the file, and to see what is wrong with it
MAX_KEPT_CHARACTERS = 16 * 1024
# where one object ends and another one begins; a JSON document has this in its texts only
_BOUNDARY = re.compile(rb"\}\s*+\{")


@dataclass(frozen=True)
class Document:
    """The text of one document, perhaps not valid JSON, and the number of its first line, from 1."""

    line: int
    text: str


@dataclass(frozen=True)
class RejectedLine:
    """A line that cannot be loaded: its number from 1, the problem that data quality counts, the reason and its text, cut."""

    line: int
    problem: Problem
    reason: str
    text: str


def read_documents(stream: BinaryIO) -> Iterator[Document | RejectedLine]:
    """Yields the documents of a stream, plain or gzip.

    If the first line alone is not JSON, the whole stream may be one document of several lines. An array that is too large for
    one body, or has too many events, is split: each element is a document.
    """
    source = InputStream(stream)
    lines = _Lines(io.BufferedReader(source, CHUNK_BYTES))
    yield from _read(lines)
    if source.problem is not None:
        yield RejectedLine(lines.number + 1, "unreadable_body", f"the file cannot be read from here on: {source.problem}", "")


class _Lines:
    """The lines of a stream, without those that are blank. Of a longer line come its first MAX_BODY_BYTES + 1 bytes.

    `number` is the number of the last line that was read, and `rest()` is what was not read of it.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self.number = 0
        self._stream = stream
        self._is_complete = True

    def __iter__(self) -> Iterator[bytes]:
        while True:
            for _ in self.rest():
                pass
            line = self._stream.readline(MAX_BODY_BYTES + 1)
            if not line:
                return
            self.number += 1
            self._is_complete = line.endswith(b"\n")
            # files that were put together have one in the middle
            line = line.removeprefix(BYTE_ORDER_MARK)
            if not self._is_complete and len(line) > MAX_BODY_BYTES:
                yield line
            elif stripped := line.strip():
                yield stripped

    def rest(self) -> Iterator[bytes]:
        """The rest of the last line, in chunks."""
        while not self._is_complete:
            chunk = self._stream.readline(CHUNK_BYTES)
            self._is_complete = not chunk or chunk.endswith(b"\n")
            yield chunk

    def all(self) -> Iterator[bytes]:
        """The rest of the stream, in chunks, as if it were a part of the last line."""
        self._is_complete = True
        while chunk := self._stream.read1(CHUNK_BYTES):
            yield chunk


def _read(lines: _Lines) -> Iterator[Document | RejectedLine]:
    iterator = iter(lines)
    first = next(iterator, None)
    if first is None:
        return
    if len(first) > MAX_BODY_BYTES or _is_json(first):
        yield from _of_line(lines, first)
    else:
        head = [(lines.number, first)]
        size = len(first)
        is_whole = True
        for line in iterator:
            head.append((lines.number, line))
            size += len(line)
            if size > MAX_BODY_BYTES:
                is_whole = False
                break
        whole = b"\n".join(line for _, line in head)
        if is_whole and _is_json(whole):
            yield from _of_document(head[0][0], whole)
            return
        if is_whole and len(head) > 1 and not _is_json(head[1][1]):
            # documents over many lines, one after the other
            documents = list(split_documents([whole]))
            if len(documents) > 1 and all(_is_json(document) for _, document in documents[:-1]):
                line_numbers = [number for number, _ in head]
                for lines_before, document in documents:
                    yield from _of_document(line_numbers[lines_before], document)
                return
        if not is_whole and first.startswith(b"[") and not _is_json(head[1][1]):
            # an array over many lines that is too large for one body
            line_ends = (b"\n" * (number - previous) + line for (previous, _), (number, line) in pairwise(head))
            yield from _elements(head[0][0], chain([first], line_ends, lines.rest(), [b"\n"], lines.all()), split_array)
            return
        for number, line in head[:-1]:
            yield from _of_document(number, line)
        yield from _of_line(lines, head[-1][1])
    for line in iterator:
        yield from _of_line(lines, line)


def _of_line(lines: _Lines, line: bytes) -> Iterator[Document | RejectedLine]:
    """The document of the last line that was read, which can be longer than what was read of it."""
    if len(line) > MAX_BODY_BYTES:
        split = split_array if line.lstrip().startswith(b"[") else split_documents
        yield from _elements(lines.number, chain([line], lines.rest()), split)
    else:
        yield from _of_document(lines.number, line)


def _of_document(number: int, body: bytes) -> Iterator[Document | RejectedLine]:
    if _BOUNDARY.search(body) is not None and not _is_json(body):
        # Firehose writes no line ends between objects
        yield from _elements(number, iter([body]), split_documents)
        return
    try:
        yield Document(number, check_body(json_of_form(body) or body))
    except BadBody as bad:
        if bad.problem == "too_many_events" and body.startswith(b"["):
            yield from _elements(number, iter([body]), split_array)
        else:
            yield rejected(number, bad, body)


def _elements(
    number: int, chunks: Iterator[bytes], split: Callable[[Iterable[bytes]], Iterator[tuple[int, bytes]]]
) -> Iterator[Document | RejectedLine]:
    for lines_before, element in split(chunks):
        try:
            yield Document(number + lines_before, check_body(element))
        except BadBody as bad:
            yield rejected(number + lines_before, bad, element)


def rejected(line: int, bad: BadBody, body: bytes) -> RejectedLine:
    """A rejected line with as much of its text as is useful."""
    text = body[:MAX_KEPT_CHARACTERS].decode(errors="backslashreplace").replace("\0", "\\0")
    return RejectedLine(line, bad.problem, bad.reason, text[:MAX_KEPT_CHARACTERS])


def _is_json(body: bytes) -> bool:
    try:
        check_size(len(body))
        orjson.loads(replace_invalid_escapes(body))
    except (BadBody, orjson.JSONDecodeError):
        return False
    return True
