"""A warehouse whose core is distributed over the nodes of a Citus cluster has the same rows, answers and exports as a plain one.

It runs where MAILMART_TEST_CITUS_URL is set (tests/support/citus.py). What is not of Citus alone is tested by the other tests, on
such a cluster with MAILMART_TEST_SERVER and MAILMART_TEST_DISTRIBUTED=1.
"""

from __future__ import annotations

import dataclasses
import os
import random
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.citus import distribute_core
from api.db.citus_queries import ServedQueries
from api.db.connection import connect
from api.db.migrate import migrate
from api.errors import MailmartError
from api.exports.attempt import run_attempt
from api.exports.storage import storage_of
from api.intake.sources import create_source
from api.reports.run_repository import export_ended
from api.server.app import WsgiApp
from api.settings import Settings
from api.tools.bench.other_server import CONTENT
from tests.integration.conftest import MakeDatabase
from tests.integration.platform.citus_installation import installation
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import random_events
from tests.integration.warehouse.loading import load_events
from tests.support import citus as cluster
from tests.support.command import mailmart
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt
from tests.support.waiting import wait_for_waiting, wait_until

needs_citus = pytest.mark.skipif(cluster.VARIABLE not in os.environ, reason=f"{cluster.VARIABLE} is not set")
NAME = "mailmart_citus"
NOW = datetime.now(UTC)
WINDOW = "timeRange=90d"
PATHS = (
    f"campaigns/w-c1/analytics?{WINDOW}",
    f"campaigns/w-c1/links?{WINDOW}",
    f"campaigns/w-c1/steps?{WINDOW}",
    f"campaigns?{WINDOW}",
    f"mailboxes?{WINDOW}",
    f"domains?{WINDOW}",
    f"analytics/overview?{WINDOW}",
    f"analytics/deliverability?{WINDOW}",
    f"analytics/providers?{WINDOW}",
    f"analytics/timing?{WINDOW}",
    f"analytics/engagement-heatmap?{WINDOW}&granularity=hour",
    f"analytics/sources?{WINDOW}",
    "analytics/data-quality",
)
COMPARED = {"campaign_ids": ["w-c1", "w-c2", "w-c3"], "time_range": "90d"}
QUERIES: tuple[dict[str, Any], ...] = (
    {"metrics": ["sent", "delivered", "open_rate"], "dimensions": ["campaign"], "time_range": "90d"},
    {"metrics": ["sent", "bounced"], "granularity": "week", "time_range": "90d"},
)
EXPORTS: dict[str, dict[str, Any]] = {
    "campaign_comparison": COMPARED,
    "campaign_performance": {"time_range": "90d"},
    "deliverability": {"time_range": "90d"},
    "engagement_heatmap": {"time_range": "90d"},
    "messages": {"time_range": "90d"},
    "query": {"query": QUERIES[0]},
    "workspace_overview": {"time_range": "90d"},
}
# its tables of the coordinator are joined with those of the nodes
SEVERAL_TASKS = {"mail_sources"}
# facts that a first build makes of raw events, which are on the coordinator
FROM_COORDINATOR = {"fct_email_events", "fct_rejected_events"}


@dataclass(frozen=True)
class Warehouses:
    """The same mail of two workspaces, built twice on the cluster and on a plain server.

    Attributes:
        first_inserts: how the first build has filled each fact, as Citus names it; "on the nodes" if no row left its node.
    """

    citus: Settings
    plain: Settings
    first_inserts: dict[str, str]


@pytest.fixture(scope="module")
def warehouses(make_database: MakeDatabase, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouses]:
    plain = dataclasses.replace(make_database(), response_cache_mb=0)
    with connect(plain, "mailmart_owner") as connection:
        key = connection.execute("select inner_key, outer_key from app.recipient_hash_key").fetchone()
    with _migrated(tmp_path_factory.mktemp("citus")) as citus:
        with connect(citus, "mailmart_owner") as connection:
            connection.execute("update app.recipient_hash_key set inner_key = %s, outer_key = %s", key)
        events = random_events(random.Random(seed), "w", 300, NOW - timedelta(days=46))
        others = random_events(random.Random(seed + 1), "v", 50, NOW - timedelta(days=46))
        inserts: dict[str, str] = {}
        for first, last in ((0, len(events) // 2), (len(events) // 2, len(events))):
            for settings in (plain, citus):
                load_events(settings, [*events[first:last], *(others if first == 0 else [])], NOW - timedelta(days=20))
                run_dbt(settings, *WITHOUT_UNIT_TESTS, keeps_sql=True)
            inserts = inserts or _insert_methods(citus)
        yield Warehouses(citus, plain, inserts)


@contextmanager
def _migrated(home: Path) -> Iterator[Settings]:
    """A database of its own on each node, distributed."""
    cluster.create_database(NAME, None, sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(cluster.url(NAME))["user"])))
    settings = Settings(cluster.url(NAME), None, home, rate_limit_factor=1_000_000, response_cache_mb=0)
    try:
        migrate(settings)
        distribute_core(settings, print)
        yield settings
    finally:
        cluster.drop_database(NAME)


