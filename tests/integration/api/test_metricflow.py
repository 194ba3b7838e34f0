"""MetricFlow, another implementation of dbt's semantic layer, computes the same numbers from the same YAML.

It is not among the requirements: `pip install dbt-metricflow dbt-postgres` into an environment of its own, and name its folder in
MAILMART_TEST_METRICFLOW. Without it, this test is skipped.
"""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import pytest

from api.contract.publication import read_publication
from api.db.connection import connect
from api.dbt.profile import dbt_environment
from api.settings import Settings
from tests.support.project_copy import copied_project

FOLDER = os.environ.get("MAILMART_TEST_METRICFLOW", "")
GROUP = "campaign_day__campaign"
METRICS = (
    "sent",
    "delivered",
    "soft_bounced",
    "open_rate",
    "bounce_rate",
    "soft_bounce_rate",
    "estimated_inbox_placement_rate",
    "engagement_score",
)


@pytest.mark.skipif(not FOLDER, reason="MAILMART_TEST_METRICFLOW names no environment with dbt-metricflow")
def test_metricflow_computes_the_same(warehouse_settings: Settings, tmp_path: Path) -> None:
    project = copied_project(warehouse_settings, tmp_path / "project")
    output = tmp_path / "metrics.csv"
    _run(project, "dbt", "parse")
    _run(project, "mf", "query", "--metrics", ",".join(METRICS), "--group-by", GROUP, "--csv", str(output), "--decimals", "10")
    with output.open() as file:
        theirs = {row[GROUP]: row for row in csv.DictReader(file)}
    # of all tenants, as the owner sees them
    with connect(warehouse_settings, "mailmart_owner") as connection:
        publication = read_publication(connection, "production")
        assert publication is not None
        layer = publication.contract.semantic_layer
        metrics = [layer.metrics[name] for name in METRICS]
        view = next(fact.view for fact in layer.facts if fact.name == "campaign_days")
        columns = sorted({column for metric in metrics for column in metric.columns})
        sums = ", ".join(f'sum("{column}") as "{column}"' for column in columns)
        values = ", ".join(metric.sql for metric in metrics)
        query = f"select campaign, {values} from (select campaign, {sums} from {view} group by campaign) as sums"
        ours = {row[0]: row[1:] for row in connection.execute(query.encode())}
    assert theirs.keys() == ours.keys()
    for campaign, row in theirs.items():
        for metric, value in zip(metrics, ours[campaign], strict=True):
            factor = 100 if metric.unit == "percent" else 1
            # over nothing, MetricFlow has null and the API 0
            assert float(row[metric.name] or 0) * factor == pytest.approx(float(value), abs=0.0051), (campaign, metric.name)


def _run(project: Settings, program: str, *arguments: str) -> None:
    environment = {**os.environ, **dbt_environment(project), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    # MetricFlow's is the folder that it is called in
    environment.pop("DBT_PROJECT_DIR", None)
    completed = subprocess.run(
        [str(Path(FOLDER) / "bin" / program), *arguments],
        cwd=project.project_root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
