"""Answers from a real streaming replica: of a batch that it has, and from the primary whenever it does not."""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg.conninfo import conninfo_to_dict
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.contract.publication import read_publication
from api.db.connection import connect
from api.db.replica import ReplicaPool, RoutedPool
from api.db.request_context import AS_OF, WORKSPACE_ID
from api.exports.attempt import run_attempt
from api.exports.storage import storage_of
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.support.postgres import PostgresServer
from tests.support.replica import Replica, streaming_pair
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

MAX_LAG_SECONDS = 3
# an unreachable or frozen replica costs a request so much, beside the request itself
MAX_SECONDS = 10.0
OVERVIEW = f"{WORKSPACE}/analytics/overview"
PATHS = (
    OVERVIEW,
    f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics",
    f"{WORKSPACE}/analytics/deliverability",
    f"{WORKSPACE}/analytics/engagement-heatmap",
    f"{WORKSPACE}/analytics/data-quality",
)
PUBLISH = """
    with next_batch as (
        insert into app.batches (target, invocation_id, command, status)
        values ('production', gen_random_uuid()::text, 'build', 'published')
        returning batch_id
    ),
    next_publication as (
        insert into app.publications (target, batch_id, data_as_of, contract)
        select 'production', next_batch.batch_id, clock_timestamp(), publications.contract
        from next_batch, app.current_publication inner join app.publications using (target, batch_id)
        returning batch_id
    )
    update app.current_publication set batch_id = next_publication.batch_id from next_publication
"""


@pytest.fixture(scope="module")
def pair(warehouse_settings: Settings, server: PostgresServer) -> Iterator[tuple[Settings, Replica]]:
    with streaming_pair(warehouse_settings, server.superuser) as (settings, replica):
        yield dataclasses.replace(settings, read_max_lag_seconds=MAX_LAG_SECONDS), replica


@pytest.fixture(scope="module")
def replicated(pair: tuple[Settings, Replica]) -> Settings:
    return pair[0]


@pytest.fixture
def replica(pair: tuple[Settings, Replica]) -> Replica:
    """The replica; it has to respond and to be level again before the next test."""
    _, replica = pair
    replica.catch_up()
    return replica


@pytest.fixture(scope="module")
def service(replicated: Settings) -> Iterator[WsgiApp]:
    app = WsgiApp(replicated)
    yield app
    app.close()


@pytest.fixture(scope="module")
def caller(replicated: Settings, service: WsgiApp) -> Caller:
    return Caller(Client(service), create_key(replicated, WORKSPACE, name="replica", scopes=("read", "export")))


def reads(server: str) -> float:
    return REGISTRY.get_sample_value("mailmart_reads_total", {"server": server}) or 0.0


def fallbacks(reason: str) -> float:
    return REGISTRY.get_sample_value("mailmart_replica_fallbacks_total", {"reason": reason}) or 0.0


def is_read_from_replica(caller: Caller) -> bool:
    before = reads("replica")
    assert caller.get(OVERVIEW).status_code == 200
    return reads("replica") > before


def wait_for_replica(caller: Caller) -> None:
    wait_until(lambda: is_read_from_replica(caller), "the replica answers")


def as_of(caller: Caller) -> str:
    response = caller.get(OVERVIEW)
    assert response.status_code == 200, response.text
    moment: str = response.get_json()["meta"]["data_as_of"]
    return moment


def on_primary(settings: Settings, statement: str) -> None:
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(statement.encode())


def test_answers_are_those_of_the_primary(replicated: Settings, replica: Replica, caller: Caller) -> None:
    primary = WsgiApp(dataclasses.replace(replicated, read_database_url=None))
    try:
        wait_for_replica(caller)
        before = reads("replica")
        for path in PATHS:
            expected = Caller(Client(primary), caller.key).get(path)
            assert expected.status_code == 200
            # twice: the second time the statements are prepared
            for _ in range(2):
                answer = caller.get(path)
                assert answer.get_json() == expected.get_json()
                assert answer.headers["ETag"] == expected.headers["ETag"]
        assert reads("replica") == before + 2 * len(PATHS)
        # of no batch: the state of now
        live = fallbacks("live")
        assert caller.get(f"{WORKSPACE}/analytics/freshness").status_code == 200
        assert fallbacks("live") == live + 1
    finally:
        primary.close()


