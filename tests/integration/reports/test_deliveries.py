"""Deliveries of runs to SMTP and https servers: contents, retries, failures and crashes."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook

from api.db.connection import conninfo
from api.errors import DeliveryFailed
from api.net.ssrf import parse_networks
from api.reports import delivery
from api.reports import run_repository as runs
from api.reports.delivery import run_delivery
from api.reports.run_repository import MAX_ATTEMPTS, MAX_WEBHOOK_FAILURES, RETRY_SECONDS, DeliveryTarget
from tests.integration.reports.reporter import EXPORT, Reporter
from tests.support.certificate_authority import CertificateAuthority
from tests.support.mail_server import MailTestServer, mail_server
from tests.support.webhook_server import WebhookServer, webhook_server

# includes a build of the warehouse
pytestmark = pytest.mark.timeout(900)
NAME = "hooks.example"
ANA, BEN = "ana@example.com", "ben@example.com"


def resolve_locally(host: str, port: int) -> Sequence[str]:
    assert host == NAME
    return ["127.0.0.1"]


@pytest.fixture
def mails() -> Iterator[MailTestServer]:
    with mail_server() as made:
        yield made


@pytest.fixture
def webhooks(trusted: CertificateAuthority) -> Iterator[WebhookServer]:
    with webhook_server(trusted.server_context(NAME)) as made:
        yield made


@pytest.fixture
def sender(reporter: Reporter, mails: MailTestServer) -> Reporter:
    """A reporter with a mail server, whose webhooks may call this machine."""
    return replace(reporter, resolve=resolve_locally).with_settings(
        smtp_url=f"smtp://127.0.0.1:{mails.port}",
        mail_from="Reports <reports@mart.example>",
        webhook_allowed_networks=parse_networks(["127.0.0.1"]),
        public_address="https://mart.example",
    )


def webhook_url(webhooks: WebhookServer) -> str:
    return f"https://{NAME}:{webhooks.port}/in"


def run_and_deliver(sender: Reporter, report_id: str) -> dict[str, Any]:
    """Runs a report, writes its export and makes all attempts to deliver it."""
    run = sender.run_now(report_id)
    sender.write(run["export_id"])
    sender.deliver_all()
    return next(ended for ended in sender.runs(report_id) if ended["run_id"] == run["run_id"])


def states(run: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {delivery["target"]: (delivery["status"], delivery["attempts"]) for delivery in run["deliveries"]}


def test_a_run_is_delivered_to_each_recipient_and_the_webhook(
    sender: Reporter, mails: MailTestServer, webhooks: WebhookServer
) -> None:
    made = sender.create(name="Wöchentlich <b>", recipients=[ANA, BEN], webhook_url=webhook_url(webhooks))
    run = sender.run_now(made["report_id"])
    assert sender.runs(made["report_id"])[0]["deliveries"] == []
    sender.write(run["export_id"])
    (run,) = sender.runs(made["report_id"])
    assert run["status"] == "delivering"
    assert states(run) == {ANA: ("pending", 0), BEN: ("pending", 0), webhook_url(webhooks): ("pending", 0)}
    assert sender.deliver() == 3
    (run,) = sender.runs(made["report_id"])
    assert (run["status"], run["error"]) == ("completed", None)
    assert states(run) == {ANA: ("delivered", 1), BEN: ("delivered", 1), webhook_url(webhooks): ("delivered", 1)}
    assert sender.deliver() == 0

    (request,) = webhooks.requests
    event = Webhook(made["webhook_secret"]).verify(request.body, request.headers)
    assert request.headers["webhook-id"] == run["run_id"]
    assert event["type"] == "report.completed"
    data = event["data"]
    export = sender.data(sender.call("GET", f"exports/{run['export_id']}"))
    assert (data["report_id"], data["report_name"], data["run_id"]) == (made["report_id"], "Wöchentlich <b>", run["run_id"])
    for name in ("export_id", "export_type", "format", "row_count", "file_size_bytes", "sha256", "data_as_of"):
        assert data[name] == export[name]
    assert data["error"] is None
    # the link is valid as long as the file: a week
    assert data["expires_at"] == export["file_expires_at"]
    assert datetime.fromisoformat(data["expires_at"]) - datetime.now(UTC) > timedelta(days=6, hours=23)

    assert sorted(mail.recipients[0] for mail in mails.received) == [ANA, BEN]
    assert len({mail.message["Message-ID"] for mail in mails.received}) == 2
    for mail in mails.received:
        assert mail.message["To"] == mail.recipients[0]
        assert mail.message["Subject"] == "Wöchentlich <b>"
        plain, html = (part.get_content() for part in mail.message.iter_parts())
        url, opt_out_url = re.findall(r"https://\S+", plain)
        assert mail.message["List-Unsubscribe"] == f"<{opt_out_url}>"
        assert url == data["download_url"]
        assert "Wöchentlich &lt;b&gt;" in html
        assert url.replace("&", "&amp;") in html

    file = sender.client.get(url.removeprefix("https://mart.example"))
    assert file.status_code == 200
    assert hashlib.sha256(file.data).hexdigest() == data["sha256"]


def test_a_failed_export_is_delivered(
    sender: Reporter, mails: MailTestServer, webhooks: WebhookServer, reporter_of: Callable[[str], Reporter]
) -> None:
    empty = replace(sender, key=reporter_of("ws_empty").key, workspace_id="ws_empty")
    made = empty.create(recipients=[ANA], webhook_url=webhook_url(webhooks))
    run = run_and_deliver(empty, made["report_id"])
    reason = "Failed to generate export: insufficient data"
    assert (run["status"], run["error"]) == ("failed", reason)
    event = json.loads(webhooks.requests[0].body)
    assert (event["type"], event["data"]["error"], event["data"]["export_status"]) == ("report.failed", reason, "failed")
    assert (event["data"]["download_url"], event["data"]["expires_at"]) == (None, None)
    (mail,) = mails.received
    assert "could not be created" in mail.message["Subject"]
    assert reason in next(mail.message.iter_parts()).get_content()


def test_a_run_without_an_export_is_delivered(sender: Reporter, mails: MailTestServer) -> None:
    made = sender.create(recipients=[ANA], export={**EXPORT, "campaign_ids": ["cmp_1"]})
    sender.execute("update app.reports set request = jsonb_set(request, '{campaign_ids}', '[\"cmp_gone\"]')")
    run = sender.run_now(made["report_id"])
    sender.deliver_all()
    (run,) = sender.runs(made["report_id"])
    assert (run["status"], run["export_id"]) == ("failed", None)
    assert "cmp_gone" in next(mails.received[0].message.iter_parts()).get_content()


def test_a_failing_delivery_is_retried_four_times_with_increasing_delays(sender: Reporter, mails: MailTestServer) -> None:
    made = sender.create(recipients=[ANA, BEN])
    mails.rejections[ANA] = "451 4.7.1 Greylisted"
    run = sender.run_now(made["report_id"])
    sender.write(run["export_id"])
    for number in range(MAX_ATTEMPTS):
        assert sender.deliver() == (2 if number == 0 else 1)
        if number < MAX_ATTEMPTS - 1:
            remaining = "extract(epoch from not_before - clock_timestamp())::float"
            ((seconds,),) = sender.execute(f"select {remaining} from app.report_deliveries where target = %s", ANA)
            assert (0, *RETRY_SECONDS)[number] < seconds <= RETRY_SECONDS[number]
            (run,) = sender.runs(made["report_id"])
            assert run["status"] == "delivering"
            assert "451 4.7.1 Greylisted" in run["deliveries"][0]["error"]
            # the next attempt is not due
            assert sender.deliver() == 0
            sender.skip_waiting_time()
    (run,) = sender.runs(made["report_id"])
    assert states(run) == {ANA: ("failed", MAX_ATTEMPTS), BEN: ("delivered", 1)}
    assert (run["status"], run["error"]) == ("failed", f"Not delivered: {ANA}")
    # no recipient got it twice
    assert [mail.recipients for mail in mails.received] == [[BEN]]


def test_a_retried_webhook_has_the_same_id_and_body(sender: Reporter, mails: MailTestServer, webhooks: WebhookServer) -> None:
    made = sender.create(recipients=[ANA], webhook_url=webhook_url(webhooks))
    mails.data_response = "451 4.3.0 Try later"
    webhooks.answer = lambda request: (503, {})
    run = sender.run_now(made["report_id"])
    sender.write(run["export_id"])
    assert sender.deliver() == 2
    mails.data_response = ""
    webhooks.answer = lambda request: (200, {})
    sender.skip_waiting_time()
    assert sender.deliver() == 2
    first, second = webhooks.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == run["run_id"]
    assert first.body == second.body
    (run,) = sender.runs(made["report_id"])
    assert (run["status"], set(states(run).values())) == ("completed", {("delivered", 2)})
    assert [delivery["error"] for delivery in run["deliveries"]] == [None, None]


def test_a_file_that_is_deleted_between_two_attempts_is_reported_as_a_failure(sender: Reporter, webhooks: WebhookServer) -> None:
    made = sender.create(webhook_url=webhook_url(webhooks))
    webhooks.answer = lambda request: (503, {})
    run = sender.run_now(made["report_id"])
    sender.write(run["export_id"])
    assert sender.deliver() == 1
    assert sender.call("DELETE", f"exports/{run['export_id']}").status_code == 204
    sender.skip_waiting_time()
    assert sender.deliver() == 1
    first, second = (json.loads(request.body) for request in webhooks.requests)
    assert (first["type"], first["data"]["error"]) == ("report.completed", None)
    assert (second["type"], second["data"]["error"]) == ("report.failed", "The export's file was deleted")


def test_a_permanent_rejection_is_not_retried(sender: Reporter, mails: MailTestServer) -> None:
    made = sender.create(recipients=[ANA])
    mails.rejections[ANA] = "550 5.1.1 No such user"
    run = run_and_deliver(sender, made["report_id"])
    assert states(run) == {ANA: ("failed", 1)}
    assert "550 5.1.1" in run["deliveries"][0]["error"]


def test_without_a_mail_server_the_delivery_fails(sender: Reporter) -> None:
    made = sender.create(recipients=[ANA])
    run = run_and_deliver(sender.with_settings(smtp_url=None), made["report_id"])
    assert run["deliveries"][0]["error"] == "No mail server is configured"


def test_a_webhook_is_disabled_after_ten_failed_runs_and_enabled_by_a_change(sender: Reporter, webhooks: WebhookServer) -> None:
    made = sender.create(webhook_url=webhook_url(webhooks))
    report_id = made["report_id"]
    webhooks.answer = lambda request: (500, {})
    for number in range(1, MAX_WEBHOOK_FAILURES + 1):
        run = run_and_deliver(sender, report_id)
        assert states(run) == {webhook_url(webhooks): ("failed", MAX_ATTEMPTS)}
        report = sender.get(report_id)
        assert report["webhook_failures"] == number
        assert (report["webhook_disabled_at"] is not None) == (number == MAX_WEBHOOK_FAILURES)
    calls = len(webhooks.requests)
    assert calls == MAX_WEBHOOK_FAILURES * MAX_ATTEMPTS
    run = run_and_deliver(sender, report_id)
    assert (run["status"], run["deliveries"]) == ("completed", [])
    assert len(webhooks.requests) == calls
    webhooks.answer = lambda request: (200, {})
    report = sender.data(sender.call("PATCH", f"reports/{report_id}", json={"webhook_url": webhook_url(webhooks)}))
    assert (report["webhook_failures"], report["webhook_disabled_at"]) == (0, None)
    assert run_and_deliver(sender, report_id)["status"] == "completed"
    assert len(webhooks.requests) == calls + 1


def test_a_success_resets_the_count_of_failures(sender: Reporter, webhooks: WebhookServer) -> None:
    made = sender.create(webhook_url=webhook_url(webhooks))
    webhooks.answer = lambda request: (500, {})
    for _ in range(2):
        run_and_deliver(sender, made["report_id"])
    assert sender.get(made["report_id"])["webhook_failures"] == 2
    webhooks.answer = lambda request: (204, {})
    run_and_deliver(sender, made["report_id"])
    assert sender.get(made["report_id"])["webhook_failures"] == 0


def test_a_webhook_is_disabled_by_status_410(sender: Reporter, webhooks: WebhookServer) -> None:
    made = sender.create(webhook_url=webhook_url(webhooks))
    webhooks.answer = lambda request: (410, {})
    run = run_and_deliver(sender, made["report_id"])
    assert states(run) == {webhook_url(webhooks): ("failed", 1)}
    assert sender.get(made["report_id"])["webhook_disabled_at"] is not None


def test_removed_recipients_get_nothing(sender: Reporter, mails: MailTestServer, webhooks: WebhookServer) -> None:
    made = sender.create(recipients=[ANA], webhook_url=webhook_url(webhooks))
    run = sender.run_now(made["report_id"])
    sender.write(run["export_id"])
    sender.data(
        sender.call(
            "PATCH", f"reports/{made['report_id']}", json={"recipients": None, "webhook_url": f"{webhook_url(webhooks)}/2"}
        )
    )
    sender.deliver_all()
    assert (mails.received, webhooks.requests) == ([], [])
    assert sender.get(made["report_id"])["webhook_failures"] == 0


def test_a_deleted_report_delivers_nothing(sender: Reporter, mails: MailTestServer) -> None:
    made = sender.create(recipients=[ANA])
    run = sender.run_now(made["report_id"])
    sender.write(run["export_id"])
    assert sender.call("DELETE", f"reports/{made['report_id']}").status_code == 204
    sender.deliver_all()
    assert mails.received == []
    assert sender.execute("select count(*) from procrastinate.procrastinate_jobs where queue_name = 'deliveries'") == [(0,)]


def _pending_delivery(sender: Reporter) -> DeliveryTarget:
    made = sender.create(recipients=[ANA])
    run = sender.run_now(made["report_id"])
    sender.write(run["export_id"])
    return DeliveryTarget(run["run_id"], "email", ANA)


def _connect(sender: Reporter) -> psycopg.Connection:
    return psycopg.connect(conninfo(sender.settings, "mailmart_worker"), autocommit=True)


def test_a_delivery_of_a_dead_worker_waits_for_the_end_of_its_reservation(sender: Reporter, mails: MailTestServer) -> None:
    target = _pending_delivery(sender)
    with _connect(sender) as connection:
        # an attempt that dies
        assert runs.begin_attempt(connection, target) == 1
    # its job was recovered
    assert sender.deliver() == 1
    assert mails.received == []
    assert sender.deliver() == 0
    sender.skip_waiting_time()
    assert sender.deliver() == 1
    assert len(mails.received) == 1
    assert states(sender.runs(sender.data(sender.call("GET", "reports"))["reports"][0]["report_id"])[0]) == {
        ANA: ("delivered", 2)
    }


def test_a_delivery_fails_after_five_dead_attempts(sender: Reporter, mails: MailTestServer) -> None:
    target = _pending_delivery(sender)
    for number in range(1, MAX_ATTEMPTS + 1):
        with _connect(sender) as connection:
            assert runs.begin_attempt(connection, target) == number
        sender.skip_waiting_time()
    assert sender.deliver() == 1
    ((status, error),) = sender.execute("select status, error from app.report_deliveries")
    assert (status, error) == ("failed", runs.ATTEMPTS_EXHAUSTED)
    assert sender.execute("select status, error from app.report_runs") == [("failed", f"Not delivered: {ANA}")]
    assert mails.received == []


def test_an_outdated_attempt_changes_nothing(sender: Reporter) -> None:
    target = _pending_delivery(sender)
    with _connect(sender) as connection:
        assert runs.begin_attempt(connection, target) == 1
        sender.skip_waiting_time()
        assert runs.begin_attempt(connection, target) == 2
        runs.end(connection, target, 1, error="late")
        runs.retry_later(connection, target, 1, "late")
        assert sender.execute("select status, error, attempts from app.report_deliveries") == [("pending", None, 2)]
        runs.end(connection, target, 2)
        runs.end(connection, target, 2, error="even later")
    assert sender.execute("select status, error from app.report_deliveries") == [("delivered", None)]


def test_concurrent_jobs_of_a_delivery_send_once(sender: Reporter, mails: MailTestServer) -> None:
    target = _pending_delivery(sender)
    start = threading.Barrier(4)

    def run() -> None:
        start.wait(30)
        run_delivery(sender.settings, *target.key)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mails.received) == 1


def test_a_delivery_without_a_job_is_enqueued_again(sender: Reporter, mails: MailTestServer) -> None:
    _pending_delivery(sender)
    sender.execute("delete from procrastinate.procrastinate_jobs")
    sender.run_due()
    assert sender.deliver() == 0
    sender.execute("update app.report_deliveries set not_before = not_before - interval '2 minutes'")
    sender.run_due()
    assert sender.deliver() == 1
    assert len(mails.received) == 1


def test_many_deliveries_of_a_workspace_do_not_block_others(sender: Reporter, reporter_of: Callable[[str], Reporter]) -> None:
    empty = replace(sender, key=reporter_of("ws_empty").key, workspace_id="ws_empty")
    for reporter, recipients in ((sender, 5), (empty, 1)):
        made = reporter.create(recipients=[f"a{number}@example.com" for number in range(recipients)])
        run = reporter.run_now(made["report_id"])
        reporter.write(run["export_id"])
    jobs = sender.execute(
        "select jobs.priority, deliveries.workspace_id from procrastinate.procrastinate_jobs as jobs"
        " inner join app.report_deliveries as deliveries on deliveries.job_id = jobs.id order by 1 desc, jobs.id"
    )
    assert jobs == [(0, "ws_reports"), (0, "ws_empty"), *((-number, "ws_reports") for number in range(1, 5))]


def test_deliveries_that_end_at_the_same_time_end_the_run(sender: Reporter) -> None:
    made = sender.create(recipients=[f"a{number}@example.com" for number in range(8)])
    run = sender.run_now(made["report_id"])
    sender.write(run["export_id"])
    targets = [DeliveryTarget(run["run_id"], "email", f"a{number}@example.com") for number in range(8)]
    start = threading.Barrier(len(targets))

    def finish(target: DeliveryTarget) -> None:
        with _connect(sender) as connection:
            attempt = runs.begin_attempt(connection, target)
            assert attempt == 1
            start.wait(30)
            runs.end(connection, target, attempt)

    threads = [threading.Thread(target=finish, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sender.execute("select status from app.report_runs") == [("completed",)]


def test_a_mail_is_sent_once_if_the_database_is_unavailable_afterwards(
    sender: Reporter, mails: MailTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = _pending_delivery(sender)
    monkeypatch.setattr(delivery, "SAVE_RETRY_SECONDS", 0.1)
    connect = psycopg.connect
    failures = iter([False, True, True])

    def connect_sometimes(*args: Any, **options: Any) -> psycopg.Connection:
        if next(failures, False):
            raise psycopg.OperationalError("the database is unavailable")
        return connect(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg, "connect", connect_sometimes)
        run_delivery(sender.settings, *target.key)
    assert next(failures, None) is None
    assert sender.execute("select status, attempts from app.report_deliveries") == [("delivered", 1)]
    assert len(mails.received) == 1


def test_no_transaction_is_open_while_a_mail_is_sent(sender: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    target = _pending_delivery(sender)
    is_sending, may_end = threading.Event(), threading.Event()

    def send_slowly(*_: Any) -> None:
        is_sending.set()
        may_end.wait(30)
        raise DeliveryFailed("slow")

    monkeypatch.setattr(delivery, "send", send_slowly)
    thread = threading.Thread(target=run_delivery, args=(sender.settings, *target.key))
    thread.start()
    try:
        assert is_sending.wait(30)
        query = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%%'"
        assert sender.execute(query) == [(0,)]
    finally:
        may_end.set()
        thread.join()
