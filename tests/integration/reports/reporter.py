"""Calls the service, and does the work of a scheduler and a worker, in this process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from werkzeug.test import Client, TestResponse

from api.db.connection import connect
from api.exports.attempt import run_attempt
from api.exports.storage import storage_of
from api.reports.delivery import run_delivery
from api.reports.due_reports import run_due_reports
from api.reports.mail_charts import ChartMaker
from api.reports.run_repository import export_ended
from api.reports.webhook import Resolve, resolve
from api.settings import Settings
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events

WORKSPACE = "ws_reports"
OTHER_WORKSPACE = "ws_others"
EMPTY_WORKSPACE = "ws_empty"
DAILY = {"frequency": "daily", "at": "08:00", "timezone": "Europe/Berlin"}
EXPORT = {"export_type": "campaign_performance", "format": "csv", "time_range": "7d"}


def load_messages(settings: Settings) -> None:
    """Loads ten messages in each of two workspaces."""
    sent_at = datetime.now(UTC) - timedelta(days=2)
    with connect(settings, "mailmart_owner") as connection:
        for workspace, campaign in ((WORKSPACE, "cmp_1"), (OTHER_WORKSPACE, "cmp_theirs")):
            connection.execute(
                "insert into raw.campaigns (campaign_id, workspace_id, name, status) values (%s, %s, 'A campaign', 'sending')",
                (campaign, workspace),
            )
    load_events(
        settings,
        [
            Event(f"{workspace}-{number}", workspace, f"m{number}", "sent", sent_at, campaign_id=campaign)
            for workspace, campaign in ((WORKSPACE, "cmp_1"), (OTHER_WORKSPACE, "cmp_theirs"))
            for number in range(10)
        ],
        datetime.now(UTC) - timedelta(hours=1),
    )


@dataclass(frozen=True)
class Reporter:
    """Calls the service with a workspace's API key, and does the work of a scheduler and a worker."""

    settings: Settings
    client: Client
    key: str
    workspace_id: str
    resolve: Resolve = resolve
    charts: ChartMaker | None = None

    def with_settings(self, **changes: Any) -> Reporter:
        return replace(self, settings=replace(self.settings, **changes))

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """A request to /workspaces/{workspaceId}/analytics/{path}."""
        return self.client.open(
            f"/api/v1/workspaces/{self.workspace_id}/analytics/{path}",
            method=method,
            headers={"Authorization": f"Bearer {self.key}"},
            **options,
        )

    def create(self, **body: Any) -> dict[str, Any]:
        response = self.call("POST", "reports", json={"name": "Daily", "export": EXPORT, "schedule": DAILY, **body})
        assert response.status_code == 201, response.text
        return self.data(response)

    def get(self, report_id: str) -> dict[str, Any]:
        return self.data(self.call("GET", f"reports/{report_id}"))

    def runs(self, report_id: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.data(self.call("GET", f"reports/{report_id}/runs"))["runs"]
        return runs

    @staticmethod
    def data(response: TestResponse) -> dict[str, Any]:
        assert response.status_code < 300, response.text
        data: dict[str, Any] = response.get_json()["data"]
        return data

    def execute(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Executes a statement as the owner, without row-level security."""
        with connect(self.settings, None) as connection:
            connection.execute("set role mailmart_owner; set search_path = procrastinate, pg_temp")
            cursor = connection.execute(statement.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def make_due(self, report_id: str, ago: str = "1 second") -> None:
        self.execute(f"update app.reports set next_run_at = clock_timestamp() - interval '{ago}' where report_id = %s", report_id)

    def run_due(self) -> int:
        return run_due_reports(self.settings)

    def run_now(self, report_id: str) -> dict[str, Any]:
        """Runs a report now, even if it has run today; the run's export is processing."""
        self.execute("update app.report_runs set scheduled_for = scheduled_for - interval '1 day' * (1 + random() * 999)")
        self.make_due(report_id)
        assert self.run_due() == 1
        return self.runs(report_id)[0]

    def write(self, export_id: str) -> None:
        """Writes the file of an export, as a worker does."""
        run_attempt(self.settings, storage_of(self.settings), export_id, lambda: False, export_ended)

    def deliver(self) -> int:
        """Runs the delivery jobs that are due, as a worker does; returns their number."""
        jobs = self.execute(
            "delete from procrastinate.procrastinate_jobs where queue_name = 'deliveries' and scheduled_at <= clock_timestamp()"
            " returning args ->> 'run_id', args ->> 'channel', args ->> 'target'"
        )
        for job in jobs:
            run_delivery(self.settings, *job, charts=self.charts, resolve=self.resolve, retry_saving=False)
        return len(jobs)

    def deliver_all(self) -> None:
        """Delivers until no job is left, skipping the time between attempts."""
        while self.deliver():
            self.skip_waiting_time()

    def skip_waiting_time(self) -> None:
        self.execute("update app.report_deliveries set not_before = clock_timestamp() where status = 'pending'")
        self.execute(
            "update procrastinate.procrastinate_jobs set scheduled_at = clock_timestamp() where queue_name = 'deliveries'"
        )
