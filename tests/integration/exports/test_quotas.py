"""A workspace has so many exports in progress, and so many bytes of files. The database counts, under a lock."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from api.db.connection import connect
from api.db.limits import write_limits
from api.settings import Settings
from tests.integration.exports.conftest import OTHER_WORKSPACE, Exporter

# includes a build of the warehouse
pytestmark = pytest.mark.timeout(900)
BODY = {"export_type": "campaign_performance", "format": "csv"}


@pytest.fixture
def others(exporter_of: Callable[[str], Exporter]) -> Iterator[Exporter]:
    """The exporter of a workspace without exports. The limits are reset afterwards."""
    exporter = exporter_of(OTHER_WORKSPACE)
    with connect(exporter.settings, "mailmart_owner") as connection:
        connection.execute("delete from app.exports where workspace_id = %s", (OTHER_WORKSPACE,))
        before = connection.execute("select limit_name, max_value from app.workspace_limits").fetchall()
    yield exporter
    with connect(exporter.settings, "mailmart_owner") as connection, connection.cursor() as cursor:
        cursor.execute("delete from app.exports where workspace_id = %s", (OTHER_WORKSPACE,))
        cursor.executemany("update app.workspace_limits set max_value = %s where limit_name = %s", [(v, n) for n, v in before])


def limited(settings: Settings, **limits: Any) -> None:
    write_limits(dataclasses.replace(settings, **limits))


def test_requests_at_the_same_time_do_not_pass_the_bound_together(others: Exporter, exporter: Exporter) -> None:
    limited(others.settings, max_exports_processing=3)
    start = threading.Barrier(8)

    def request() -> tuple[int, str]:
        start.wait(30)
        answer = others.call("POST", "export", json=BODY)
        return answer.status_code, answer.text

    with ThreadPoolExecutor(8) as clients:
        answers = [future.result() for future in [clients.submit(request) for _ in range(8)]]
    assert sorted(status for status, _ in answers) == [202] * 3 + [429] * 5
    refused = others.call("POST", "export", json=BODY)
    error = refused.get_json()["error"]
    assert (refused.status_code, error["code"]) == (429, "QUOTA_EXCEEDED")
    assert "3 exports that wait or are being written, the maximum" in error["message"]
    assert int(refused.headers["Retry-After"]) > 0
    # other workspaces have bounds of their own, which earlier tests may have used up
    with connect(exporter.settings, "mailmart_owner") as connection:
        connection.execute("delete from app.exports where workspace_id <> %s", (OTHER_WORKSPACE,))
    exporter.request()

    # canceling one makes room; the same request sent again finds its export although the quota is used up
    first = others.call("GET", "exports").get_json()["data"]["exports"][0]["export_id"]
    assert others.call("DELETE", f"exports/{first}").status_code == 204
    again = {"headers": {"Idempotency-Key": "k"}, "json": BODY}
    made = others.call("POST", "export", **again)
    assert made.status_code == 202
    assert others.call("POST", "export", json=BODY).status_code == 429
    assert others.call("POST", "export", **again).get_json()["data"]["export_id"] == made.get_json()["data"]["export_id"]


def test_kept_files_have_a_bound_and_deleting_one_makes_room(others: Exporter) -> None:
    export_id = others.request()["export_id"]
    others.attempt(export_id)
    assert others.status(export_id)["file_size_bytes"] > 0
    with connect(others.settings, "mailmart_owner") as connection:
        connection.execute("update app.exports set file_size_bytes = 2 * 1048576 where export_id = %s", (export_id,))
    limited(others.settings, max_export_mb=2)
    refused = others.call("POST", "export", json=BODY)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (429, "QUOTA_EXCEEDED")
    assert "have 2 MiB, and the maximum is 2 MiB. Delete exports" in refused.get_json()["error"]["message"]
    assert others.call("DELETE", f"exports/{export_id}").status_code == 204
    others.request()


def test_the_database_refuses_a_row_that_the_function_did_not_make(others: Exporter) -> None:
    limited(others.settings, max_exports_processing=0)
    with connect(others.settings, "mailmart_owner") as connection, pytest.raises(psycopg.errors.CheckViolation, match="maximum"):
        connection.execute(
            "insert into app.exports (export_id, workspace_id, export_type, format, request, resolved, units_total, priority)"
            " values ('exp_x', %s, 'messages', 'csv', '{}', '{}', 1, 0)",
            (OTHER_WORKSPACE,),
        )
