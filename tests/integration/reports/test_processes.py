"""Reports through the processes `mailmart scheduler` and `mailmart worker`, including a killed worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from api.settings import Settings
from tests.integration.exports.worker_process import running_worker, wait_for
from tests.integration.reports.reporter import Reporter
from tests.support.certificate_authority import CertificateAuthority
from tests.support.mail_server import MailTestServer, mail_server
from tests.support.webhook_server import WebhookServer, webhook_server

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def webhooks(authority: CertificateAuthority) -> Iterator[WebhookServer]:
    """Called by its IP address, because other processes do not use the tests' resolver."""
    with webhook_server(authority.server_context("127.0.0.1")) as made:
        yield made


@pytest.fixture
def mails() -> Iterator[MailTestServer]:
    with mail_server() as made:
        yield made


def environment(authority: CertificateAuthority, mails: MailTestServer) -> dict[str, Any]:
    return {
        "SSL_CERT_FILE": str(authority.file),
        "MAILMART_SMTP_URL": f"smtp://127.0.0.1:{mails.port}",
        "MAILMART_MAIL_FROM": "reports@mart.example",
        "MAILMART_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1",
    }


@contextmanager
def running_scheduler(settings: Settings, log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "mailmart"), "scheduler"],
            env={**os.environ, "MAILMART_DATABASE_URL": str(settings.database_url), "MAILMART_HOME": str(settings.home)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def insert_report(reporter: Reporter, webhooks: WebhookServer) -> dict[str, Any]:
    """A report with a webhook on this machine, which the API would reject."""
    made = reporter.create(recipients=["ana@example.com"], webhook_url="https://hooks.example/in")
    reporter.execute(
        "update app.reports set webhook_url = %s where report_id = %s", f"https://127.0.0.1:{webhooks.port}/in", made["report_id"]
    )
    return made


def test_a_due_report_is_delivered(
    reporter: Reporter, authority: CertificateAuthority, mails: MailTestServer, webhooks: WebhookServer, tmp_path: Path
) -> None:
    made = insert_report(reporter, webhooks)
    reporter.make_due(made["report_id"])
    log = tmp_path / "log"
    with running_worker(reporter.settings, log, **environment(authority, mails)), running_scheduler(reporter.settings, log):
        wait_for(
            lambda: [run["status"] for run in reporter.runs(made["report_id"])] == ["completed"],
            150,
            lambda: f"{reporter.runs(made['report_id'])}\n{log.read_text()}",
        )
    (run,) = reporter.runs(made["report_id"])
    (request,) = webhooks.requests
    event = Webhook(made["webhook_secret"]).verify(request.body, request.headers)
    assert (event["type"], event["data"]["run_id"]) == ("report.completed", run["run_id"])
    assert [mail.recipients for mail in mails.received] == [["ana@example.com"]]
    assert reporter.execute("select count(*) from procrastinate.procrastinate_jobs where task_name <> 'export'") == [(0,)]


def test_a_webhook_of_a_killed_worker_is_sent_again(
    reporter: Reporter, authority: CertificateAuthority, mails: MailTestServer, webhooks: WebhookServer, tmp_path: Path
) -> None:
    made = insert_report(reporter, webhooks)
    run = reporter.run_now(made["report_id"])
    reporter.write(run["export_id"])
    is_received, may_answer = threading.Event(), threading.Event()

    def answer_later(_: Any) -> tuple[int, dict[str, str]]:
        is_received.set()
        may_answer.wait(60)
        return 200, {}

    webhooks.answer = answer_later
    log = tmp_path / "log"
    with running_worker(reporter.settings, log, **environment(authority, mails)) as first:
        assert is_received.wait(90), log.read_text()
        first.send_signal(signal.SIGKILL)
        first.wait()
    may_answer.set()
    webhooks.answer = lambda request: (200, {})
    with running_worker(reporter.settings, log, **environment(authority, mails)):

        def is_completed() -> bool:
            # the attempt that reserved the delivery is dead
            reporter.execute("update app.report_deliveries set not_before = clock_timestamp() where status = 'pending'")
            reporter.execute(
                "update procrastinate.procrastinate_jobs set scheduled_at = clock_timestamp()"
                " where task_name = 'deliver' and status = 'todo'"
            )
            return bool(reporter.runs(made["report_id"])[0]["status"] == "completed")

        wait_for(is_completed, 120, lambda: f"{reporter.runs(made['report_id'])}\n{log.read_text()}")
    first_time, second_time = webhooks.requests
    assert first_time.headers["webhook-id"] == second_time.headers["webhook-id"] == run["run_id"]
    assert first_time.body == second_time.body
    webhook = next(delivery for delivery in reporter.runs(made["report_id"])[0]["deliveries"] if delivery["channel"] == "webhook")
    assert (webhook["status"], webhook["attempts"]) == ("delivered", 2)
    # the mail has a job of its own
    assert len(mails.received) == 1
