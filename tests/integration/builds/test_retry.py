"""dbt retry continues a failed build, and publishes when all that passed in both is the whole project."""

from __future__ import annotations

import shutil

import pytest

from api.builds.dbt_attempt import AttemptResult
from api.settings import Settings
from tests.integration.builds.project import build, fail_build, load_campaign, make_test_fail, make_tests_pass
from tests.integration.builds.queries import builds, published_batch, rows
from tests.support.dbt import run_dbt

pytestmark = pytest.mark.timeout(900)

FAILED, BUILT, PUBLISHED = ("build", "failed"), ("retry", "built"), ("retry", "published")


def test_retry_runs_only_what_failed_and_what_depends_on_it(project: Settings) -> None:
    load_campaign(project, "c1")
    assert build(project).status == "published"
    load_campaign(project, "c2")
    make_test_fail(project, "first")
    failed = build(project)
    assert (failed.status, failed.batch_id) == ("failed", 2)
    assert failed.error is not None
    assert failed.error.startswith("first_is_valid: Got 1 result")
    assert published_batch(project) == 1
    # a second failure: what passed in the first build still counts
    assert build(project).status == "failed"

    load_campaign(project, "c3")
    make_tests_pass(project)
    assert build(project) == AttemptResult("published", 4)
    assert builds(project) == [("build", "published"), FAILED, ("retry", "failed"), PUBLISHED]
    assert rows(project, "select batch_id, model from app.model_runs where batch_id > 1 order by 1, 2") == [
        (2, "first"),
        (4, "second"),
    ]
    # the first model did not run again: it has no rows of the last campaign, and data_as_of is the failed build's start
    assert rows(project, "select campaigns from core.second where valid_to > 4") == [(2,)]
    assert rows(
        project,
        "select this.continues, publications.data_as_of = started.started_at from app.batches as this"
        " inner join app.publications as publications using (batch_id)"
        " inner join app.batches as started on started.batch_id = 2 where this.batch_id = 4",
    ) == [(2, True)]
    assert rows(project, "select * from app.batch_nodes") == []


def test_no_retry_if_a_node_has_run_since(project: Settings) -> None:
    fail_build(project, "second")
    kept = project.home / "kept"
    shutil.copytree(project.home / "nightly/production", kept)
    # the first model gets a row that the second does not have; the build fails, so that it is continued
    load_campaign(project, "c1")
    make_test_fail(project, "second")
    selected = ("--select", "first", "second_is_valid", "--indirect-selection", "empty")
    run_dbt(project, "build", *selected, check=False)
    make_tests_pass(project)
    run_dbt(project, "retry", target_path="kept")
    assert builds(project) == [FAILED, FAILED, BUILT]
    assert published_batch(project) is None
