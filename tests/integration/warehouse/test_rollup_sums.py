"""A rollup that sums an expression: incremental runs equal a build from nothing and a plain query of the messages."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import random_events
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.support.project_copy import copied_project

SQL = """
{{ config(unique_key=['workspace_id', 'campaign_id', 'sent_date']) }}

{{
    incremental_rollup(
        ['workspace_id', 'campaign_id', 'sent_date'],
        measures={
            'sent': {'count_if': 'true'},
            'seconds_to_open': {'sum': 'extract(epoch from first_opened_at - sent_at)', 'data_type': 'bigint'},
        },
        cluster_by=['workspace_id', 'sent_date'],
    )
}}
"""
YAML = """
models:
  - name: fct_open_times
    columns:
      - {name: workspace_id, data_type: text}
      - {name: campaign_id, data_type: text}
      - {name: sent_date, data_type: date}
      - {name: sent, data_type: integer}
      - {name: seconds_to_open, data_type: bigint}
      - {name: valid_from, data_type: bigint}
      - {name: valid_to, data_type: bigint}
"""
CURRENT = "select workspace_id, campaign_id, sent_date, sent, seconds_to_open from core.fct_open_times where valid_to > 1000000"
EXPECTED = """
select workspace_id, campaign_id, sent_date, count(*), coalesce(sum(extract(epoch from first_opened_at - sent_at)), 0)::bigint
from core.fct_messages
where is_sent and valid_to > 1000000
group by workspace_id, campaign_id, sent_date
"""
RUNS = 2


@pytest.mark.timeout(1440)
def test_a_sum_is_the_same_incrementally_and_from_nothing(settings: Settings, tmp_path: Path, seed: int) -> None:
    changed = copied_project(settings, tmp_path / "project")
    project = changed.project_root
    (project / "models" / "core" / "fct_open_times.sql").write_text(SQL)
    (project / "models" / "core" / "_open_times.yml").write_text(YAML)
    now = datetime.now(UTC)
    start = (now - timedelta(days=20)).replace(hour=0, minute=0, second=0, microsecond=0)
    events = random_events(random.Random(seed), "w", 200, start)

    seen = []
    for run in range(RUNS):
        # opens of later runs change the sums of messages that are already counted
        load_events(changed, events[run::RUNS], now - timedelta(hours=RUNS - run))
        run_dbt(changed, *WITHOUT_TESTS, "--select", "+fct_open_times", target_path="rollup")
        rows = read(changed, CURRENT)
        assert rows == read(changed, EXPECTED), f"seed {seed}, run {run}"
        seen.append(sum(row[-1] for row in rows))
    assert len(set(seen)) == RUNS, "no run changed a sum"

    run_dbt(changed, *WITHOUT_TESTS, "--select", "+fct_open_times", "--vars", "recompute: true", target_path="rollup")
    with connect(changed, "mailmart_owner") as connection:
        written = connection.execute(
            "select rows_inserted, rows_expired from app.model_runs where model = 'fct_open_times' order by batch_id desc limit 1"
        ).fetchone()
    assert written == (0, 0)


def read(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return sorted(connection.execute(query.encode()).fetchall())
