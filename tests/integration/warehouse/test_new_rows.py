"""Each build reads what was loaded since the build before, all of it and nothing else, at a cost of what is new.

The costs are numbers of rows that PostgreSQL has read, not times.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import ROWS, run_dbt
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(900)

NOW = datetime.now(UTC)
MESSAGES = 2000
MAX_INDEX_ENTRIES = 20 * 3 * MESSAGES


def sent(event_id: str, **more: Any) -> Event:
    fields: dict[str, Any] = {"workspace_id": "w", "message_id": f"m_{event_id}", "campaign_id": "c", **more}
    return Event(event_id, event_type="sent", occurred_at=NOW - timedelta(days=3), **fields)


def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(statement.encode()).fetchall()


def counted(settings: Settings) -> set[str]:
    return {event for (event,) in rows(settings, "select event_id from core.fct_email_events where workspace_id = 'w'")}


def rejected(settings: Settings) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in rows(settings, "select event_id, problem from core.fct_rejected_events")}


def test_every_committed_row_is_counted_by_the_next_build_at_a_cost_of_what_is_new(built_empty: Settings) -> None:
    settings = built_empty
    with connect(settings, "mailmart_owner") as connection:
        for table in ("email_events", "webhook_payloads"):
            connection.execute(f"alter table raw.{table} set (autovacuum_enabled = off)".encode())
    # built while it was empty; then a first tenant, beside whose mail a transaction stays open
    load_events(settings, [sent("first")], NOW)
    _load_messages(settings, "tenant 1")
    before = _index_entries_read(settings)
    with connect(settings, "mailmart_owner") as loading:
        loading.execute(
            "insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at)"
            " values ('open', 'w', 'm_open', 'sent', now() - interval '3 days')"
        )
        run_dbt(settings, *ROWS)
        assert counted(settings) == {"first"}
    # a lookup by the workspace alone reads 12 million
    assert _index_entries_read(settings) - before < MAX_INDEX_ENTRIES
    assert _sorts_native_events_in_parallel(settings)

    # two days behind the newest loaded_at, one of them a copy of a known event with other content; and a second tenant
    load_events(settings, [sent("behind"), sent("first", campaign_id="other")], NOW - timedelta(days=2))
    _load_messages(settings, "tenant 2")
    _load_during_build(settings)
    _wait_for_older_transactions(settings)
    before = _index_entries_read(settings)
    run_dbt(settings, *ROWS)
    assert _index_entries_read(settings) - before < MAX_INDEX_ENTRIES
    # what was loaded during the build is not in it, neither as an event nor as a problem
    assert counted(settings) == {"first", "open", "behind"}
    assert rejected(settings) == {("first", "conflicting_duplicate")}
    assert rows(
        settings, "select sum(sent) from core.fct_campaign_days where valid_to > 1000 and workspace_id like 'tenant%'"
    ) == [(2 * MESSAGES,)]

    before = _raw_rows_read(settings)
    run_dbt(settings, *ROWS)
    assert _raw_rows_read(settings) - before < 100
    assert counted(settings) == {"first", "open", "behind", "during"}
    assert rejected(settings) == {
        ("first", "conflicting_duplicate"),
        ("behind", "conflicting_duplicate"),
        ("without message", "no_message"),
    }


def _wait_for_older_transactions(settings: Settings) -> None:
    """Waits until no transaction runs that is older than what was loaded.

    A build looks again at what was loaded since the oldest one that ran when it started. Transaction ids are of the whole server,
    which other tests use, too.
    """
    newest = rows(settings, "select pg_current_xact_id()::text")[0][0]
    oldest = f"select pg_snapshot_xmin(pg_current_snapshot()) > '{newest}'::xid8"
    wait_until(lambda: rows(settings, oldest) == [(True,)], "the end of transactions of other tests", 600)


def _sorts_native_events_in_parallel(settings: Settings) -> bool:
    """Whether a large native log can be sorted by several processes: one function that is not parallel safe prevents it."""
    with connect(settings, "mailmart_owner") as connection:
        # whatever is parallel safe as a whole is given to a worker, however small it is
        connection.execute("set debug_parallel_query = on")
        plan = connection.execute(
            "explain (costs off) select event_id from staging.int_loaded_events where provider = 'native' order by event_id"
        ).fetchall()
    return str(plan[0][0]).startswith("Gather")


def _load_during_build(settings: Settings) -> None:
    """Loads three rows in the next build, between fct_email_events and fct_rejected_events."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            """
            create function raw.load_during_build() returns trigger language plpgsql as $$
            begin
                insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at, campaign_id)
                values
                ('during', 'w', 'm_during', 'sent', now() - interval '3 days', 'c'),
                ('behind', 'w', 'm_behind', 'sent', now() - interval '3 days', 'other'),
                ('without message', 'w', null, 'sent', now() - interval '3 days', 'c');
                drop trigger load_during_build on app.model_runs;
                return new;
            end
            $$;
            create trigger load_during_build after insert on app.model_runs
            for each row when (new.model = 'fct_email_events') execute function raw.load_during_build()
            """
        )


def _load_messages(settings: Settings, workspace: str) -> None:
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            """
            insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at, campaign_id, mailbox_id)
            select
                message || kind, %(workspace)s, 'm' || message, kind, now() - interval '3 days',
                'c' || message %% 10, 'b' || message %% 30
            from generate_series(1, %(messages)s) as message, unnest(array['sent', 'delivered', 'opened']) as kind
            """,
            {"workspace": workspace, "messages": MESSAGES},
        )


def _index_entries_read(settings: Settings) -> int:
    statement = "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where schemaname = 'core' and relname like 'fct%'"
    return int(rows(settings, statement)[0][0])


def _raw_rows_read(settings: Settings) -> int:
    statement = "select sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_user_tables where schemaname = 'raw'"
    return int(rows(settings, statement)[0][0])
