"""How a file becomes documents: arrays that are split, streams that break off, and memory that stays bounded."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.ingest.arrays import split_array
from api.ingest.bodies import MAX_BODY_BYTES, MAX_EVENTS
from api.ingest.reader import MAX_KEPT_CHARACTERS, Document, RejectedLine, read_documents

EVENT = {"event": "open", "text": 'a "quote", a [bracket}, a \\'}


def read(data: bytes) -> list[Document | RejectedLine]:
    return list(read_documents(io.BytesIO(data)))


def texts(data: bytes) -> list[str]:
    documents = read(data)
    assert all(isinstance(document, Document) for document in documents), documents[-1]
    return [document.text for document in documents]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_array_is_split_wherever_its_pieces_end(size: int) -> None:
    elements = [json.dumps(EVENT), "[[1, 2], {}]", '"a\\\\"', "1.10", '{"a": 1, "a": 2}', "NaN", '"\\"]"']
    data = ("\n[\n" + ",\n\n".join(elements) + "\n] junk").encode()
    found = list(split_array(data[start : start + size] for start in range(0, len(data), size)))
    assert [element.decode() for _, element in found] == [*elements, "junk"]
    assert [line for line, _ in found] == [2, 4, 6, 8, 10, 12, 14, 15]


@pytest.mark.slow
def test_an_array_with_too_many_events_is_split() -> None:
    events = [json.dumps({"n": number}) for number in range(MAX_EVENTS + 1)]
    assert texts(("[" + ",".join(events) + "]").encode()) == events
    documents = read(("[\n" + ",\n".join(events) + "\n]").encode())
    assert [document.text for document in documents] == events
    assert [document.line for document in documents] == list(range(2, MAX_EVENTS + 3))


@pytest.mark.slow
@pytest.mark.parametrize("separator", [",", ",\n"])
def test_an_array_that_is_larger_than_a_body_is_split(separator: str) -> None:
    events = [json.dumps({"n": number, "x": "y" * 100_000}) for number in range(150)]
    events[70] = "[" * 6000 + "]" * 6000
    events[80] = json.dumps("z" * (MAX_BODY_BYTES + 5))
    line = f"{json.dumps({'n': 'next'})}\n" if separator == "," else ""
    documents = read(("[" + separator.join(events) + "]\n" + line).encode())
    rejected = [document for document in documents if isinstance(document, RejectedLine)]
    assert [document.problem for document in rejected] == ["unreadable_body", "too_large"]
    assert all(len(document.text) <= MAX_KEPT_CHARACTERS for document in rejected)
    assert len(documents) == 150 + bool(line)
    expected = [event for event in events if len(event) < MAX_BODY_BYTES and event[0] == "{"] + [line.strip()] * bool(line)
    assert [document.text for document in documents if isinstance(document, Document)] == expected


@pytest.mark.slow
def test_a_line_that_is_too_large_costs_no_other() -> None:
    documents = read(b'{"a": 1}\n{"a": "' + b"x" * 3 * MAX_BODY_BYTES + b'"}\n{"a": 3}\n')
    assert [document.line for document in documents] == [1, 2, 3]
    assert isinstance(documents[1], RejectedLine)
    assert documents[1].reason == "larger than 10 MiB"


def test_members_of_gzip_and_what_follows_them() -> None:
    members = gzip.compress(b'{"n": 1}\n{"n"', mtime=0) + gzip.compress(b': 2}\n{"n": 3}')
    assert texts(members) == ['{"n": 1}', '{"n": 2}', '{"n": 3}']
    assert texts(members + b"\0" * 100) == ['{"n": 1}', '{"n": 2}', '{"n": 3}']
    for broken in (members + b"garbage", members[:-4]):
        *documents, last = read(broken)
        assert [document.text for document in documents] == ['{"n": 1}', '{"n": 2}', '{"n": 3}']
        assert isinstance(last, RejectedLine)
        assert "cannot be read from here on" in last.reason


@pytest.mark.slow
def test_a_gzip_bomb_is_not_read_to_its_end() -> None:
    *_, last = read(gzip.compress(b"x" * 80 * 1024 * 1024, mtime=0))
    assert isinstance(last, RejectedLine)
    assert "expands to more than 200 times" in last.reason


@pytest.mark.parametrize("data", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_nothing(data: bytes) -> None:
    assert read(data) == []


@pytest.mark.parametrize("data", [os.urandom(300_000), b"%PDF-1.7\n" * 1000, b"a;b\n1;2\n", b"\x1f\x8b", b"\x1f\x8bno gzip"])
def test_what_is_no_json_is_no_error(data: bytes) -> None:
    assert read(data)


PROGRAM = """
import sys
from pathlib import Path
from api.ingest.loader import _batches
from api.ingest.reader import read_documents

def peak():
    # not ru_maxrss, which begins with the peak of the parent process
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024

before = peak()
with open(sys.argv[1], "rb") as stream:
    for batch in _batches(read_documents(stream)):
        pass
print(peak() - before)
"""
LARGE = {
    # start, part that is repeated up to 100 MB, end
    "a line": (b'{"a": "', b"x" * 10_000, b'"}'),
    "an array without line ends": (b"[", b'{"a": "' + b"x" * 10_000 + b'"},', b"{}]"),
    "an array over many lines": (b"[\n", b'{"a": "' + b"x" * 10_000 + b'"},\n', b"{}\n]"),
    "lines": (b"", b'{"a": "' + b"x" * 10_000 + b'"}\n', b""),
    "lines that are no JSON": (b"", b"{" + b"x" * 10_000 + b"\n", b""),
    "no JSON": (b"", b"x" * 10_000, b""),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", LARGE)
def test_memory_is_bounded(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "large.gz"
    start, part, end = LARGE[shape]
    path.write_bytes(gzip.compress(start + part * 10_000 + end, 0, mtime=0))
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True, timeout=110)
    # 100 MB are read, and a body has at most 10
    assert int(done.stdout) < 75


def test_objects_without_line_ends_are_single_documents() -> None:
    first, second, cut = '{"n": "}{"}', '{"n": [{}, "\\""]}', '{"n": 3, "x'
    assert texts((first + second + "\n" + first).encode()) == [first, second, first]
    assert texts((first + " \t" + second).encode()) == [first, second]
    assert texts(f"{first}{second}{cut}\n{second}".encode()) == [first, second, cut, second]
    # a line that only looks like two
    assert texts(f"[{first}, {first}]\n{first}".encode()) == [f"[{first}, {first}]", first]


def test_objects_over_lines_and_without_line_ends_between() -> None:
    objects = [json.dumps({"n": number, "m": [number]}, indent=2) for number in range(3)]
    documents = read(("\n\n".join(objects[:2]) + objects[2]).encode())
    assert [json.loads(document.text) for document in documents] == [json.loads(text) for text in objects]
    assert [document.line for document in documents] == [1, 8, 13]


def test_a_line_of_objects_that_is_larger_than_a_body_is_split() -> None:
    objects = [json.dumps({"n": number, "x": "y" * 1_000_000}) for number in range(12)]
    assert texts("".join(objects).encode()) == objects


def test_a_byte_order_mark_in_the_middle() -> None:
    assert texts('\ufeff{"n": 1}\n\ufeff{"n": 2}\n'.encode()) == ['{"n": 1}', '{"n": 2}']
