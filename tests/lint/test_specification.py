"""Every test that tests/specification.md names exists, and every row of it names one."""

from __future__ import annotations

import re

import pytest

from api.settings import PROJECT_ROOT

TABLE = (PROJECT_ROOT / "tests" / "specification.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_test_exists(path: str, name: str) -> None:
    assert f"def {name}(" in (PROJECT_ROOT / path).read_text()


def test_every_row_names_a_test() -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    assert [row for row in rows if "::test_" not in row] == []
