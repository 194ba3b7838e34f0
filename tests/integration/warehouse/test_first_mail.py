"""A warehouse that was built while it was empty takes its first mail: nothing is done again for each row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import ROWS, run_dbt

MESSAGES = 400
# before anything is inserted, a rollup looks for the row that each new one is added to: in no pages, which costs nothing
ROLLUPS = (
    "fct_bounce_days",
    "fct_event_day_shifts",
    "fct_campaign_days",
    "fct_delay_days",
    "fct_event_days",
    "fct_link_days",
    "fct_mailbox_days",
    "fct_mailbox_health_days",
    "fct_mailbox_slots",
    "fct_message_problems",
    "fct_outcome_slots",
    "fct_provider_days",
    "fct_provider_delays",
    "fct_recipient_domain_days",
    "fct_send_slots",
    "fct_step_days",
    "fct_workspace_days",
    "fct_workspace_health_days",
    "fct_workspace_hours",
    "fct_workspace_provider_days",
    "fct_workspace_slots",
)
SCANS = "select relname, seq_scan from pg_stat_user_tables where schemaname = 'core'"


def test_no_table_is_scanned_for_each_row(empty_warehouse: Settings) -> None:
    before = scans(empty_warehouse)
    sent_at = datetime.now(UTC) - timedelta(days=1)
    # other campaigns and times, so that each rollup has as many rows
    events = [
        Event(f"e{number}", "w", f"m{number}", "sent", sent_at - timedelta(hours=number), campaign_id=f"c{number}")
        for number in range(MESSAGES)
    ]
    load_events(empty_warehouse, events, datetime.now(UTC))
    run_dbt(empty_warehouse, *ROWS)
    with connect(empty_warehouse, "mailmart_owner") as connection:
        assert connection.execute("select count(*) from core.fct_messages where workspace_id = 'w'").fetchone() == (MESSAGES,)
    after = scans(empty_warehouse)
    # the planner takes a table that was empty for one that costs nothing to scan
    repeated = {table: after[table] - before[table] - (MESSAGES if table in ROLLUPS else 0) for table in after}
    assert {table: number for table, number in repeated.items() if number >= MESSAGES // 2} == {}


def scans(settings: Settings) -> dict[str, int]:
    with connect(settings, "mailmart_owner") as connection:
        return {str(table): int(number) for table, number in connection.execute(SCANS).fetchall()}
