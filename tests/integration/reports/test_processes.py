"""A report's whole way through processes of their own: `mailmart scheduler`, `mailmart worker`, a worker that is killed."""

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
from tests.integration.exports.workers import wait_for, working
from tests.integration.reports.given import Reporter
from tests.support.certificates import Authority
from tests.support.https import Inbox, https_server
from tests.support.smtp import Post, post_office

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def inbox(authority: Authority) -> Iterator[Inbox]:
    """By an address: processes of their own have no resolver of the tests'."""
    with https_server(authority.server_context("127.0.0.1")) as made:
        yield made


@pytest.fixture
def post() -> Iterator[Post]:
    with post_office() as made:
        yield made


def environment(authority: Authority, post: Post) -> dict[str, Any]:
    return {
        "SSL_CERT_FILE": str(authority.file),
        "MAILMART_SMTP_URL": f"smtp://127.0.0.1:{post.port}",
        "MAILMART_MAIL_FROM": "reports@mart.example",
        "MAILMART_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1",
    }


@contextmanager
def scheduling(settings: Settings, log: Path) -> Iterator[None]:
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


def insert_report(reporter: Reporter, inbox: Inbox) -> dict[str, Any]:
    """With a webhook here: the service of these tests would refuse it."""
    made = reporter.create(recipients=["ana@example.com"], webhook_url="https://hooks.example/in")
    reporter.execute(
        "update app.reports set webhook_url = %s where report_id = %s", f"https://127.0.0.1:{inbox.port}/in", made["report_id"]
    )
    return made


def test_what_is_due_arrives(reporter: Reporter, authority: Authority, post: Post, inbox: Inbox, tmp_path: Path) -> None:
    made = insert_report(reporter, inbox)
    reporter.make_due(made["report_id"])
    log = tmp_path / "log"
    with working(reporter.settings, log, **environment(authority, post)), scheduling(reporter.settings, log):
        wait_for(
            lambda: [run["status"] for run in reporter.runs(made["report_id"])] == ["completed"],
            150,
            lambda: f"{reporter.runs(made['report_id'])}\n{log.read_text()}",
        )
    (run,) = reporter.runs(made["report_id"])
    (request,) = inbox.told
    event = Webhook(made["webhook_secret"]).verify(request.body, request.headers)
    assert (event["type"], event["data"]["run_id"]) == ("report.completed", run["run_id"])
    assert [mail.recipients for mail in post.taken] == [["ana@example.com"]]
    assert reporter.execute("select count(*) from procrastinate.procrastinate_jobs where task_name <> 'export'") == [(0,)]


def test_a_worker_that_is_killed_while_it_tells_somebody_loses_nothing(
    reporter: Reporter, authority: Authority, post: Post, inbox: Inbox, tmp_path: Path
) -> None:
    made = insert_report(reporter, inbox)
    run = reporter.run_now(made["report_id"])
    reporter.write(run["export_id"])
    is_told, may_answer = threading.Event(), threading.Event()

    def hold(_: Any) -> tuple[int, dict[str, str]]:
        is_told.set()
        may_answer.wait(60)
        return 200, {}

    inbox.answer = hold
    log = tmp_path / "log"
    with working(reporter.settings, log, **environment(authority, post)) as first:
        assert is_told.wait(90), log.read_text()
        first.send_signal(signal.SIGKILL)
        first.wait()
    may_answer.set()
    inbox.answer = lambda told: (200, {})
    with working(reporter.settings, log, **environment(authority, post)):

        def is_completed() -> bool:
            # whoever was at it is dead by now
            reporter.execute("update app.report_deliveries set not_before = clock_timestamp() where status = 'pending'")
            reporter.execute(
                "update procrastinate.procrastinate_jobs set scheduled_at = clock_timestamp()"
                " where task_name = 'deliver' and status = 'todo'"
            )
            return bool(reporter.runs(made["report_id"])[0]["status"] == "completed")

        wait_for(is_completed, 120, lambda: f"{reporter.runs(made['report_id'])}\n{log.read_text()}")
    first_time, second_time = inbox.told
    assert first_time.headers["webhook-id"] == second_time.headers["webhook-id"] == run["run_id"]
    assert first_time.body == second_time.body
    webhook = next(one for one in reporter.runs(made["report_id"])[0]["deliveries"] if one["channel"] == "webhook")
    assert (webhook["status"], webhook["attempts"]) == ("delivered", 2)
    # the mail was one job, and the webhook another
    assert len(post.taken) == 1
