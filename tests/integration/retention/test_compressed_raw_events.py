"""Builds read compressed raw events if they are new to them, and every answer is what it was."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from psycopg import sql

from api.db.connection import connect
from api.settings import Settings
from tests.integration.retention.test_retention import (
    DAYS,
    EVERY,
    NOW,
    answers,
    build,
    mail,
    publish,
    retain,
    rows,
    sent_at,
    warehouse,
)
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import ROWS, WITHOUT_TESTS, run_dbt
from tests.support.postgres import PostgresServer

__all__ = ["warehouse"]

pytestmark = pytest.mark.timeout(900)

# read by the database's statistics when the session that has read it is over
BLOCKS_READ = """
    select pg_stat_get_blocks_fetched(reltoastrelid) from pg_class where oid = 'app.compressed_raw_events'::regclass
"""


def compress(settings: Settings) -> int:
    """Compresses raw events alone: what builds read is compared with core."""
    ((compressed,),) = rows(
        settings, "select compressed from app.compress_raw_events('production', clock_timestamp() - interval '1 day', 5000)"
    )
    return int(compressed)


def core(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """The current rows of every model of core, without their batches."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with connect(settings, "mailmart_owner") as connection:
        for model in current_rows.VERSIONED:
            query = sql.SQL("select * from {} where valid_to = {}").format(
                sql.Identifier(settings.schema("core"), model), sql.Literal(current_rows.OPEN_ENDED)
            )
            found[model] = sorted((row[:-2] for row in connection.execute(query)), key=repr)
    return found


def compiled(settings: Settings, model: str) -> str:
    (path,) = settings.home.glob(f"target/compiled/*/models/core/{model}.sql")
    return path.read_text()


def test_every_answer_stays_in_every_warehouse(warehouse: Settings, server: PostgresServer) -> None:
    developer = dataclasses.replace(warehouse, target="dev")
    before, shown = core(warehouse), answers(warehouse)
    # the row of the future is not old yet: no build began a day ago
    assert compress(warehouse) == len(mail(1)) * (DAYS - 1) + len(mail(1)) + 1
    assert rows(warehouse, "select event_id from raw.email_events order by 1") == [("click",), ("future",)]
    assert answers(warehouse) == shown

    # an incremental build of production does not look at the blocks
    run_dbt(warehouse, *ROWS, keeps_sql=True)
    for model in ("fct_email_events", "fct_rejected_events"):
        assert "compressed" not in compiled(warehouse, model)
    assert core(warehouse) == before
    build(warehouse, "--vars", "recompute: true")
    assert core(warehouse) == before
    assert set(current_rows.written_by_last_batch(warehouse).values()) == {(0, 0)}

    # a first build reads blocks and rows
    ((database,),) = rows(warehouse, "select quote_ident(current_database())")
    with server.as_superuser() as superuser:
        # a copy of a database has not the privileges of its original
        superuser.execute(f"grant create on database {database} to mailmart_owner".encode())
    run_dbt(developer, *WITHOUT_TESTS)
    assert core(developer) == before

    # rows that only production has read are compressed, with a conflicting copy of a compressed one
    load_events(warehouse, [Event(f"late{number}", "w", "m2_1", "opened", NOW, "c0") for number in range(20)], sent_at(2))
    load_events(warehouse, [Event("m3_1_sent", "w", "m3_1", "sent", sent_at(3), "c7")], sent_at(2))
    build(warehouse)
    publish(warehouse)
    after = core(warehouse)
    assert after != before
    assert compress(warehouse) == 21
    run_dbt(developer, *ROWS, keeps_sql=True)
    assert core(developer) == after
    # its SQL does not depend on what is compressed when it is made: rows can be compressed until it runs
    found = re.search(r"native_events as .*?materialized \(\n(.*?)\n\),", compiled(developer, "fct_email_events"), re.DOTALL)
    assert found is not None
    assert rows(warehouse, f"select count(*) from ({found[1]}) as native_events") == [(21,)]

    # nothing is new: the developer's build asks, and unpacks nothing
    (unpacked,) = rows(warehouse, BLOCKS_READ)
    run_dbt(developer, *ROWS, keeps_sql=True)
    assert "app.has_new_compressed_events" in compiled(developer, "fct_email_events")
    assert rows(warehouse, BLOCKS_READ) == [unpacked]
    assert core(developer) == after

    # in another database system, after a restore, everything is read again
    rows(warehouse, "update app.batches set system_identifier = 1 returning 1")
    build(warehouse)
    assert core(warehouse) == after


def test_retention_removes_the_same_rows(warehouse: Settings) -> None:
    assert compress(warehouse) > 0
    before = answers(warehouse)
    removed = retain(warehouse, **EVERY)
    # as without compression: test_retention
    assert removed == {
        "email_events": 41,
        "webhook_payloads": 5,
        "rejected_payloads": 5,
        "fct_email_events": removed["fct_email_events"],
        "fct_rejected_events": removed["fct_rejected_events"],
        "fct_messages": 15,
    }
    ((kept,),) = rows(warehouse, "select min(loaded_at) from raw.compressed_email_events")
    assert (NOW - kept).days == 2
    assert answers(warehouse) == before
    build(warehouse, "--vars", "recompute: true")
    assert answers(warehouse)["fct_campaign_days"] == before["fct_campaign_days"]