def test_tenants_are_separated_on_the_replica(replicated: Settings, replica: Replica) -> None:
    with connect(replicated, "mailmart_owner") as connection:
        publication = read_publication(connection, "production")
    assert publication is not None
    pool = ReplicaPool(replicated)
    pool.open()
    try:
        counts = {}
        for workspace in (WORKSPACE, OTHER_WORKSPACE, "ws_nobody"):
            statements = [
                (
                    "select pg_is_in_recovery(), current_user::text, current_setting('row_security'),"
                    " current_setting('lock_timeout')"
                ),
                "select count(*)::int, count(distinct workspace_id)::int from core.fct_messages",
            ]
            settings = {WORKSPACE_ID: workspace, AS_OF: str(publication.batch_id)}
            for _ in range(2):
                facts, (counts[workspace],) = pool.query(settings, statements)
                assert facts == [(True, "mailmart_api", "on", "1s")]
        assert counts == {WORKSPACE: (5001, 1), OTHER_WORKSPACE: (10, 1), "ws_nobody": (0, 0)}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pool.query({WORKSPACE_ID: WORKSPACE, AS_OF: "1"}, ["select * from raw.email_events"])
    finally:
        pool.close()


def test_lag(replicated: Settings, replica: Replica, caller: Caller) -> None:
    """The batch before is served until the replica has the new one, and after some seconds the new one by the primary."""
    wait_for_replica(caller)
    old = as_of(caller)
    replica.execute("select pg_wal_replay_pause()")
    try:
        on_primary(replicated, PUBLISH)
        # the publication is looked up once a second
        time.sleep(1.2)
        began = time.monotonic()
        before = reads("replica")
        assert as_of(caller) == old
        assert reads("replica") == before + 1
        behind = fallbacks("behind")
        wait_until(lambda: as_of(caller) > old, "the primary answers", MAX_LAG_SECONDS + 5)
        assert time.monotonic() - began >= MAX_LAG_SECONDS - 2
        new = as_of(caller)
        assert fallbacks("behind") > behind
    finally:
        replica.execute("select pg_wal_replay_resume()")
    wait_for_replica(caller)
    assert as_of(caller) == new


def test_a_delayed_replica_takes_over_each_batch(replicated: Settings, replica: Replica, caller: Caller) -> None:
    replica.execute("alter system set recovery_min_apply_delay = '1500ms'")
    replica.execute("select pg_reload_conf()")
    try:
        wait_for_replica(caller)
        old, primary = as_of(caller), reads("primary")
        on_primary(replicated, PUBLISH)
        wait_until(lambda: as_of(caller) > old, "the new batch is served")
        # within the time that a replica may be late: the primary had nothing to answer
        assert reads("primary") == primary
    finally:
        replica.execute("alter system reset recovery_min_apply_delay")
        replica.execute("select pg_reload_conf()")


def test_an_erasure_and_a_rollback_do_not_wait(replicated: Settings, replica: Replica, caller: Caller) -> None:
    wait_for_replica(caller)
    new = as_of(caller)
    replica.execute("select pg_wal_replay_pause()")
    try:
        on_primary(replicated, "update app.current_publication set revision = revision + 1")
        time.sleep(1.2)
        assert not is_read_from_replica(caller)
    finally:
        replica.execute("select pg_wal_replay_resume()")
    wait_for_replica(caller)
    replica.execute("select pg_wal_replay_pause()")
    try:
        on_primary(
            replicated,
            "update app.current_publication set batch_id ="
            " (select max(batch_id) from app.publications where batch_id < current_publication.batch_id)",
        )
        time.sleep(1.2)
        assert as_of(caller) < new
    finally:
        replica.execute("select pg_wal_replay_resume()")
    wait_for_replica(caller)


