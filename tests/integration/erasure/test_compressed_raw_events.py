"""Erasures reach compressed raw events, and change in them what they change in the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.erasure.conftest import Tenants
from tests.integration.erasure.mail import LOWER, NAMESAKE, OTHER, PERSON, SENT_AT, TENANT, TRACES, URL, load_mail
from tests.integration.erasure.search import answers, counts, tables_with
from tests.integration.erasure.test_recipient import CORE
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt
from tests.support.postgres import PostgresServer

BLOCKS = "app.compressed_raw_events"
STRANGERS = "ws_strangers"
BLOCKS_OF_STRANGERS = f"select xmin::text, block_id from {BLOCKS} where workspace_id = '{STRANGERS}' order by 2"


def _load(settings: Settings, workspace: str, key: str, events: int, **columns: str | None) -> None:
    """Events of other people, or of whom the columns name."""
    row = {"event_type": "sent", "recipient_hash": "b0b", "message_id": key, **columns}
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            f"insert into raw.email_events (event_id, workspace_id, occurred_at, {', '.join(row)})"
            f" select %s || number, %s, %s, {', '.join(['%s'] * len(row))} from generate_series(1, %s) as number",
            (f"{key} {row['event_type']} ", workspace, SENT_AT + timedelta(seconds=60), *row.values(), events),
        )


def _load_compressed_mail(settings: Settings) -> None:
    """All native events of that mail are in blocks, and what is loaded later is in the log: of messages that are in both."""
    for workspace in (TENANT, OTHER, STRANGERS):
        _load(settings, workspace, "s", 30)
    for workspace in (TENANT, OTHER):
        _load(settings, workspace, "in-both", 1, event_type="clicked", recipient_hash=None, url=URL)
    load_mail(settings)
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("select app.compress_raw_events('production', clock_timestamp(), 100000)")
        assert connection.execute("select count(*) from raw.email_events").fetchone() == (0,)
    for workspace in (TENANT, OTHER):
        _load(settings, workspace, "in-both", 1, recipient_hash=PERSON)
        _load(settings, workspace, "n-3", 1, event_type="opened", recipient_hash=None, user_agent="JanesPhone/7.0")
    run_dbt(settings, *WITHOUT_UNIT_TESTS)


@pytest.fixture
def tenants(make_warehouse: MakeWarehouse) -> Iterator[Tenants]:
    settings = make_warehouse("erasure_compressed", _load_compressed_mail)
    service = WsgiApp(settings)
    keys = {workspace: create_key(settings, workspace, name="k", scopes=("read",)) for workspace in (TENANT, OTHER)}
    yield Tenants(settings, Client(service), keys)
    service.close()


def test_nothing_of_a_person_is_left(tenants: Tenants, server: PostgresServer) -> None:
    settings = tenants.settings
    with connect(settings, "mailmart_owner") as connection:
        hashes = connection.execute(
            "select app.recipient_hash(spelling) from unnest(%s::text[]) as spelling", ([PERSON, f"{PERSON} (Jane Doe)"],)
        ).fetchall()
        size = connection.execute(f"select sum(row_count) from {BLOCKS}".encode()).fetchone()
        strangers = connection.execute(BLOCKS_OF_STRANGERS.encode()).fetchall()
        # of what would be read again if it had the id of another transaction
        loaded = connection.execute("select workspace_id, loaded_at, loaded_xid from raw.compressed_email_events").fetchall()
    traces = (*TRACES, *(str(value) for (value,) in hashes))
    before = counts(settings)
    shown = {workspace: list(answers(tenants.client, tenants.keys[workspace], workspace)) for workspace in (TENANT, OTHER)}
    found = tables_with(server, settings, traces)
    assert {LOWER, "private-page", "jane d. of accounting", str(hashes[0][0])} <= {
        trace for trace, table in found if table == BLOCKS
    }

    assert "would be erased" in tenants.erase("--recipient", PERSON, "--dry-run")
    assert tables_with(server, settings, traces) == found
    output = tenants.erase("--recipient", PERSON, "--yes")
    assert BLOCKS in output
    assert "raw.email_events" in output

    assert tables_with(server, settings, traces, ignored=NAMESAKE) == set()
    assert counts(settings) == before
    for workspace, responses in shown.items():
        assert list(answers(tenants.client, tenants.keys[workspace], workspace)) == responses
    with connect(settings, "mailmart_owner") as connection:
        assert connection.execute(f"select sum(row_count) from {BLOCKS}".encode()).fetchone() == size
        assert connection.execute(BLOCKS_OF_STRANGERS.encode()).fetchall() == strangers
        still = connection.execute("select workspace_id, loaded_at, loaded_xid from raw.compressed_email_events").fetchall()
        assert sorted(still) == sorted(loaded)
    assert "nothing was changed" in tenants.erase("--recipient", PERSON, "--yes")
    run_dbt(settings, *CORE)
    assert counts(settings) == before
    run_dbt(settings, *CORE, "--vars", "{recompute: true}")
    assert counts(settings) == before
    assert tables_with(server, settings, traces, ignored=NAMESAKE) == set()


def test_an_erasure_of_one_workspace_leaves_the_blocks_of_others(tenants: Tenants, server: PostgresServer) -> None:
    settings = tenants.settings
    tenants.erase("--recipient", PERSON, "--workspace", TENANT, "--yes")
    with connect(settings, "mailmart_owner") as connection:
        named = "select distinct workspace_id from raw.compressed_email_events where recipient_hash = %s"
        assert connection.execute(named.encode(), (PERSON,)).fetchall() == [(OTHER,)]


def test_nothing_of_a_workspace_is_left(tenants: Tenants, server: PostgresServer) -> None:
    settings = tenants.settings
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(f"select sum(row_count) from {BLOCKS} where workspace_id = %s".encode(), (TENANT,)).fetchone()
    assert rows is not None
    for arguments in (("--dry-run",), ("--yes",)):
        assert re.search(rf"{BLOCKS}\D+{rows[0]}\b", tenants.erase("--workspace", TENANT, *arguments))
    assert (TENANT, BLOCKS) not in tables_with(server, settings, [TENANT])
    with connect(settings, "mailmart_owner") as connection:
        assert connection.execute(f"select count(*) > 0 from {BLOCKS} where workspace_id = %s".encode(), (OTHER,)).fetchone() == (
            True,
        )
