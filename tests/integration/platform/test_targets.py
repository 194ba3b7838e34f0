"""A service whose target is not production does not touch the exports and reports of production."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from werkzeug.test import Client, TestResponse

from api.auth.api_keys import create_key
from api.cli import main
from api.cli.env import developer_environment
from api.db.connection import connect
from api.db.migrate import migrate
from api.errors import SettingsError
from api.scheduler.schedule import scheduled_jobs
from api.server.app import WsgiApp
from api.settings import Settings
from api.worker.main import run_worker
from tests.integration.api.publishing import publish_empty_contract
from tests.support.dbt import WITHOUT_TESTS
from tests.support.forked_dbt import run_forked


def test_a_worker_refuses_to_start(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="MAILMART_TARGET is 'dev'"):
        run_worker(replace(settings, target="dev"), 1)


def test_a_developers_scheduler_does_only_what_is_of_its_warehouse(settings: Settings) -> None:
    names = {
        target: [job.name for job in scheduled_jobs(replace(settings, target=target), threading.Event())]
        for target in ("production", "dev")
    }
    assert names == {
        "production": [
            *("nightly run", "retention", "compression", "continuous builds", "columnstore", "due reports", "export cleanup")
        ],
        "dev": ["nightly run", "retention", "compression", "continuous builds"],
    }


@pytest.mark.parametrize(
    ("target", "expected"), [("", ["serve", "intake", "scheduler", "worker"]), ("dev", ["serve", "intake", "scheduler"])]
)
def test_run_starts_a_worker_only_for_production(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, target: str, expected: list[str]
) -> None:
    running: list[str] = []

    @contextmanager
    def running_servers(_: Settings) -> Iterator[None]:
        yield

    def run_programs(_: Settings, programs: Any, *__: Any, **___: Any) -> None:
        running.extend(program.name for program in programs)

    monkeypatch.setattr("api.cli.run.running_servers", running_servers)
    monkeypatch.setattr("api.cli.run.run_programs", run_programs)
    monkeypatch.setattr("api.cli.run.configure_logs", lambda: None)
    monkeypatch.setattr("api.cli.run.check_address", lambda *_: None)
    environment = {"MAILMART_HOME": str(settings.home), "MAILMART_TARGET": target}
    result = CliRunner().invoke(main, ["run"], env=environment)
    assert result.exit_code == 0, result.output
    assert running == expected
    assert ("MAILMART_TARGET is 'dev'" in result.output) == (target == "dev")


@pytest.mark.parametrize(("target", "statuses"), [("production", {404, 200}), ("dev", {403})])
def test_the_api_refuses_exports_and_reports(settings: Settings, target: str, statuses: set[int]) -> None:
    with connect(settings, "mailmart_owner") as connection:
        publish_empty_contract(connection)
        for table, columns in (("publications", "batch_id, data_as_of, contract"), ("current_publication", "batch_id")):
            connection.execute(f"insert into app.{table} (target, {columns}) select 'dev', {columns} from app.{table}".encode())
    service = WsgiApp(replace(settings, target=target))
    key = create_key(settings, "ws", name="tests", scopes=("read", "export", "reports"))
    headers = {"Authorization": f"Bearer {key}"}

    def call(method: str, path: str) -> TestResponse:
        return Client(service).open(f"/api/v1/workspaces/ws/analytics/{path}", method=method, headers=headers)

    try:
        responses = [call(*request) for request in (("GET", "exports/exp_1"), ("DELETE", "exports/exp_1"), ("GET", "reports"))]
        assert {response.status_code for response in responses} == statuses
        if target == "dev":
            assert {response.get_json()["error"]["code"] for response in responses} == {"FORBIDDEN"}
            assert "production" in responses[0].get_json()["error"]["message"]
            # authentication comes first, and OPTIONS is always allowed
            assert Client(service).get("/api/v1/workspaces/ws/analytics/reports").status_code == 401
            assert call("OPTIONS", "reports").status_code == 200
    finally:
        service.close()


@pytest.mark.timeout(900)
def test_plain_dbt_builds_a_developers_schemas_and_not_production(empty_database: Callable[[], Settings]) -> None:
    # migrated here: the copy of a template has no privileges on the database, and a new prefix needs new schemas
    settings = empty_database()
    migrate(settings)
    mart = ("--select", "+blacklist_status")
    arguments = [*WITHOUT_TESTS, *mart, "--target-path", str(settings.home / "target"), "--log-path", str(settings.home / "logs")]
    environment = {**os.environ, **developer_environment(settings)}
    built = run_forked(arguments, environment, settings.project_root, timeout=240)
    assert built.returncode == 0, built.stdout
    with connect(settings, "mailmart_owner") as connection:
        assert connection.execute("select target, status from app.batches").fetchall() == [("dev", "built")]
        marts = "select count(*) > 0 from pg_views where schemaname = %s"
        assert connection.execute(marts, ("dev_marts",)).fetchone() == (True,)
        assert connection.execute(marts, ("marts",)).fetchone() == (False,)
