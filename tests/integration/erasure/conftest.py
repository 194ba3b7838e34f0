"""A warehouse of two tenants, each time a copy, with exports and reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.exports.attempt import run_attempt
from api.exports.storage import storage_of
from api.reports.due_reports import run_due_reports
from api.reports.run_repository import export_ended
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.erasure.mail import FRIEND, OTHER, PERSON, TENANT, load_mail
from tests.support.command import mailmart


@dataclass(frozen=True)
class Tenants:
    """The service, and a key of each tenant."""

    settings: Settings
    client: Client
    keys: dict[str, str]

    def call(self, method: str, workspace: str, path: str, **options: Any) -> Any:
        """The data of a response."""
        headers = {"Authorization": f"Bearer {self.keys[workspace]}"}
        response = self.client.open(
            f"/api/v1/workspaces/{workspace}/analytics/{path}", method=method, headers=headers, buffered=True, **options
        )
        assert response.status_code < 300, response.text
        return response.get_json()["data"]

    def export(self, workspace: str, export_type: str = "messages", *, is_written: bool = True, **body: Any) -> str:
        """Requests an export, and writes it as a worker does."""
        request = {"export_type": export_type, "format": "csv", **body}
        export_id: str = self.call("POST", workspace, "export", json=request)["export_id"]
        if is_written:
            run_attempt(self.settings, storage_of(self.settings), export_id, lambda: False, export_ended)
        return export_id

    def report(self, workspace: str, *recipients: str) -> str:
        body = {
            "name": f"For {PERSON}",
            "export": {"export_type": "campaign_performance", "format": "csv", "time_range": "7d"},
            "schedule": {"frequency": "daily", "at": "08:00", "timezone": "UTC"},
            "recipients": list(recipients),
        }
        report_id: str = self.call("POST", workspace, "reports", json=body)["report_id"]
        return report_id

    def etag(self, workspace: str) -> str:
        response = self.client.get(
            f"/api/v1/workspaces/{workspace}/analytics/overview", headers={"Authorization": f"Bearer {self.keys[workspace]}"}
        )
        return response.headers["ETag"]

    def status(self, workspace: str, export_id: str) -> Any:
        return self.call("GET", workspace, f"exports/{export_id}")

    def erase(self, *arguments: str) -> str:
        result = mailmart(self.settings, "erase", *arguments)
        assert result.exit_code == 0, result.output
        return result.output


@pytest.fixture
def tenants(make_warehouse: MakeWarehouse) -> Iterator[Tenants]:
    settings = make_warehouse("erasure", load_mail)
    service = WsgiApp(settings)
    keys = {
        workspace: create_key(settings, workspace, name=f"of {PERSON}", scopes=("read", "export", "reports"))
        for workspace in (TENANT, OTHER)
    }
    yield Tenants(settings, Client(service), keys)
    service.close()


def run_reports(tenants: Tenants) -> None:
    """Makes all reports due, and starts their runs."""
    from api.db.connection import connect

    with connect(tenants.settings, "mailmart_owner") as connection:
        connection.execute("update app.reports set next_run_at = clock_timestamp() - interval '1 minute'")
    run_due_reports(tenants.settings)


__all__ = ["FRIEND", "OTHER", "PERSON", "TENANT", "Tenants", "run_reports", "tenants"]
