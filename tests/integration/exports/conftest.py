"""A warehouse with campaigns whose names are hard to export, and a service that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from werkzeug.test import Client, TestResponse

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.exports.attempt import run_attempt
from api.exports.attempt_repository import AttemptRepository
from api.exports.outcome import ExportOutcome
from api.exports.storage import Storage, storage_of
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt

WORKSPACE = "ws_exports"
OTHER_WORKSPACE = "ws_others"
EMPTY_WORKSPACE = "ws_empty"
NAMES = {
    "cmp_formula": '=cmd|"/C calc"!A0',
    # loaded with a line break, which staging makes a space
    "cmp_lines": 'two lines, "quoted"; and a comma',
    "cmp_rtl": "مرحبا بالعالم שלום",
    "cmp_plain": "Plain",
    "cmp_idle": "+1 for idle",
}
BOUNCES = (("5.1.1", "user unknown"), ("5.2.2", "mailbox full"), ("4.4.7", "delivery time expired"))


def events() -> Iterator[Event]:
    """600 messages over 20 days, with or without a campaign; some bounce, some are opened, clicked and answered."""
    today = datetime.now(UTC).replace(hour=8, minute=30, second=0, microsecond=0)
    campaigns = ["cmp_formula", "cmp_lines", "cmp_rtl", "cmp_plain", None]
    for number in range(600):
        sent_at = today - timedelta(days=1 + number % 20, minutes=number)
        kinds = ["sent", "bounced" if number % 11 == 0 else "delivered"]
        kinds += ["opened"] * (number % 3 == 0) + ["clicked"] * (number % 7 == 0) + ["replied"] * (number % 13 == 0)
        status, diagnostic = BOUNCES[number % 3]
        for step, kind in enumerate(kinds):
            yield Event(
                f"x{number}-{kind}",
                WORKSPACE,
                f"m{number}",
                kind,
                sent_at + timedelta(seconds=step, microseconds=123_456 * (number % 2)),
                campaign_id=campaigns[number % 5],
                mailbox_id=f"mbx_{number % 2}",
                domain_id="-dom" if number % 2 else None,
                smtp_status=status if kind == "bounced" else None,
                diagnostic=diagnostic if kind == "bounced" else None,
            )
    for number in range(7):
        yield Event(f"o{number}", OTHER_WORKSPACE, f"m{number}", "sent", today - timedelta(days=1), campaign_id="cmp_plain")


@pytest.fixture(scope="session")
def warehouse(make_warehouse: MakeWarehouse) -> Settings:
    """A database with loaded events and a published build."""
    return make_warehouse("exports", _fill)


def _fill(settings: Settings) -> None:
    with connect(settings, "mailmart_owner") as connection:
        # many tests leave exports that nobody writes; test_quotas.py has its own limits
        connection.execute("update app.workspace_limits set max_value = 1000000 where limit_name = 'exports_processing'")
        for campaign, name in NAMES.items():
            connection.execute(
                "insert into raw.campaigns (campaign_id, workspace_id, name, status) values (%s, %s, %s, 'sending')",
                (campaign, WORKSPACE, name.replace("two lines", "two\nlines")),
            )
    load_events(settings, events(), datetime.now(UTC) - timedelta(hours=1))
    publish(settings)


def publish(settings: Settings) -> None:
    """Runs a full build, which publishes."""
    run_dbt(settings, *WITHOUT_UNIT_TESTS)


def ignore_end(connection: psycopg.Connection, export_id: str) -> None:
    """For attempts at exports that belong to no report run."""


@dataclass(frozen=True)
class Exporter:
    """Calls the service in this process with an API key, and runs attempts as a worker does."""

    settings: Settings
    service: WsgiApp
    client: Client
    key: str
    workspace_id: str

    @property
    def storage(self) -> Storage:
        return storage_of(self.settings)

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """A request to /workspaces/{workspaceId}/analytics/{path}."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return self.client.open(
            f"/api/v1/workspaces/{self.workspace_id}/analytics/{path}", method=method, headers=headers, **options
        )

    def request(self, **body: Any) -> dict[str, Any]:
        """Requests an export."""
        response = self.call("POST", "export", json={"export_type": "campaign_performance", "format": "csv", **body})
        assert response.status_code == 202, response.text
        data: dict[str, Any] = response.get_json()["data"]
        return data

    def status(self, export_id: str) -> dict[str, Any]:
        response = self.call("GET", f"exports/{export_id}")
        assert response.status_code == 200, response.text
        data: dict[str, Any] = response.get_json()["data"]
        return data

    def attempt(
        self, export_id: str, storage: Storage | None = None, is_stopping: Callable[[], bool] = lambda: False
    ) -> ExportOutcome | None:
        """Runs an attempt, as a worker does for the export's job."""
        return run_attempt(self.settings, storage or self.storage, export_id, is_stopping, ignore_end)

    def claim(self, export_id: str, token: str) -> bool:
        """Starts an attempt, as another worker does."""
        with connect(self.settings, "mailmart_worker", autocommit=True) as connection:
            return AttemptRepository(connection, ignore_end).claim(export_id, token) is not None

    def download(self, **body: Any) -> bytes:
        """Requests an export, runs its attempt and downloads the file."""
        export_id = self.request(**body)["export_id"]
        self.attempt(export_id)
        status = self.status(export_id)
        assert status["status"] == "completed", status
        response = self.client.get(status["download_url"].removeprefix(self.settings.public_url), buffered=True)
        assert response.status_code == 200, response.text
        content: bytes = response.data
        assert len(content) == status["file_size_bytes"]
        return content


@pytest.fixture(scope="session")
def exporter_of(warehouse: Settings) -> Iterator[Callable[[str], Exporter]]:
    """Makes an exporter for a workspace."""
    service = WsgiApp(warehouse)

    def make(workspace_id: str) -> Exporter:
        key = create_key(warehouse, workspace_id, name="tests", scopes=("read", "export", "reports"))
        return Exporter(warehouse, service, Client(service), key, workspace_id)

    yield make
    service.close()


@pytest.fixture(scope="session")
def exporter(exporter_of: Callable[[str], Exporter]) -> Exporter:
    """The exporter of the workspace with messages."""
    return exporter_of(WORKSPACE)
