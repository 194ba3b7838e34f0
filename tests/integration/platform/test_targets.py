"""A service of another target than production lets production's exports and reports alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from werkzeug.test import Client, TestResponse

from api.auth.api_keys import create_key
from api.cli import main
from api.db.connection import connect
from api.errors import SettingsError
from api.scheduler.schedule import timetable
from api.server.app import WsgiApp
from api.settings import Settings
from api.worker.main import run_worker
from tests.integration.api.publishing import publish_empty_contract


def test_no_worker_takes_them(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="MAILMART_TARGET is 'dev'"):
        run_worker(replace(settings, target="dev"), 1)


def test_a_scheduler_runs_its_own_nights_alone(settings: Settings) -> None:
    names = {
        target: [job.name for job in timetable(replace(settings, target=target), threading.Event())]
        for target in ("production", "dev")
    }
    assert names == {"production": ["nightly batch", "due reports", "files of exports"], "dev": ["nightly batch"]}


@pytest.mark.parametrize(("target", "expected"), [("", ["serve", "scheduler", "worker"]), ("dev", ["serve", "scheduler"])])
def test_up_all_runs_what_there_is_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, target: str, expected: list[str]
) -> None:
    running: list[str] = []

    @contextmanager
    def started(_: Settings) -> Iterator[None]:
        yield

    def run(_: Settings, programs: Any, *__: Any, **___: Any) -> None:
        running.extend(program.name for program in programs)

    monkeypatch.setattr("api.cli.stack.started_servers", started)
    monkeypatch.setattr("api.cli.stack.run", run)
    monkeypatch.setattr("api.observability.logs.configure_logs", lambda: None)
    monkeypatch.setattr("api.server.granian.check_address", lambda _: None)
    environment = {"MAILMART_HOME": str(settings.home), "MAILMART_TARGET": target}
    result = CliRunner().invoke(main, ["up", "--all"], env=environment)
    assert result.exit_code == 0, result.output
    assert running == expected
    assert ("MAILMART_TARGET is 'dev'" in result.output) == (target == "dev")


@pytest.mark.parametrize(("target", "statuses"), [("production", {404, 200}), ("dev", {403})])
def test_the_api_says_so(settings: Settings, target: str, statuses: set[int]) -> None:
    with connect(settings, "mailmart_owner") as connection:
        publish_empty_contract(connection)
        for table, columns in (("publications", "batch_id, data_as_of, contract"), ("publication", "batch_id")):
            connection.execute(f"insert into app.{table} (target, {columns}) select 'dev', {columns} from app.{table}".encode())
    service = WsgiApp(replace(settings, target=target))
    key = create_key(settings, "ws", name="tests", scopes=("read", "export", "reports"))
    headers = {"Authorization": f"Bearer {key}"}

    def ask(method: str, path: str) -> TestResponse:
        return Client(service).open(f"/api/v1/workspaces/ws/analytics/{path}", method=method, headers=headers)

    try:
        answers = [ask(*asked) for asked in (("GET", "exports/exp_1"), ("DELETE", "exports/exp_1"), ("GET", "reports"))]
        assert {answer.status_code for answer in answers} == statuses
        if target == "dev":
            assert {answer.get_json()["error"]["code"] for answer in answers} == {"FORBIDDEN"}
            assert "production" in answers[0].get_json()["error"]["message"]
            # who may not ask is told that first, and a browser may always ask what it may
            assert Client(service).get("/api/v1/workspaces/ws/analytics/reports").status_code == 401
            assert ask("OPTIONS", "reports").status_code == 200
    finally:
        service.close()
