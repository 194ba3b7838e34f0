"""dbt has nothing to warn of when it parses the project: who sees a warning at each build reads none."""

from __future__ import annotations

from tests.support.manifest import parse_log


def test_dbt_parses_the_project_without_a_warning() -> None:
    log = parse_log()
    assert "Running with dbt" in log
    assert [line for line in log.splitlines() if "[warn" in line] == []
