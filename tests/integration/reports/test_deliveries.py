"""Runs reach people and programs: over real SMTP and https servers, once where it can be once, and not for ever."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook

from api.errors import DeliveryFailed
from api.net.ssrf import networks
from api.reports import delivery as deliver
from api.reports import run_repository as runs
from api.reports.delivery import run_delivery
from api.reports.run_repository import MAX_ATTEMPTS, MAX_FAILURES, WAITS, Target
from tests.integration.reports.given import EXPORT, Reporter
from tests.support.certificates import Authority
from tests.support.https import Inbox, https_server
from tests.support.smtp import Post, post_office

# a build of the warehouse comes first
pytestmark = pytest.mark.timeout(300)
NAME = "hooks.example"
ANA, BEN = "ana@example.com", "ben@example.com"


def here(host: str, port: int) -> Sequence[str]:
    assert host == NAME
    return ["127.0.0.1"]


@pytest.fixture
def post() -> Iterator[Post]:
    with post_office() as made:
        yield made


@pytest.fixture
def inbox(trusted: Authority) -> Iterator[Inbox]:
    with https_server(trusted.server_context(NAME)) as made:
        yield made


@pytest.fixture
def told(reporter: Reporter, post: Post) -> Reporter:
    """With a mail server, and a receiver here that webhooks may go to."""
    made = replace(reporter, resolve=here)
    return made.with_settings(
        smtp_url=f"smtp://127.0.0.1:{post.port}",
        mail_from="Reports <reports@mart.example>",
        webhook_allowed_networks=networks(["127.0.0.1"]),
        public_address="https://mart.example",
    )


def hook(inbox: Inbox) -> str:
    return f"https://{NAME}:{inbox.port}/in"


def delivered(told: Reporter, report_id: str) -> dict[str, Any]:
    """A run whose export is written, and all that comes of it."""
    run = told.run_now(report_id)
    told.write(run["export_id"])
    told.deliver_all()
    return next(found for found in told.runs(report_id) if found["run_id"] == run["run_id"])


def states(run: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {delivery["target"]: (delivery["status"], delivery["attempts"]) for delivery in run["deliveries"]}


def test_each_recipient_and_the_webhook_get_the_run_with_a_link_that_lives_as_long_as_the_file(
    told: Reporter, post: Post, inbox: Inbox
) -> None:
    made = told.create(name="Wöchentlich <b>", recipients=[ANA, BEN], webhook_url=hook(inbox))
    run = told.run_now(made["report_id"])
    assert told.runs(made["report_id"])[0]["deliveries"] == []
    told.write(run["export_id"])
    (run,) = told.runs(made["report_id"])
    assert run["status"] == "delivering"
    assert states(run) == {ANA: ("pending", 0), BEN: ("pending", 0), hook(inbox): ("pending", 0)}
    assert told.deliver() == 3
    (run,) = told.runs(made["report_id"])
    assert (run["status"], run["error"]) == ("completed", None)
    assert states(run) == {ANA: ("delivered", 1), BEN: ("delivered", 1), hook(inbox): ("delivered", 1)}
    assert told.deliver() == 0

    (request,) = inbox.told
    event = Webhook(made["webhook_secret"]).verify(request.body, request.headers)
    assert request.headers["webhook-id"] == run["run_id"]
    assert event["type"] == "report.completed"
    data = event["data"]
    export = told.data(told.call("GET", f"exports/{run['export_id']}"))
    assert (data["report_id"], data["report_name"], data["run_id"]) == (made["report_id"], "Wöchentlich <b>", run["run_id"])
    for name in ("export_id", "export_type", "format", "row_count", "file_size_bytes", "sha256", "data_as_of"):
        assert data[name] == export[name]
    assert data["error"] is None
    # as long as the file, which is a week
    assert data["expires_at"] == export["file_expires_at"]
    assert datetime.fromisoformat(data["expires_at"]) - datetime.now(UTC) > timedelta(days=6, hours=23)

    assert sorted(mail.recipients[0] for mail in post.taken) == [ANA, BEN]
    assert len({mail.message["Message-ID"] for mail in post.taken}) == 2
    for mail in post.taken:
        assert mail.message["To"] == mail.recipients[0]
        assert mail.message["Subject"] == "Wöchentlich <b>"
        plain, html = (part.get_content() for part in mail.message.iter_parts())
        (url,) = re.findall(r"https://\S+", plain)
        assert url == data["download_url"]
        assert "Wöchentlich &lt;b&gt;" in html
        assert url.replace("&", "&amp;") in html

    file = told.client.get(url.removeprefix("https://mart.example"))
    assert file.status_code == 200
    assert hashlib.sha256(file.data).hexdigest() == data["sha256"]


def test_a_failure_is_told_too(told: Reporter, post: Post, inbox: Inbox, reporter_of: Callable[[str], Reporter]) -> None:
    empty = replace(told, key=reporter_of("ws_empty").key, workspace_id="ws_empty")
    made = empty.create(recipients=[ANA], webhook_url=hook(inbox))
    run = delivered(empty, made["report_id"])
    reason = "Failed to generate export: insufficient data"
    assert (run["status"], run["error"]) == ("failed", reason)
    event = json.loads(inbox.told[0].body)
    assert (event["type"], event["data"]["error"], event["data"]["export_status"]) == ("report.failed", reason, "failed")
    assert (event["data"]["download_url"], event["data"]["expires_at"]) == (None, None)
    (mail,) = post.taken
    assert "could not be made" in mail.message["Subject"]
    assert reason in next(mail.message.iter_parts()).get_content()


def test_an_export_that_cannot_even_be_asked_for_is_told_too(told: Reporter, post: Post) -> None:
    made = told.create(recipients=[ANA], export={**EXPORT, "campaign_ids": ["cmp_1"]})
    told.execute("update app.reports set request = jsonb_set(request, '{campaign_ids}', '[\"cmp_gone\"]')")
    run = told.run_now(made["report_id"])
    told.deliver_all()
    (run,) = told.runs(made["report_id"])
    assert (run["status"], run["export_id"]) == ("failed", None)
    assert "cmp_gone" in next(post.taken[0].message.iter_parts()).get_content()


def test_what_fails_is_tried_five_times_with_longer_and_longer_waits(told: Reporter, post: Post) -> None:
    made = told.create(recipients=[ANA, BEN])
    post.refused[ANA] = "451 4.7.1 Greylisted"
    run = told.run_now(made["report_id"])
    told.write(run["export_id"])
    for number in range(MAX_ATTEMPTS):
        assert told.deliver() == (2 if number == 0 else 1)
        if number < MAX_ATTEMPTS - 1:
            waits = "extract(epoch from not_before - clock_timestamp())::float"
            ((seconds,),) = told.execute(f"select {waits} from app.report_deliveries where target = %s", ANA)
            assert (0, *WAITS)[number] < seconds <= WAITS[number]
            (run,) = told.runs(made["report_id"])
            assert run["status"] == "delivering"
            assert "451 4.7.1 Greylisted" in run["deliveries"][0]["error"]
            # not before
            assert told.deliver() == 0
            told.let_time_go_by()
    (run,) = told.runs(made["report_id"])
    assert states(run) == {ANA: ("failed", MAX_ATTEMPTS), BEN: ("delivered", 1)}
    assert (run["status"], run["error"]) == ("failed", f"Not delivered: {ANA}")
    # nobody got it twice
    assert [mail.recipients for mail in post.taken] == [[BEN]]


def test_what_fails_once_comes_the_next_time_as_the_same_mail(told: Reporter, post: Post, inbox: Inbox) -> None:
    made = told.create(recipients=[ANA], webhook_url=hook(inbox))
    post.on_data = "451 4.3.0 Try later"
    inbox.answer = lambda request: (503, {})
    run = told.run_now(made["report_id"])
    told.write(run["export_id"])
    assert told.deliver() == 2
    post.on_data = ""
    inbox.answer = lambda request: (200, {})
    told.let_time_go_by()
    assert told.deliver() == 2
    first, second = inbox.told
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == run["run_id"]
    assert first.body == second.body
    (run,) = told.runs(made["report_id"])
    assert (run["status"], set(states(run).values())) == ("completed", {("delivered", 2)})
    assert [delivery["error"] for delivery in run["deliveries"]] == [None, None]


def test_a_file_that_goes_between_two_attempts_is_told_as_what_failed(told: Reporter, inbox: Inbox) -> None:
    made = told.create(webhook_url=hook(inbox))
    inbox.answer = lambda request: (503, {})
    run = told.run_now(made["report_id"])
    told.write(run["export_id"])
    assert told.deliver() == 1
    assert told.call("DELETE", f"exports/{run['export_id']}").status_code == 204
    told.let_time_go_by()
    assert told.deliver() == 1
    first, second = (json.loads(request.body) for request in inbox.told)
    assert (first["type"], first["data"]["error"]) == ("report.completed", None)
    assert (second["type"], second["data"]["error"]) == ("report.failed", "The export's file is gone")


def test_a_lasting_refusal_is_not_tried_again(told: Reporter, post: Post) -> None:
    made = told.create(recipients=[ANA])
    post.refused[ANA] = "550 5.1.1 No such user"
    run = delivered(told, made["report_id"])
    assert states(run) == {ANA: ("failed", 1)}
    assert "550 5.1.1" in run["deliveries"][0]["error"]


def test_a_service_that_sends_no_mail_says_so(told: Reporter) -> None:
    made = told.create(recipients=[ANA])
    run = delivered(told.with_settings(smtp_url=None), made["report_id"])
    assert run["deliveries"][0]["error"] == "This service is not set up to send mail"


def test_a_webhook_is_off_after_ten_runs_and_on_again_when_it_is_given(told: Reporter, inbox: Inbox) -> None:
    made = told.create(webhook_url=hook(inbox))
    report_id = made["report_id"]
    inbox.answer = lambda request: (500, {})
    for number in range(1, MAX_FAILURES + 1):
        run = delivered(told, report_id)
        assert states(run) == {hook(inbox): ("failed", MAX_ATTEMPTS)}
        shown = told.get(report_id)
        assert shown["webhook_failures"] == number
        assert (shown["webhook_disabled_at"] is not None) == (number == MAX_FAILURES)
    calls = len(inbox.told)
    assert calls == MAX_FAILURES * MAX_ATTEMPTS
    run = delivered(told, report_id)
    assert (run["status"], run["deliveries"]) == ("completed", [])
    assert len(inbox.told) == calls
    inbox.answer = lambda request: (200, {})
    shown = told.data(told.call("PATCH", f"reports/{report_id}", json={"webhook_url": hook(inbox)}))
    assert (shown["webhook_failures"], shown["webhook_disabled_at"]) == (0, None)
    assert delivered(told, report_id)["status"] == "completed"
    assert len(inbox.told) == calls + 1


def test_one_success_begins_the_count_anew(told: Reporter, inbox: Inbox) -> None:
    made = told.create(webhook_url=hook(inbox))
    inbox.answer = lambda request: (500, {})
    for _ in range(2):
        delivered(told, made["report_id"])
    assert told.get(made["report_id"])["webhook_failures"] == 2
    inbox.answer = lambda request: (204, {})
    delivered(told, made["report_id"])
    assert told.get(made["report_id"])["webhook_failures"] == 0


def test_a_receiver_that_is_gone_is_not_told_again(told: Reporter, inbox: Inbox) -> None:
    made = told.create(webhook_url=hook(inbox))
    inbox.answer = lambda request: (410, {})
    run = delivered(told, made["report_id"])
    assert states(run) == {hook(inbox): ("failed", 1)}
    assert told.get(made["report_id"])["webhook_disabled_at"] is not None


def test_nobody_is_told_who_was_taken_off_meanwhile(told: Reporter, post: Post, inbox: Inbox) -> None:
    made = told.create(recipients=[ANA], webhook_url=hook(inbox))
    run = told.run_now(made["report_id"])
    told.write(run["export_id"])
    told.data(told.call("PATCH", f"reports/{made['report_id']}", json={"recipients": None, "webhook_url": f"{hook(inbox)}/2"}))
    told.deliver_all()
    assert (post.taken, inbox.told) == ([], [])
    assert told.get(made["report_id"])["webhook_failures"] == 0


def test_a_report_that_is_deleted_tells_nobody(told: Reporter, post: Post) -> None:
    made = told.create(recipients=[ANA])
    run = told.run_now(made["report_id"])
    told.write(run["export_id"])
    assert told.call("DELETE", f"reports/{made['report_id']}").status_code == 204
    told.deliver_all()
    assert post.taken == []
    assert told.execute("select count(*) from procrastinate.procrastinate_jobs where queue_name = 'deliveries'") == [(0,)]


def _begun(told: Reporter) -> Target:
    made = told.create(recipients=[ANA])
    run = told.run_now(made["report_id"])
    told.write(run["export_id"])
    return Target(run["run_id"], "email", ANA)


def _books(told: Reporter) -> psycopg.Connection:
    return deliver._books(told.settings)


def test_the_job_of_a_worker_that_died_waits_until_nobody_can_be_at_it(told: Reporter, post: Post) -> None:
    target = _begun(told)
    with _books(told) as connection:
        # begun by one that says nothing more
        assert runs.begin_attempt(connection, target) == 1
    # put back, and taken up
    assert told.deliver() == 1
    assert post.taken == []
    assert told.deliver() == 0
    told.let_time_go_by()
    assert told.deliver() == 1
    assert len(post.taken) == 1
    assert states(told.runs(told.data(told.call("GET", "reports"))["reports"][0]["report_id"])[0]) == {ANA: ("delivered", 2)}


def test_one_that_kills_its_workers_is_given_up(told: Reporter, post: Post) -> None:
    target = _begun(told)
    for number in range(1, MAX_ATTEMPTS + 1):
        with _books(told) as connection:
            assert runs.begin_attempt(connection, target) == number
        told.let_time_go_by()
    assert told.deliver() == 1
    ((status, error),) = told.execute("select status, error from app.report_deliveries")
    assert (status, error) == ("failed", runs.NEVER_ENDED)
    assert told.execute("select status, error from app.report_runs") == [("failed", f"Not delivered: {ANA}")]
    assert post.taken == []


def test_one_that_was_taken_for_dead_changes_nothing(told: Reporter) -> None:
    target = _begun(told)
    with _books(told) as connection:
        assert runs.begin_attempt(connection, target) == 1
        told.let_time_go_by()
        assert runs.begin_attempt(connection, target) == 2
        runs.end(connection, target, 1, error="late")
        runs.retry_later(connection, target, 1, "late")
        assert told.execute("select status, error, attempts from app.report_deliveries") == [("pending", None, 2)]
        runs.end(connection, target, 2)
        runs.end(connection, target, 2, error="later still")
    assert told.execute("select status, error from app.report_deliveries") == [("delivered", None)]


def test_jobs_that_run_twice_at_once_send_once(told: Reporter, post: Post) -> None:
    target = _begun(told)
    start = threading.Barrier(4)

    def run() -> None:
        start.wait(30)
        run_delivery(told.settings, *target.key)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(post.taken) == 1


def test_a_delivery_without_a_job_gets_one(told: Reporter, post: Post) -> None:
    _begun(told)
    told.execute("delete from procrastinate.procrastinate_jobs")
    told.run_due()
    assert told.deliver() == 0
    told.execute("update app.report_deliveries set not_before = not_before - interval '2 minutes'")
    told.run_due()
    assert told.deliver() == 1
    assert len(post.taken) == 1


def test_a_workspace_that_has_much_to_send_keeps_no_other_waiting(told: Reporter, reporter_of: Callable[[str], Reporter]) -> None:
    empty = replace(told, key=reporter_of("ws_empty").key, workspace_id="ws_empty")
    for who, recipients in ((told, 5), (empty, 1)):
        made = who.create(recipients=[f"a{number}@example.com" for number in range(recipients)])
        run = who.run_now(made["report_id"])
        who.write(run["export_id"])
    jobs = told.execute(
        "select jobs.priority, deliveries.workspace_id from procrastinate.procrastinate_jobs as jobs"
        " inner join app.report_deliveries as deliveries on deliveries.job_id = jobs.id order by 1 desc, jobs.id"
    )
    assert jobs == [(0, "ws_reports"), (0, "ws_empty"), *((-number, "ws_reports") for number in range(1, 5))]


def test_all_of_a_run_ending_at_once_end_it(told: Reporter) -> None:
    made = told.create(recipients=[f"a{number}@example.com" for number in range(8)])
    run = told.run_now(made["report_id"])
    told.write(run["export_id"])
    targets = [Target(run["run_id"], "email", f"a{number}@example.com") for number in range(8)]
    start = threading.Barrier(len(targets))

    def finish(target: Target) -> None:
        with _books(told) as connection:
            attempt = runs.begin_attempt(connection, target)
            assert attempt == 1
            start.wait(30)
            runs.end(connection, target, attempt)

    threads = [threading.Thread(target=finish, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.execute("select status from app.report_runs") == [("completed",)]


def test_a_database_that_is_away_when_a_mail_is_sent_does_not_make_it_two(
    told: Reporter, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = _begun(told)
    monkeypatch.setattr(deliver, "SECONDS_BETWEEN_NOTES", 0.1)
    open_books = deliver._books
    failures = iter([False, True, True])

    def sometimes(settings: Any) -> psycopg.Connection:
        if next(failures, False):
            raise psycopg.OperationalError("away")
        return open_books(settings)

    monkeypatch.setattr(deliver, "_books", sometimes)
    run_delivery(told.settings, *target.key)
    assert told.execute("select status, attempts from app.report_deliveries") == [("delivered", 1)]
    assert len(post.taken) == 1


def test_the_books_are_not_held_while_somebody_is_slow(told: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    target = _begun(told)
    is_sending, may_end = threading.Event(), threading.Event()

    def slow(*_: Any) -> None:
        is_sending.set()
        may_end.wait(30)
        raise DeliveryFailed("slow")

    monkeypatch.setattr(deliver, "send", slow)
    thread = threading.Thread(target=run_delivery, args=(told.settings, *target.key))
    thread.start()
    try:
        assert is_sending.wait(30)
        began = time.monotonic()
        query = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%%'"
        assert told.execute(query) == [(0,)]
        assert time.monotonic() - began < 20
    finally:
        may_end.set()
        thread.join()
