"""What the tests of the benches share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home folder, for servers of a command's own."""
    made = Path(tempfile.mkdtemp(prefix="mailmart-bench-"))
    # as root the servers run as somebody else, who has to get through to it
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)
