"""A rollback while a build is running: the build goes on, and is published."""

from __future__ import annotations

from api.builds.repository import rollback
from api.db.connection import connect
from api.settings import Settings
from tests.integration.builds.project import load_campaign
from tests.integration.builds.queries import builds, published_batch, rows
from tests.support.dbt import dbt_process, run_dbt
from tests.support.waiting import wait_for_waiting


def test_data_tests_look_at_rows_that_are_newer_than_what_was_published_when_the_build_began(project: Settings) -> None:
    """What was rolled back had passed its tests: its rows are in the next publication, and are not tested again."""
    for campaign in ("c1", "c2"):
        load_campaign(project, campaign)
        run_dbt(project, "build")
    load_campaign(project, "c3")
    with connect(project, "mailmart_owner") as lock:
        # not a raw table: the build has begun when its first model waits
        lock.execute("lock table core.first in access exclusive mode")
        build = dbt_process(project, "build", target_path="meanwhile", keeps_sql=True)
        wait_for_waiting(project)
        assert rollback(project) == 1
        lock.rollback()
        assert build.wait(timeout=120) == 0
    assert builds(project) == [("build", "published")] * 3
    assert published_batch(project) == 3
    assert rows(project, "select array_agg(campaign_id order by campaign_id) from core.first where valid_to > 3") == [
        (["c1", "c2", "c3"],)
    ]
    (compiled,) = (project.home / "meanwhile").rglob("compiled/**/one_version_at_a_time_first_.sql")
    assert "valid_from > 2)" in compiled.read_text()
