"""A service, a worker's and a scheduler's work, in this process, over a warehouse with a little mail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from werkzeug.test import Client, TestResponse

from api.db.connection import connect
from api.exports.run import run_attempt
from api.exports.storage import storage_of
from api.reports.delivery import run_delivery
from api.reports.due_runs import run_due_reports
from api.reports.webhook import Resolve, resolve
from api.settings import Settings
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events

WORKSPACE = "ws_reports"
OTHER_WORKSPACE = "ws_others"
EMPTY_WORKSPACE = "ws_empty"
DAILY = {"frequency": "daily", "at": "08:00", "timezone": "Europe/Berlin"}
EXPORT = {"export_type": "campaign_performance", "format": "csv", "time_range": "7d"}


def land_mail(settings: Settings) -> None:
    """Ten messages of a campaign, and another tenant's."""
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
    """Asks the service with a workspace's key, and does what schedulers and workers do."""

    settings: Settings
    client: Client
    key: str
    workspace_id: str
    resolve: Resolve = resolve

    def with_settings(self, **changes: Any) -> Reporter:
        return replace(self, settings=replace(self.settings, **changes))

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """A request below the workspace's analytics."""
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
        found: list[dict[str, Any]] = self.data(self.call("GET", f"reports/{report_id}/runs"))["runs"]
        return found

    @staticmethod
    def data(response: TestResponse) -> dict[str, Any]:
        assert response.status_code < 300, response.text
        found: dict[str, Any] = response.get_json()["data"]
        return found

    def execute(self, statement: str, *given: Any) -> list[tuple[Any, ...]]:
        """As the owner, past every wall."""
        with connect(self.settings, None) as connection:
            connection.execute("set role mailmart_owner; set search_path = procrastinate, pg_temp")
            cursor = connection.execute(statement.encode(), given)
            return cursor.fetchall() if cursor.description else []

    def make_due(self, report_id: str, ago: str = "1 second") -> None:
        self.execute(f"update app.reports set next_run_at = clock_timestamp() - interval '{ago}' where report_id = %s", report_id)

    def run_due(self) -> int:
        return run_due_reports(self.settings)

    def run_now(self, report_id: str) -> dict[str, Any]:
        """A run of its own, though there was one this very day; its export is processing."""
        self.execute("update app.report_runs set scheduled_for = scheduled_for - interval '1 day' * (1 + random() * 999)")
        self.make_due(report_id)
        assert self.run_due() == 1
        return self.runs(report_id)[0]

    def write(self, export_id: str) -> None:
        """What a worker does for the export's job."""
        run_attempt(self.settings, storage_of(self.settings), export_id, lambda: False)

    def deliver(self) -> int:
        """What workers do for the deliveries' jobs that are due; how many."""
        jobs = self.execute(
            "delete from procrastinate.procrastinate_jobs where queue_name = 'deliveries' and scheduled_at <= clock_timestamp()"
            " returning args ->> 'run_id', args ->> 'channel', args ->> 'target'"
        )
        for job in jobs:
            run_delivery(self.settings, *job, resolve=self.resolve, is_patient=False)
        return len(jobs)

    def deliver_all(self) -> None:
        """Until nothing is left to be tried: the time between attempts goes by."""
        while self.deliver():
            self.let_time_go_by()

    def let_time_go_by(self) -> None:
        self.execute("update app.report_deliveries set not_before = clock_timestamp() where status = 'pending'")
        self.execute(
            "update procrastinate.procrastinate_jobs set scheduled_at = clock_timestamp() where queue_name = 'deliveries'"
        )