def test_a_query_that_the_replay_cancels_is_asked_on_the_primary(replicated: Settings, replica: Replica, caller: Caller) -> None:
    wait_for_replica(caller)
    with connect(replicated, "mailmart_owner") as connection:
        publication = read_publication(connection, "production")
        connection.execute("create table if not exists marts_served.removed_rows as select 1 as number")
        connection.execute("grant select on marts_served.removed_rows to mailmart_api")
    assert publication is not None
    replica.catch_up()
    pool = RoutedPool(replicated)
    pool.open()
    try:
        assert pool.replica is not None
        pool.replica.expect(publication.batch_id, publication.data_as_of, publication.revision)
        settings = {WORKSPACE_ID: WORKSPACE, AS_OF: str(publication.batch_id)}
        wait_until(lambda: not pool.replica.why_not(publication.batch_id), "the replica responds")  # type: ignore[union-attr]
        query = "select pg_is_in_recovery(), (select count(*) from marts_served.removed_rows), pg_sleep(2)"
        results: list[Any] = []
        reader = threading.Thread(target=lambda: results.extend(pool.query(settings, [query])))
        reader.start()
        time.sleep(0.7)
        # the replay of this lock cancels whoever reads the table
        on_primary(replicated, "alter table marts_served.removed_rows add column another int")
        reader.join(30)
        ((is_replica, count, _),) = results[0]
        assert (is_replica, count) == (False, 1)
        # it goes on there
        assert pool.query(settings, ["select pg_is_in_recovery()"]) == [[(True,)]]
    finally:
        pool.close()
        on_primary(replicated, "drop table marts_served.removed_rows")


def test_a_killed_and_a_frozen_replica(replicated: Settings, replica: Replica, caller: Caller) -> None:
    wait_for_replica(caller)
    expected = caller.get(OVERVIEW).get_json()

    def timed() -> float:
        began = time.monotonic()
        answer = caller.get(OVERVIEW)
        assert (answer.status_code, answer.get_json()) == (200, expected)
        return time.monotonic() - began

    with ThreadPoolExecutor(4) as clients:
        for end, begin in (
            (replica.stop, replica.start),
            (lambda: replica.signal(signal.SIGSTOP), lambda: replica.signal(signal.SIGCONT)),
        ):
            unreachable = fallbacks("unreachable")
            running = [clients.submit(lambda: [timed() for _ in range(40)]) for _ in range(4)]
            time.sleep(0.05)
            end()
            try:
                assert max(seconds for future in running for seconds in future.result()) < MAX_SECONDS
                wait_until(lambda: not is_read_from_replica(caller), "the replica is not used")
                # then a request does not notice it
                assert timed() < MAX_SECONDS / 2
                assert fallbacks("unreachable") > unreachable
            finally:
                begin()
            wait_for_replica(caller)


def test_another_server_is_not_used(
    replicated: Settings, warehouse_settings: Settings, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    for url, problem in (
        (replicated.database_url, "not in recovery"),
        (warehouse_settings.database_url, "another database"),
    ):
        app = WsgiApp(dataclasses.replace(replicated, read_database_url=url))
        caplog.clear()
        try:
            with caplog.at_level(logging.WARNING):
                wait_until(lambda problem=problem: problem in caplog.text, f"the log says: {problem}", 10)  # type: ignore[misc]
            before = reads("replica")
            assert Caller(Client(app), caller.key).get(OVERVIEW).status_code == 200
            assert reads("replica") == before
        finally:
            app.close()
    assert str(conninfo_to_dict(str(replicated.database_url))["password"]) not in caplog.text


def test_an_export_is_read_from_the_replica(
    replicated: Settings, replica: Replica, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"export_type": "campaign_performance", "format": "csv"}

    def export() -> tuple[int, str, str]:
        """Rows, checksum and log of an export."""
        response = caller.client.post(
            f"/api/v1/workspaces/{WORKSPACE}/analytics/export", json=body, headers={"Authorization": f"Bearer {caller.key}"}
        )
        assert response.status_code == 202, response.text
        caplog.clear()
        with caplog.at_level(logging.INFO):
            outcome = run_attempt(
                replicated, storage_of(replicated), response.get_json()["data"]["export_id"], lambda: False, lambda *_: None
            )
        assert outcome is not None
        assert outcome.file is not None
        return outcome.file.rows, outcome.file.sha256, caplog.text

    wait_for_replica(caller)
    rows, checksum, log = export()
    assert rows > 0
    assert "is read from the replica" in log

    replica.execute("select pg_wal_replay_pause()")
    try:
        on_primary(replicated, PUBLISH)
        *result, log = export()
        assert result == [rows, checksum]
        assert "does not have the publication" in log
    finally:
        replica.execute("select pg_wal_replay_resume()")

    replica.stop()
    try:
        *result, log = export()
        assert result == [rows, checksum]
        assert "is read from the primary" in log
    finally:
        replica.start()
