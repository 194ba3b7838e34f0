"""A home folder for the tests of benchmarks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home folder for the servers of a command."""
    folder = Path(tempfile.mkdtemp(prefix="mailmart-bench-"))
    # as root the servers run as another user, who must be able to enter it
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
