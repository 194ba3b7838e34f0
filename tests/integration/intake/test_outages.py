"""What gets 200 is stored once, and everything else gets an error that makes the provider send again."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from api.auth.rate_limit import RateLimiter
from api.db.connection import connect
from api.intake.batch_store import BatchNotConfirmed, BatchStore, Body
from api.intake.source_counts import SourceCounts
from api.intake.sources import create_source
from api.intake.writer import CONNECTIONS, Delivery, Rejection, Writer
from api.server.intake import POOL_SIZE
from api.settings import Settings
from tests.integration.conftest import MakeDatabase
from tests.integration.intake.conftest import WORKSPACE, Sources, source_id
from tests.integration.intake.load import Load, end_sessions
from tests.integration.intake.running import receiving
from tests.support.pgbouncer import needs_pgbouncer, pooled
from tests.support.waiting import wait_until

CLIENTS = 16


def test_concurrent_bodies_share_commits_and_a_bad_one_fails_alone(settings: Settings, tmp_path: Path) -> None:
    sources = Sources(settings)
    path = sources.path(requests_per_minute=1_000_000)
    with connect(settings, "mailmart_owner") as connection:
        # an error of the data that only PostgreSQL knows
        connection.execute("alter table raw.webhook_payloads add check (not payload @> '[{\"poison\": true}]')")
    with receiving(settings, tmp_path / "log", workers=2) as intake:
        load = Load(intake.port, path, clients=CLIENTS, requests=20, poison_every=7)
        load.run()
    assert load.statuses == Counter({200: 20 * CLIENTS - load.poisoned, 400: load.poisoned})
    assert load.stored(settings) == load.accepted
    reasons = {reason for _, reason, _ in sources.rejected(path)}
    assert all("violates check constraint" in reason for reason in reasons), reasons
    assert len(sources.rejected(path)) == load.poisoned
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute("select bodies, rejected from app.webhook_sources").fetchone()
    assert row == (20 * CLIENTS - load.poisoned, load.poisoned)


def test_lost_connections(settings: Settings, tmp_path: Path) -> None:
    path = Sources(settings).path(requests_per_minute=1_000_000)
    with receiving(settings, tmp_path / "log") as intake:
        load = Load(intake.port, path, clients=CLIENTS, requests=15)
        load.start()
        while load.is_running:
            end_sessions(settings)
            time.sleep(0.02)
        load.join()
    assert set(load.statuses) <= {200, 503}, load.statuses
    assert load.statuses[200] > 0
    # exactly: a batch whose connection was lost is stored once
    assert load.stored(settings) == load.accepted


def test_a_batch_that_comes_again_is_stored_once(settings: Settings) -> None:
    token = create_source(settings, WORKSPACE, "sendgrid")
    bodies = [Body(source_id(f"/{token}"), '[{"a": 1}]'), Body(source_id(f"/{token}"), "nonsense")]
    store = "select line, problem from app.store_webhook_bodies(%s, 7, %s, %s, %s::text[], %s::text[])"
    params = (
        "00000000-0000-0000-0000-000000000001",
        [body.source_id for body in bodies],
        [body.text for body in bodies],
        [None, None],
        [None, None],
    )
    with connect(settings, "mailmart_intake") as first, connect(settings, "mailmart_intake") as second:
        results: list[object] = [first.execute(store, params).fetchall()]
        waiting = threading.Thread(target=lambda: results.append(second.execute(store, params).fetchall()))
        waiting.start()
        first.commit()
        waiting.join(30)
        assert results == [[(2, "unreadable_body")]] * 2
    assert [rejection.problem for rejection in asyncio.run(_store(settings, bodies))] == ["unreadable_body"]
    with connect(settings, "mailmart_owner") as connection:
        assert connection.execute("select count(*) from raw.webhook_payloads").fetchone() == (2,)
        assert connection.execute("select count(*) from raw.rejected_payloads").fetchone() == (1,)


def test_a_batch_without_permission_is_not_stored(settings: Settings) -> None:
    """PostgreSQL has stored it by then, and not committed it."""
    token = create_source(settings, WORKSPACE, "sendgrid")
    stored = "select count(*), (select count(*) from app.intake_batches) from raw.webhook_payloads"

    async def main(owner: psycopg.Connection) -> None:
        store = BatchStore(settings)

        async def run(permission: bool | type[Exception], text: str = "[]") -> object:
            async def permit() -> bool:
                # the statement has ended, or failed
                await asyncio.sleep(0.1)
                assert owner.execute(stored).fetchone() == before
                if isinstance(permission, bool):
                    return permission
                raise permission

            before = owner.execute(stored).fetchone()
            return await store.store([Body(source_id(f"/{token}"), text)], reconnect_seconds=5, permission=permit)

        assert await run(True) == []
        assert await run(False) is None
        with pytest.raises(ZeroDivisionError):
            await run(ZeroDivisionError)
        assert await run(False, "nonsense") is None
        assert await run(True) == []
        store.close()

    with connect(settings, "mailmart_owner", autocommit=True) as owner:
        asyncio.run(main(owner))
        assert owner.execute(stored).fetchone() == (2, 2)


def test_a_function_that_is_replaced_or_revoked(settings: Settings) -> None:
    """Its plan is kept by the session, which then has another one."""
    token = create_source(settings, WORKSPACE, "sendgrid")
    function = "app.store_webhook_bodies(uuid, bigint, text[], text[], text[], text[])"

    async def main(owner: psycopg.Connection) -> None:
        store = BatchStore(settings)

        async def run() -> object:
            return await store.store([Body(source_id(f"/{token}"), "[]")], reconnect_seconds=5)

        assert await run() == []
        owner.execute(f"alter function {function} cost 200")
        assert await run() == []
        owner.execute(f"revoke execute on function {function} from mailmart_intake")
        with pytest.raises(BatchNotConfirmed):
            await run()
        owner.execute(f"grant execute on function {function} to mailmart_intake")
        assert await run() == []
        store.close()

    with connect(settings, "mailmart_owner", autocommit=True) as owner:
        asyncio.run(main(owner))
        assert owner.execute("select count(*) from raw.webhook_payloads").fetchone() == (3,)


async def _store(settings: Settings, bodies: list[Body]) -> Sequence[Rejection]:
    writer = Writer([BatchStore(settings)], SourceCounts(), RateLimiter(settings))
    try:
        return await writer.store(Delivery(bodies))
    finally:
        writer.close()


def test_a_table_that_is_locked(settings: Settings, tmp_path: Path) -> None:
    path = Sources(settings).path()
    with receiving(settings, tmp_path / "log") as intake:
        with connect(settings, "mailmart_owner") as connection:
            connection.execute("lock table raw.webhook_payloads in exclusive mode")
            response = intake.post(path, [{"n": 1}])
            assert response.status == 503
            assert int(response.headers["retry-after"]) > 0
            connection.rollback()
        wait_until(lambda: intake.post(path, [{"n": 2}]).status == 200, "it is accepted")


def test_counts_wait_for_a_lock_and_bodies_do_not(settings: Settings, tmp_path: Path) -> None:
    path = Sources(settings).path()
    posted = Counter[int]()

    def is_delayed() -> bool:
        posted[intake.post(path, [{"n": 1}]).status] += 1
        return "counts of sources are written later" in intake.log.read_text()

    def counted() -> tuple[int, ...] | None:
        return connection.execute("select bodies from app.webhook_sources").fetchone()

    with receiving(settings, tmp_path / "log") as intake, connect(settings, "mailmart_owner", autocommit=True) as connection:
        with connect(settings, "mailmart_owner") as erasure:
            erasure.execute("select from app.webhook_sources for update")
            wait_until(is_delayed, "the counts are tried")
        wait_until(lambda: counted() == (posted.total(),), "the counts are written")
    assert set(posted) == {200}
    assert "cannot be stored" not in intake.log.read_text()
    assert "unavailable" not in intake.log.read_text()


def test_a_database_that_is_not_migrated(empty_database: MakeDatabase, tmp_path: Path) -> None:
    settings = empty_database()
    with receiving(settings, tmp_path / "log", wait=False) as intake:
        assert intake.request("GET", "/healthz").status == 200
        assert intake.request("GET", "/readyz").status == 503
        response = intake.post(f"/intake/sendgrid/{'0' * 12}_{'a' * 43}", [])
        assert response.status == 503
        assert int(response.headers["retry-after"]) > 0


def test_sigterm_under_load(settings: Settings, tmp_path: Path) -> None:
    path = Sources(settings).path(requests_per_minute=1_000_000)
    with receiving(settings, tmp_path / "log") as intake:
        load = Load(intake.port, path, clients=CLIENTS, requests=10_000)
        load.start()
        load.wait_for_accepted(50)
        intake.process.send_signal(signal.SIGTERM)
        assert intake.process.wait(40) == 0, intake.log.read_text()
        load.join()
    assert set(load.statuses) <= {200, 503, 0}
    stored = load.stored(settings)
    # of a connection that was closed nobody knows
    assert load.accepted - stored == Counter()
    # what waited to be logged was written at the end
    assert intake.log.read_text().count('"outcome":"stored"') >= load.statuses[200]


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_behind_a_pooler(mode: str, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = Sources(settings).path(requests_per_minute=1_000_000)
    database = psycopg.conninfo.conninfo_to_dict(str(settings.database_url))
    with connect(settings, None, autocommit=True) as connection:
        connection.execute(
            psycopg.sql.SQL("alter role {} in database {} reset all").format(
                psycopg.sql.Identifier(str(database["user"])), psycopg.sql.Identifier(str(database["dbname"]))
            )
        )
    # in session mode, each connection that is open has a session of the server, whether it is used or not
    pool_size = 2 if mode == "transaction" else POOL_SIZE + CONNECTIONS
    with pooled(settings, mode=mode, pool_size=pool_size) as behind, receiving(behind, tmp_path / "log") as intake:
        load = Load(intake.port, path, clients=4, requests=10)
        load.run()
    assert load.statuses == Counter({200: 40})
    assert load.stored(settings) == load.accepted