def _insert_methods(settings: Settings) -> dict[str, str]:
    methods = {}
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        for path in (settings.home / "target" / "run" / "mailmart" / "models" / "core").glob("fct_*.sql"):
            insert = re.search(r"insert into.*as model_subq", path.read_text(), re.DOTALL)
            assert insert is not None, path
            plan = "\n".join(line for (line,) in connection.execute(f"explain (costs off) {insert[0]}".encode()))
            method = re.search(r"INSERT/SELECT method: (.*)", plan)
            methods[path.stem] = method[1] if method else "on the nodes"
    return methods


def answers(settings: Settings, workspace: str = "w", paths: tuple[str, ...] = PATHS) -> dict[str, Any]:
    service = WsgiApp(settings)
    try:
        client = Client(service)
        headers = {"Authorization": f"Bearer {create_key(settings, workspace, name='citus')}"}
        found = {}
        for path in paths:
            response = client.get(f"/api/v1/workspaces/{workspace}/{path}", headers=headers)
            found[path] = (response.status_code, response.get_json().get("data"))
        for path, bodies in (("compare", (COMPARED,)), ("query", QUERIES)):
            for body in bodies:
                response = client.post(f"/api/v1/workspaces/{workspace}/analytics/{path}", headers=headers, json=body)
                found[f"{path} {body}"] = (response.status_code, response.get_json().get("data"))
        return found
    finally:
        service.close()


def exports(settings: Settings) -> dict[str, str]:
    """The CSV file of each type of export."""
    service = WsgiApp(settings)
    try:
        client = Client(service)
        key = create_key(settings, "w", name="exports", scopes=("read", "export"))
        headers = {"Authorization": f"Bearer {key}"}
        url = "/api/v1/workspaces/w/analytics"
        files = {}
        for kind, more in EXPORTS.items():
            body = {"export_type": kind, "format": "csv", **more}
            response = client.post(f"{url}/export", headers=headers, json=body)
            assert response.status_code == 202, (kind, response.text)
            export_id = response.get_json()["data"]["export_id"]
            run_attempt(settings, storage_of(settings), export_id, lambda: False, export_ended)
            status = client.get(f"{url}/exports/{export_id}", headers=headers).get_json()["data"]
            assert status["status"] == "completed", (kind, status)
            file = client.get(status["download_url"], headers=headers, buffered=True)
            files[kind] = "\n".join(sorted(file.text.splitlines()))
        return files
    finally:
        service.close()


def tasks(settings: Settings) -> dict[str, tuple[set[int], bool]]:
    """For each mart that the API reads: the numbers of tasks of its distributed parts, and whether there are subplans."""
    found = {}
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        for schema, name in connection.execute("select view_schema, view_name from app.served_queries").fetchall():
            query = ServedQueries().rewrite(connection, f'select * from {schema}."{name}"', "w")
            plan = "\n".join(line for (line,) in connection.execute(f"explain (costs off) {query}".encode()))
            counts = {int(count) for count in re.findall(r"Task Count: (\d+)", plan)}
            found[name.split("__")[0]] = (counts, "Distributed Subplan" in plan)
    return found


@needs_citus
@pytest.mark.timeout(3600)
def test_rows_answers_and_exports_are_those_of_one_server(warehouses: Warehouses) -> None:
    plain, citus = answers(warehouses.plain), answers(warehouses.citus)
    assert {path: status for path, (status, _) in plain.items() if status != 200} == {}
    assert citus == plain
    assert current_rows.everything(warehouses.citus) == current_rows.everything(warehouses.plain)
    assert exports(warehouses.citus) == exports(warehouses.plain)


