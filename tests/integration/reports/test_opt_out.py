"""Recipients of report mail opt out by a signed link, and a workspace has bounds of recipients and mails."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from api.db.connection import connect
from api.db.limits import write_limits
from tests.integration.reports.reporter import DAILY, EXPORT, WORKSPACE, Reporter
from tests.support.mail_server import MailTestServer, mail_server

# includes a build of the warehouse
pytestmark = pytest.mark.timeout(900)
ANA, BEN = "ana@example.com", "ben@example.com"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def mails() -> Iterator[MailTestServer]:
    with mail_server() as made:
        yield made


@pytest.fixture
def sender(reporter: Reporter, mails: MailTestServer) -> Iterator[Reporter]:
    """A reporter with a mail server, in a workspace that nobody has opted out of. The limits are reset afterwards."""
    with connect(reporter.settings, "mailmart_owner") as connection:
        connection.execute("delete from app.report_opt_outs")
        connection.execute("delete from app.report_mail_counts")
        before = connection.execute("select max_value, limit_name from app.workspace_limits").fetchall()
    yield reporter.with_settings(
        smtp_url=f"smtp://127.0.0.1:{mails.port}", mail_from="reports@mart.example", public_address="https://mart.example"
    )
    with connect(reporter.settings, "mailmart_owner") as connection, connection.cursor() as cursor:
        cursor.execute("delete from app.report_opt_outs")
        cursor.executemany("update app.workspace_limits set max_value = %s where limit_name = %s", before)


def deliver_now(sender: Reporter, report_id: str) -> None:
    sender.write(sender.run_now(report_id)["export_id"])
    sender.deliver_all()


def links(mails: MailTestServer) -> dict[str, str]:
    """Path and query of the link of each recipient, from the header of the mail."""
    found = {}
    for mail in mails.received:
        (url,) = re.findall(r"^<(https://mart\.example/reports/opt-out\?[^>]+)>$", str(mail.message["List-Unsubscribe"]))
        # the same in both parts of the mail
        plain, html = (part.get_content() for part in mail.message.iter_parts())
        assert url in plain
        assert url.replace("&", "&amp;") in html
        assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        found[mail.recipients[0]] = url.removeprefix("https://mart.example")
    return found


def test_a_recipient_opts_out_with_one_click_and_in_again(sender: Reporter, mails: MailTestServer) -> None:
    made = sender.create(recipients=[ANA, BEN])
    second = sender.create(name="Second", recipients=["Ana@Example.com"])
    assert made["opted_out_recipients"] == []
    deliver_now(sender, made["report_id"])
    link = links(mails)[ANA]
    assert ANA not in link
    # no credential; a scanner that opens the link changes nothing
    page = sender.client.get(link)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert '<form method="post">' in page.text
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    assert sender.client.head(link).status_code == 200
    assert sender.get(made["report_id"])["opted_out_recipients"] == []

    done = sender.client.post(link, data=ONE_CLICK)
    assert done.status_code == 200
    assert "no more report mail" in done.text
    assert sender.client.post(link, data=ONE_CLICK).status_code == 200
    assert sender.get(made["report_id"])["opted_out_recipients"] == [ANA]
    listed = sender.data(sender.call("GET", "reports"))["reports"]
    assert {report["report_id"]: report["opted_out_recipients"] for report in listed} == {
        made["report_id"]: [ANA],
        second["report_id"]: ["Ana@Example.com"],
    }

    # no mail of any report of the workspace, and its runs do not fail
    mails.received.clear()
    deliver_now(sender, made["report_id"])
    deliver_now(sender, second["report_id"])
    assert [mail.recipients for mail in mails.received] == [[BEN]]
    assert [sender.runs(report["report_id"])[0]["status"] for report in (made, second)] == ["completed", "completed"]
    # nobody else opts the person in again
    sender.call("PATCH", f"reports/{made['report_id']}", json={"recipients": []})
    changed = sender.data(sender.call("PATCH", f"reports/{made['report_id']}", json={"recipients": [ANA]}))
    assert changed["opted_out_recipients"] == [ANA]

    assert sender.client.post(link, data={"action": "subscribe"}).status_code == 200
    assert sender.get(made["report_id"])["opted_out_recipients"] == []


def test_a_mail_that_waits_is_not_sent_after_the_opt_out(sender: Reporter, mails: MailTestServer) -> None:
    made = sender.create(recipients=[ANA])
    deliver_now(sender, made["report_id"])
    link = links(mails)[ANA]
    mails.received.clear()
    sender.write(sender.run_now(made["report_id"])["export_id"])
    assert sender.client.post(link).status_code == 200
    sender.deliver_all()
    assert mails.received == []
    (delivery,) = sender.runs(made["report_id"])[0]["deliveries"]
    assert (delivery["status"], delivery["error"]) == ("failed", "The recipient has opted out of report mail")


def test_a_link_that_is_not_ours_changes_nothing(sender: Reporter, mails: MailTestServer) -> None:
    made = sender.create(recipients=[ANA, BEN])
    deliver_now(sender, made["report_id"])
    ana, ben = (dict(parse_qsl(urlsplit(links(mails)[address]).query)) for address in (ANA, BEN))
    wrong = [
        {**ana, "workspace": "ws_others"},
        {**ana, "workspace": ""},
        {**ana, "workspace": WORKSPACE + "\0"},
        {**ana, "workspace": "x" * 5000},
        {**ana, "recipient": ben["recipient"]},
        {**ana, "recipient": ANA},
        {**ana, "recipient": ana["recipient"] + "\n" + WORKSPACE},
        {**ana, "signature": ben["signature"]},
        {**ana, "signature": ana["signature"].upper()},
        {**ana, "signature": "'"},
        {},
    ]
    for query in wrong:
        answer = sender.client.post("/reports/opt-out?" + urlencode(query))
        assert answer.status_code == 403, query
        assert "not valid" in answer.text
    assert sender.get(made["report_id"])["opted_out_recipients"] == []
    assert sender.client.put(links(mails)[ANA]).status_code == 405


def test_recipients_of_a_workspace_have_a_bound_that_two_requests_cannot_pass(sender: Reporter) -> None:
    write_limits(dataclasses.replace(sender.settings, max_report_recipients=2))
    start = threading.Barrier(4)

    def create(number: int) -> int:
        start.wait(30)
        body = {"name": "R", "export": EXPORT, "schedule": DAILY, "recipients": [f"r{number}@example.com"]}
        return sender.call("POST", "reports", json=body).status_code

    with ThreadPoolExecutor(4) as clients:
        assert sorted(clients.map(create, range(4))) == [201, 201, 422, 422]
    first, second = sender.data(sender.call("GET", "reports"))["reports"]
    # the same people again are no others
    sender.create(recipients=[first["recipients"][0].upper(), *second["recipients"]])
    refused = sender.call("PATCH", f"reports/{first['report_id']}", json={"recipients": [*first["recipients"], ANA]})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (422, "VALIDATION_ERROR")
    assert "3 different recipients, and the maximum is 2" in refused.get_json()["error"]["details"]["recipients"][0]
    # fewer is possible although there are too many
    write_limits(dataclasses.replace(sender.settings, max_report_recipients=0))
    assert sender.call("PATCH", f"reports/{first['report_id']}", json={"recipients": []}).status_code == 200
    assert sender.call("PATCH", f"reports/{second['report_id']}", json={"name": "New"}).status_code == 200


def test_mails_of_a_day_have_a_bound_that_deleting_a_report_does_not_reset(sender: Reporter, mails: MailTestServer) -> None:
    write_limits(dataclasses.replace(sender.settings, max_report_mails_per_day=3))
    made = sender.create(recipients=[ANA, BEN])
    deliver_now(sender, made["report_id"])
    assert sender.call("DELETE", f"reports/{made['report_id']}").status_code == 204
    made = sender.create(recipients=[ANA, BEN])
    deliver_now(sender, made["report_id"])
    assert len(mails.received) == 3
    run = sender.runs(made["report_id"])[0]
    assert run["status"] == "failed"
    (failed,) = [delivery for delivery in run["deliveries"] if delivery["status"] == "failed"]
    assert (failed["error"], failed["attempts"]) == ("The workspace has sent its 3 report mails of the day", 0)
    # the next day
    with connect(sender.settings, "mailmart_owner") as connection:
        connection.execute("update app.report_mail_counts set sent_on = sent_on - 2")
    deliver_now(sender, made["report_id"])
    assert len(mails.received) == 5


def test_a_report_whose_workspace_has_no_quota_left_says_so(sender: Reporter, mails: MailTestServer) -> None:
    write_limits(dataclasses.replace(sender.settings, max_exports_processing=0))
    made = sender.create(recipients=[ANA])
    run = sender.run_now(made["report_id"])
    sender.deliver_all()
    run = sender.runs(made["report_id"])[0]
    assert (run["status"], run["export_id"]) == ("failed", None)
    assert "0 exports that wait or are being written, the maximum" in run["error"]
    (mail,) = mails.received
    assert run["error"] in next(mail.message.iter_parts()).get_content().replace("\n", " ")
