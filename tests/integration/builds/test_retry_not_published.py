"""A retry that does not make a whole build publishes nothing, and the nightly run builds everything instead."""

from __future__ import annotations

import pytest

from api.settings import Settings
from tests.integration.builds.project import build, fail_build
from tests.integration.builds.queries import builds, published_batch, rows
from tests.support.dbt import run_dbt

pytestmark = pytest.mark.timeout(900)

FAILED, BUILT, PUBLISHED = ("build", "failed"), ("retry", "built"), ("build", "published")


def retry(settings: Settings, *arguments: str) -> None:
    run_dbt(settings, "retry", *arguments, target_path="nightly/production")


def test_changed_files(project: Settings) -> None:
    fail_build(project, "first")
    macro = project.project_root / "macros" / "metrics" / "rates.sql"
    macro.write_text(macro.read_text() + "\n{% macro another() %}{% endmacro %}\n")
    assert build(project).status == "published"
    assert builds(project) == [FAILED, PUBLISHED]
    (project.project_root / "seeds" / "words.csv").write_text("word\nnotice\n")
    fail_build(project, "first")
    # each build records what it was built from
    fingerprints = rows(project, "select fingerprint from app.batches")
    assert len(set(fingerprints)) == 3


def test_other_variables(project: Settings) -> None:
    fail_build(project, "second")
    retry(project, "--vars", "recompute: true")
    assert builds(project) == [FAILED, BUILT]
    assert published_batch(project) is None


def test_a_publication_since(project: Settings) -> None:
    assert build(project).status == "published"
    fail_build(project, "second")
    # a rollback to another publication
    rows(project, "update app.current_publication set changed_at = clock_timestamp() returning target")
    retry(project)
    assert builds(project) == [PUBLISHED, FAILED, BUILT]
    assert published_batch(project) == 1


def test_an_abandoned_build_between(project: Settings) -> None:
    fail_build(project, "second")
    insert_dead_build = (
        "insert into app.batches (target, invocation_id, command, fingerprint)"
        " select target, 'died', command, fingerprint from app.batches returning batch_id"
    )
    assert rows(project, insert_dead_build) == [(2,)]
    retry(project)
    assert builds(project) == [FAILED, ("build", "abandoned"), BUILT]
    assert build(project).status == "published"
    assert builds(project)[3:] == [PUBLISHED]
