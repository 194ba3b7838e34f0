"""What all tests share. No server is started here: see tests/integration/conftest.py."""

from __future__ import annotations

import gc
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.collation import collation
from tests.support.run_folder import make_run_folder
from tests.support.server_settings import VARIABLE

TESTS = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Makes the run's folder before xdist starts its workers, which inherit its name."""
    if not hasattr(config, "workerinput"):
        config.add_cleanup(make_run_folder())


def pytest_report_header() -> str:
    """Names the defaults of the run's PostgreSQL: a failure is repeated with the same ones."""
    return f"PostgreSQL: {VARIABLE}={os.environ.get(VARIABLE, '(one for each file)')}, collation {collation() or 'C'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests by their folder, and runs the files with the fewest tests first, and those that need no server last.

    The first ones have the longest tests; short tests fill the workers' time at the end.
    """
    for item in items:
        if item.path.is_relative_to(TESTS / "integration") or item.path.is_relative_to(TESTS / "e2e"):
            item.add_marker(pytest.mark.server)
        if item.path.is_relative_to(TESTS / "e2e"):
            item.add_marker(pytest.mark.e2e)
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: ("server" not in item.keywords, tests[item.path]))


def pytest_collection_finish() -> None:
    """What was imported and collected stays: a garbage collection need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def seed() -> int:
    """MAILMART_TEST_SEED, or a new one for each run; the tests name it when they fail."""
    return int(os.environ.get("MAILMART_TEST_SEED") or random.SystemRandom().randrange(2**32))


@pytest.fixture(scope="session")
def manifest() -> dict[str, Any]:
    """dbt's manifest of the project's files. Shared by all tests: copy it before you change it."""
    from tests.support.manifest import project_manifest

    return project_manifest()
