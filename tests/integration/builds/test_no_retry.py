"""A retry of which it cannot be known that the whole is right publishes nothing, and the nightly run builds all of it."""

from __future__ import annotations

import pytest

from api.settings import Settings
from tests.integration.builds.project import build, fail
from tests.integration.builds.queries import builds, rows, served
from tests.support.dbt import run_dbt

pytestmark = pytest.mark.timeout(300)

FAILED, BUILT, PUBLISHED = ("build", "failed"), ("retry", "built"), ("build", "published")


def retry(settings: Settings, *arguments: str) -> None:
    run_dbt(settings, "retry", *arguments, target_path="nightly/production")


def test_not_with_other_files(project: Settings) -> None:
    fail(project, "first")
    macro = project.project_root / "macros" / "metrics" / "rates.sql"
    macro.write_text(macro.read_text() + "\n{% macro another() %}{% endmacro %}\n")
    assert build(project).status == "published"
    assert builds(project) == [FAILED, PUBLISHED]
    (project.project_root / "seeds" / "words.csv").write_text("word\nletter\n")
    fail(project, "first")
    # what a build was made from is told by the builds as well, for plain dbt
    fingerprints = rows(project, "select fingerprint from app.batches")
    assert len(set(fingerprints)) == 3


def test_not_with_other_variables(project: Settings) -> None:
    fail(project, "second")
    retry(project, "--vars", "recompute: true")
    assert builds(project) == [FAILED, BUILT]
    assert served(project) is None


def test_not_after_a_publication(project: Settings) -> None:
    assert build(project).status == "published"
    fail(project, "second")
    # somebody went back to another publication
    rows(project, "update app.current_publication set changed_at = clock_timestamp() returning target")
    retry(project)
    assert builds(project) == [PUBLISHED, FAILED, BUILT]
    assert served(project) == 1


def test_not_over_a_build_that_died(project: Settings) -> None:
    fail(project, "second")
    with_one_that_died = (
        "insert into app.batches (target, invocation_id, command, fingerprint)"
        " select target, 'died', command, fingerprint from app.batches returning batch_id"
    )
    assert rows(project, with_one_that_died) == [(2,)]
    retry(project)
    assert builds(project) == [FAILED, ("build", "abandoned"), BUILT]
    assert build(project).status == "published"
    assert builds(project)[3:] == [PUBLISHED]