@needs_citus
@pytest.mark.timeout(3600)
def test_a_section_is_one_task_of_one_node(warehouses: Warehouses) -> None:
    several = {name for name, (counts, has_subplan) in tasks(warehouses.citus).items() if not counts <= {1} or has_subplan}
    assert several <= SEVERAL_TASKS


@needs_citus
@pytest.mark.timeout(3600)
def test_facts_are_made_on_the_nodes(warehouses: Warehouses) -> None:
    pulled = {name for name, method in warehouses.first_inserts.items() if method == "pull to coordinator"}
    assert pulled == FROM_COORDINATOR
    assert warehouses.first_inserts["fct_campaign_days"] == "on the nodes"


@needs_citus
@pytest.mark.timeout(3600)
def test_a_tenant_sees_no_other(warehouses: Warehouses) -> None:
    with connect(warehouses.citus, "mailmart_worker") as connection:
        connection.execute("set local citus.propagate_set_commands = 'local'")
        connection.execute("set local mailmart.workspace_id = 'w'")
        assert connection.execute("select distinct workspace_id from core.fct_messages").fetchall() == [("w",)]
        assert connection.execute("select count(*) from core.fct_messages where workspace_id = 'v'").fetchall() == [(0,)]
    with connect(warehouses.citus, "mailmart_worker") as connection:
        # a setting that does not reach the nodes: nothing
        connection.execute("set local mailmart.workspace_id = 'w'")
        assert connection.execute("select count(*) from core.fct_messages").fetchall() == [(0,)]
    with connect(warehouses.citus, "mailmart_owner") as connection:
        connection.execute("set role mailmart_workspace_analyst")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="a login of one workspace cannot read"):
            connection.execute("select count(*) from core.fct_messages")


@needs_citus
@pytest.mark.timeout(3600)
def test_a_node_that_is_down_takes_its_own_tenants_with_it(warehouses: Warehouses) -> None:
    citus = warehouses.citus
    with psycopg.connect(str(citus.database_url), autocommit=True) as connection:
        of_workspace: dict[str, tuple[str, int]] = {}
        # one workspace on each node: "w" and any other
        for workspace in ("w", *(uuid.uuid4().hex for _ in range(50))):
            row = connection.execute(
                "select nodename, nodeport from citus_shards where shardid = get_shard_id_for_distribution_column("
                "'app.workspace_shards', %s::text) and table_name = 'app.workspace_shards'::regclass",
                (workspace,),
            ).fetchone()
            assert row is not None
            of_workspace[workspace] = row
    elsewhere = next(workspace for workspace, node in of_workspace.items() if node != of_workspace["w"])
    service = WsgiApp(citus)
    try:
        client = Client(service)

        def status(workspace: str) -> int:
            key = create_key(citus, workspace, name="node")
            path = f"/api/v1/workspaces/{workspace}/analytics/overview"
            return client.get(path, headers={"Authorization": f"Bearer {key}"}).status_code

        assert (status("w"), status(elsewhere)) == (200, 200)
        with cluster.unavailable(NAME, *of_workspace["w"]):
            for _ in range(3):
                assert (status("w"), status(elsewhere)) == (503, 200)
        assert (status("w"), status(elsewhere)) == (200, 200)
    finally:
        service.close()


@needs_citus
@pytest.mark.timeout(3600)
def test_migrating_again_changes_nothing(warehouses: Warehouses) -> None:
    views = "select count(*) from pg_views where schemaname like 'marts%'"
    with connect(warehouses.citus, "mailmart_owner") as connection:
        before = connection.execute(views).fetchone()
    reported: list[str] = []
    assert migrate(warehouses.citus) == []
    distribute_core(warehouses.citus, reported.append)
    assert len(reported) == 1
    assert reported[0].startswith("core was distributed already over ")
    with connect(warehouses.citus, "mailmart_owner") as connection:
        assert connection.execute(views).fetchone() == before
    with psycopg.connect(str(warehouses.citus.database_url)) as connection:
        zones = connection.execute("select result from run_command_on_workers('show timezone')").fetchall()
    assert set(zones) == {("UTC",)}


