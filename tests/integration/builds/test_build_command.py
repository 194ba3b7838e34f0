"""`mailmart build`: what it prints of a build that fails, of one that passes, and of one that is refused."""

from __future__ import annotations

import pytest

from api.settings import Settings
from tests.integration.builds.project import load_campaign, make_test_fail, make_tests_pass
from tests.support.command import mailmart


@pytest.mark.timeout(300)
def test_the_result_is_printed_and_not_the_lines_of_dbt(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "from_environment", staticmethod(lambda *_: project))
    load_campaign(project, "c1")
    make_test_fail(project, "first")
    failed = mailmart(project, "build")
    assert failed.exit_code == 1
    assert "✗ building: failed (" in failed.output
    # the whole error, and what to do
    assert "error: Failure in test first_is_valid (tests/dbt/first_is_valid.sql)\n  Got 1 result, " in failed.output
    assert "compiled code at " in failed.output
    assert "docs/how-to/operators/nightly-builds.md#when-a-build-fails" in failed.output
    assert "batch 1 has failed (1 model, " in failed.output
    make_tests_pass(project)
    passed = mailmart(project, "build")
    assert passed.exit_code == 0, passed.output
    assert [line.partition(" s)")[0].rpartition("; ")[0] for line in passed.output.splitlines()[-1:]] == [
        "batch 2 is published (2 models, 5 data tests, 1 seed; 1 row written"
    ]
    assert all("START" not in result.output and "{" not in result.output for result in (failed, passed))
    # what dbt refuses is said in its words
    refused = mailmart(project, "build", "--full-refresh")
    assert refused.exit_code == 2
    assert "--full-refresh is refused" in refused.output
