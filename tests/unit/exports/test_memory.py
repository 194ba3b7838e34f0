"""The memory of a format does not grow with the file."""

from __future__ import annotations

import subprocess
import sys

import pytest

from api.exports.formats import FORMATS

# compares the peak after a tenth of the rows with the final peak: it would show if a format kept data of each row
PROGRAM = """
import resource, sys
from datetime import UTC, datetime
from api.exports.formats import FORMATS, Column, Table
from tests.unit.exports.memory_source import MemorySource

ROWS, BATCH = 1_000_000, 5_000
WHEN = datetime(2025, 11, 1, tzinfo=UTC)
peaks = []

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

class Nowhere:
    def write(self, data): pass

def rows(table):
    for start in range(0, ROWS, BATCH):
        if start == ROWS // 10:
            peaks.append(peak())
        yield [(f"m{number}", WHEN) for number in range(start, start + BATCH)]

class Source(MemorySource):
    def csv_lines(self, table):
        for batch in rows(table):
            yield b"".join(b"%b,x\\n" % row[0].encode() for row in batch)

table = Table("messages", (Column("message_id", "string", False), Column("sent_at", "date-time", False)))
FORMATS[sys.argv[1]].write(Source((table,), rows), Nowhere())
print(peaks[0], peak())
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_memory_stays_flat(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True, timeout=110)
    early, late = map(int, done.stdout.split())
    # eleven bytes a row
    assert late - early < 10, f"from {early} to {late} MB"