@needs_citus
@pytest.mark.timeout(3600)
def test_a_moved_and_isolated_tenant_keeps_its_rows(warehouses: Warehouses) -> None:
    citus = warehouses.citus
    before, rows = answers(citus), current_rows.everything(citus)
    with psycopg.connect(str(citus.database_url), autocommit=True) as connection:
        (shard,) = connection.execute(
            "select isolate_tenant_to_new_shard('app.workspace_shards', 'w', 'CASCADE', shard_transfer_mode => 'block_writes')"
        ).fetchone() or (None,)
        source = connection.execute("select nodename, nodeport from citus_shards where shardid = %s", (shard,)).fetchone()
        assert source is not None
        target = next(node for node in cluster.nodes()[:-1] if node != source)
        connection.execute(
            "call citus_move_shard_placement(%s, %s, %s, %s, %s, shard_transfer_mode => 'block_writes')".replace(
                "call", "select"
            ),
            (shard, *source, *target),
        )
    assert answers(citus) == before
    assert current_rows.everything(citus) == rows
    run_dbt(citus, *WITHOUT_UNIT_TESTS)
    assert answers(citus) == before
    assert current_rows.everything(citus) == rows


@needs_citus
@pytest.mark.timeout(3600)
def test_webhooks_are_counted_once_by_continuous_builds_of_which_one_is_killed(warehouses: Warehouses, tmp_path: Path) -> None:
    citus = warehouses.citus
    key = create_key(citus, "hooks", name="hooks")
    path = f"/intake/sendgrid/{create_source(citus, 'hooks', 'sendgrid', is_new_workspace=True)}"

    def failures() -> list[tuple[int]]:
        with connect(citus, "mailmart_owner") as connection:
            return connection.execute("select failures from app.continuous_builds").fetchall()

    with installation(citus, tmp_path / "log", build_every="10s") as running:

        def counts(messages: int) -> bool:
            summary = running.summary("hooks", key)
            return {summary.get(f"emails_{event}") for event in ("sent", "delivered", "opened")} == {messages}

        running.post_sent(path, range(20))
        # the database was built with other settings than these, so the first may be a whole build
        wait_until(lambda: counts(20), "the first bodies are counted", 300)
        with connect(citus, "mailmart_owner") as lock:
            lock.execute("set local lock_timeout = '60s'")
            lock.execute("lock table core.fct_campaign_days in access exclusive mode")
            running.post_sent(path, range(20, 40))
            # the models before it are written
            wait_for_waiting(citus)
            assert running.is_building()
            running.kill_build()
            wait_until(lambda: failures() == [(1,)], "the killed build has failed", 60)
            assert counts(20)
            running.post_sent(path, range(40, 50))
        wait_until(lambda: counts(50), "the next build is published", 300)
    with connect(citus, "mailmart_owner") as connection:
        # a nightly run may be due meanwhile
        batches = connection.execute(
            "select is_continuous, status from app.batches where status <> 'running' order by batch_id desc limit 1"
        ).fetchall()
    assert batches == [(True, "published")]
    with connect(citus, "mailmart_owner") as connection:
        assert connection.execute(
            "select count(*), count(distinct event_id) from core.fct_email_events"
            " where workspace_id = 'hooks' and valid_to = 9223372036854775807"
        ).fetchall() == [(150, 150)]


@needs_citus
@pytest.mark.timeout(900)
def test_a_bench_measures_the_cluster_and_leaves_it_empty(home: Path) -> None:
    name = f"{NAME}_bench"
    url = cluster.url(name)
    cluster.create_database(name, None, sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(url)["user"])))
    try:
        size = ("--messages", "2000", "--days", "30", "--history", "30", "--runs", "1")
        result = mailmart(Settings(None, None, home), "bench", "batch", *size, "--citus", "--database-url", url)
        assert result.exit_code == 0, result.output
        assert re.search(r"^  nightly run \(median of 1\): models [\d.]+ s, plain SQL", result.output, re.MULTILINE), (
            result.output
        )
        # of nodes on other machines, nothing is known
        assert re.search(r"^      of it: coordinator [\d.]+ s, |PostgreSQL: unknown", result.output, re.MULTILINE), result.output
        for host, port in cluster.nodes():
            with psycopg.connect(make_conninfo(url, host=host, port=port)) as connection:
                assert connection.execute(CONTENT.encode()).fetchall() == []
    finally:
        cluster.drop_database(name)


@pytest.mark.skipif(cluster.is_distributed(), reason="every database is one of a cluster")
def test_what_is_no_cluster_is_refused(tmp_path: Path, make_database: MakeDatabase) -> None:
    with pytest.raises(MailmartError, match="does not have the extension citus"):
        distribute_core(make_database(), print)
