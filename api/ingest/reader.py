"""Splits a file into JSON documents: one on each line, or one in the whole of a file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import BinaryIO, cast

import orjson

# in bytes; PostgreSQL accepts no longer text as jsonb
MAX_DOCUMENT = 255 * 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Document:
    """The text of one document, perhaps not valid JSON, and the number of its first line, from 1."""

    line: int
    text: str


@dataclass(frozen=True)
class RejectedLine:
    """A line that cannot be loaded: its number from 1, the reason, and its text."""

    line: int
    reason: str
    text: str


def read_documents(stream: BinaryIO) -> Iterator[Document | RejectedLine]:
    """Yields the documents of a stream, plain or gzip. JSON lines are read in constant memory.

    If the first line alone is not JSON, the whole stream may be one document of several lines.
    """
    lines = _lines(_decompressed(stream))
    first = next(lines, None)
    if first is None:
        return
    if isinstance(first, Document) and not _is_json(first.text):
        head: list[Document | RejectedLine] = [first]
        size = len(first.text)
        for line in lines:
            head.append(line)
            size += len(line.text)
            if size > MAX_DOCUMENT or isinstance(line, RejectedLine):
                break
        else:
            whole = "\n".join(line.text for line in head)
            if _is_json(whole):
                yield Document(first.line, whole)
                return
        yield from head
    else:
        yield first
    yield from lines


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _decompressed(stream: BinaryIO) -> BinaryIO:
    buffered = stream if isinstance(stream, BufferedReader) else BufferedReader(stream)  # type: ignore[type-var]
    if buffered.peek(2)[:2] == GZIP_MAGIC:
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    return cast(BinaryIO, buffered)


def _lines(stream: BinaryIO) -> Iterator[Document | RejectedLine]:
    number = 0
    while True:
        number += 1
        try:
            line = stream.readline(MAX_DOCUMENT + 1)
            if len(line) > MAX_DOCUMENT:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(1024 * 1024)
                yield RejectedLine(number, f"longer than {MAX_DOCUMENT} bytes", "")
                continue
        except (EOFError, OSError, zlib.error) as error:
            yield RejectedLine(number, f"the file cannot be read from here on: {error}", "")
            return
        if not line:
            return
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        line = line.strip()
        if not line:
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            yield RejectedLine(number, f"not UTF-8 at byte {error.start + 1}", line.decode(errors="backslashreplace"))
            continue
        if "\0" in text:
            yield RejectedLine(number, "it contains a NUL character", text.replace("\0", "\\0"))
            continue
        yield Document(number, text)
