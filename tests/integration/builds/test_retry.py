"""dbt retry goes on where a build failed, and publishes when what passed before and now is everything, and fresh."""

from __future__ import annotations

import shutil

import pytest

from api.builds.dbt_attempt import Attempt
from api.settings import Settings
from tests.integration.builds.project import break_it, build, fail, land_campaign, mend_it
from tests.integration.builds.queries import builds, rows, served
from tests.support.dbt import run_dbt

pytestmark = pytest.mark.timeout(300)

FAILED, BUILT, PUBLISHED = ("build", "failed"), ("retry", "built"), ("retry", "published")


def test_only_what_failed_and_follows_runs_again_and_it_is_published(project: Settings) -> None:
    land_campaign(project, "c1")
    assert build(project).status == "published"
    land_campaign(project, "c2")
    break_it(project, "first")
    failed = build(project)
    assert (failed.status, failed.batch_id) == ("failed", 2)
    assert failed.error is not None
    assert failed.error.startswith("first_is_whole: Got 1 result")
    assert served(project) == 1
    # once more the same: what passed then counts as well
    assert build(project).status == "failed"

    land_campaign(project, "c3")
    mend_it(project)
    assert build(project) == Attempt("published", 4)
    assert builds(project) == [("build", "published"), FAILED, ("retry", "failed"), PUBLISHED]
    assert rows(project, "select batch_id, model from app.model_runs where batch_id > 1 order by 1, 2") == [
        (2, "first"),
        (4, "second"),
    ]
    # the first model did not run again, so what landed since is not in, and the publication does not say that it is
    assert rows(project, "select campaigns from core.second where valid_to > 4") == [(2,)]
    assert rows(
        project,
        "select this.continues, publications.data_as_of = started.started_at from app.batches as this"
        " inner join app.publications as publications using (batch_id)"
        " inner join app.batches as started on started.batch_id = 2 where this.batch_id = 4",
    ) == [(2, True)]
    assert rows(project, "select * from app.batch_nodes") == []


def test_not_over_something_that_ran_since(project: Settings) -> None:
    fail(project, "second")
    kept = project.home / "kept"
    shutil.copytree(project.home / "nightly/production", kept)
    # the first model takes something in that the second does not know; and the build fails, so it is gone on with
    land_campaign(project, "c1")
    break_it(project, "second")
    selected = ("--select", "first", "second_is_whole", "--indirect-selection", "empty")
    run_dbt(project, "build", *selected, check=False)
    mend_it(project)
    run_dbt(project, "retry", target_path="kept")
    assert builds(project) == [FAILED, FAILED, BUILT]
    assert served(project) is None
