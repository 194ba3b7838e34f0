"""Data tests that protect an analyst's new metric: a rate over 100 %, a measure that old days do not have, two rows of a day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt
from tests.support.project_copy import copied_project, edit_project

BUILD = (*WITHOUT_UNIT_TESTS, "--select", "+campaign_performance")
RATE = "'sent_per_bounce': {'numerator': 'sent', 'denominator': 'bounced'},\n"
RATIO = RATE.replace("},", ", 'can_exceed_100': true},")
LAST_RATE = "        'estimated_inbox_placement_rate'"
MESSAGES = 20


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Settings:
    """A copy of the project with a rate whose numerator is no part of its denominator, and mail: 2,000 % of it."""
    now = datetime.now(UTC)
    events = [
        Event(f"{event_type}{number}", "w", f"m{number}", event_type, now - timedelta(days=2), campaign_id="c")
        for number in range(MESSAGES)
        for event_type in ("sent", "bounced" if number == 0 else "delivered")
    ]
    load_events(settings, events, now - timedelta(hours=1))
    changed = copied_project(settings, tmp_path / "project")
    edit_project(changed, "macros/metrics/rates.sql", LAST_RATE, "        " + RATE + LAST_RATE)
    mart = "models/marts/campaign/campaign_performance.sql"
    edit_project(
        changed,
        mart,
        "+ ['human_coverage']) }}\n",
        "+ ['human_coverage', 'sent_per_bounce']) }}\n",
    )
    yaml = "models/marts/campaign/_campaign__models.yml"
    column = "      - {name: sent_per_bounce, data_type: 'numeric(18, 2)', description: A ratio.}\n"
    edit_project(changed, yaml, "\n  - name: campaign_series\n", f"{column}\n  - name: campaign_series\n")
    return changed


@pytest.mark.timeout(900)
def test_a_new_metric_is_right_or_reported(project: Settings) -> None:
    refused = run_dbt(project, *BUILD, check=False)
    assert refused.returncode != 0
    sentence = "sent_per_bounce exceeds 100 %: rows of fct_campaign_days with sent > bounced: 1."
    assert sentence in refused.stdout
    with connect(project, "mailmart_owner") as connection:
        summary = connection.execute("select failure_summary from app.batches order by batch_id desc limit 1").fetchone()
    assert summary is not None
    assert sentence in summary[0]

    # the same ratio, declared, and a measure that the days built before do not have
    edit_project(project, "macros/metrics/rates.sql", RATE, RATIO)
    measure = "            'pairs': {'sum': '2', 'data_type': 'bigint'},\n"
    last = "            'human_clicked': {'count_if': 'is_human_clicked'},\n"
    edit_project(project, "models/core/fct_campaign_days.sql", last, last + measure)
    yaml = "models/core/_core__models.yml"
    column = "      - &human_clicked {name: human_clicked, data_type: integer, description: \"{{ doc('human_clicked') }}\"}\n"
    edit_project(project, yaml, column, column + "      - {name: pairs, data_type: bigint, description: A measure.}\n")
    built = run_dbt(project, *BUILD)
    assert "pairs of fct_campaign_days has no value in old rows" in built.stdout
    assert "mailmart build --vars '{recompute: true}'" in built.stdout
    with connect(project, "mailmart_owner") as connection:
        ratio = connection.execute("select sent_per_bounce from marts.campaign_performance").fetchall()
    assert ratio == [(100 * MESSAGES,)]

    backfilled = run_dbt(project, *BUILD, "--vars", "recompute: true")
    assert "no value in old rows" not in backfilled.stdout

    # without the unique index of the current rows, the data test finds what it would have kept out
    columns = "workspace_id, campaign_id, mailbox_id, domain_id, sent_date, sent, valid_from, valid_to"
    with connect(project, "mailmart_owner") as connection:
        connection.execute("drop index core.fct_campaign_days_current")
        connection.execute(f"insert into core.fct_campaign_days ({columns}) select {columns} from core.fct_campaign_days")
    test = "one_version_at_a_time_fct_campaign_days_"
    tested = run_dbt(project, "test", "--target", "production", "--select", test, check=False)
    assert re.search(rf"FAIL \d+ {test}", tested.stdout), tested.stdout
