"""Charts in the mail of a report: pictures for those who see them, numbers for the others, and a mail in any case."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from api.drawing import drawer as drawer_module
from api.drawing.drawer import Drawer, DrawingFailed
from api.drawing.frames import write_frame
from api.drawing.picture import Picture
from api.reports import mail_charts
from api.reports.mail_charts import DATA_REPLACED, MAX_PICTURE_BYTES, NOT_ALL, NOT_READ, WIDTH, ChartMaker
from api.reports.templates import NO_MAIL
from tests.integration.api.browser import Browser
from tests.integration.reports.reporter import EMPTY_WORKSPACE, EXPORT, Reporter
from tests.support.mail_server import MailTestServer, mail_server

# includes a build of the warehouse
pytestmark = pytest.mark.timeout(900)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ANA = "ana@example.com"
OVERVIEW = {**EXPORT, "export_type": "workspace_overview"}


@pytest.fixture(scope="module")
def drawer() -> Iterator[Drawer]:
    drawer = Drawer()
    yield drawer
    drawer.close()


@pytest.fixture
def mails() -> Iterator[MailTestServer]:
    with mail_server() as made:
        yield made


@pytest.fixture
def sender(reporter: Reporter, mails: MailTestServer, drawer: Drawer) -> Reporter:
    with_mail = reporter.with_settings(
        smtp_url=f"smtp://127.0.0.1:{mails.port}",
        mail_from="Reports <reports@mart.example>",
        public_address="https://mart.example",
    )
    return replace(with_mail, charts=ChartMaker(with_mail.settings, drawer))


def send(sender: Reporter, mails: MailTestServer, export: Mapping[str, Any], change: str = "") -> EmailMessage:
    """The mail of a report with this export; `change` is a statement between the file and the mail."""
    made = sender.create(name="Weekly", export=export, recipients=[ANA])
    run = sender.run_now(made["report_id"])
    sender.write(run["export_id"])
    if change:
        sender.execute(change, run["export_id"])
    sender.deliver_all()
    (mail,) = mails.received
    assert sender.runs(made["report_id"])[0]["status"] == "completed"
    return mail.message


def parts(message: EmailMessage) -> tuple[str, str, dict[str, bytes]]:
    """The text, the HTML, and the pictures by their ids."""
    text, rich = message.iter_parts()
    if rich.get_content_type() == "text/html":
        return text.get_content(), rich.get_content(), {}
    assert rich.get_content_type() == "multipart/related"
    html, *images = rich.iter_parts()
    assert [image.get_content_type() for image in images] == ["image/png"] * len(images)
    assert all(image["Content-Disposition"].startswith("inline") for image in images)
    return text.get_content(), html.get_content(), {image["Content-ID"].strip("<>"): image.get_content() for image in images}


def test_a_mail_shows_the_charts_of_its_report(sender: Reporter, mails: MailTestServer, tmp_path: Path) -> None:
    message = send(sender, mails, EXPORT)
    assert message.get_content_type() == "multipart/alternative"
    text, html, images = parts(message)
    assert set(re.findall(r'src="cid:([^"]+)"', html)) == set(images)
    assert len(images) == 2
    for png in images.values():
        assert png.startswith(b"\x89PNG")
        assert len(png) <= MAX_PICTURE_BYTES
    # the numbers, for programs that show the text
    assert "From sent to replied: A campaign" in text
    assert re.search(r"^Sent +10$", text, re.MULTILINE)
    assert re.search(r"^Date +Opened +Clicked +Replied$", text, re.MULTILINE)
    assert "From sent to replied: A campaign. How many messages were sent" in html
    assert len(message.as_bytes()) < 600_000
    if CHROMIUM is None:
        return
    for content_id, png in images.items():
        html = html.replace(f"cid:{content_id}", f"data:image/png;base64,{base64.b64encode(png).decode()}")
    page = tmp_path / "mail.html"
    page.write_text(html)
    with Browser(CHROMIUM, tmp_path) as browser:
        browser.show_as(width=700)
        browser.open(page.as_uri())
        sizes = browser.run("[...document.images].map((image) => [image.naturalWidth, image.width, image.alt !== ''])")
        assert sizes == [[2 * WIDTH, WIDTH, True]] * 2
        browser.screenshot(tmp_path / "mail.png")
        browser.show_as(width=360)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_chart_that_cannot_be_drawn_does_not_stop_the_mail(
    sender: Reporter, mails: MailTestServer, drawer: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(picture: Picture) -> bytes:
        raise DrawingFailed

    monkeypatch.setattr(drawer, "draw", fail)
    text, html, images = parts(send(sender, mails, OVERVIEW))
    assert images == {}
    assert "This chart could not be drawn. These are its numbers:" in html
    assert "<td" in html.partition("These are its numbers")[2]
    assert "Best campaigns by replies" in text
    assert "Download it until" in text


def test_a_process_that_is_killed_while_it_draws_does_not_stop_the_mail(
    sender: Reporter, mails: MailTestServer, drawer: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_kill(stream: int, kind: bytes, content: bytes) -> None:
        write_frame(stream, kind, content)
        assert drawer.process_id is not None
        os.kill(drawer.process_id, signal.SIGKILL)

    monkeypatch.setattr(drawer_module, "write_frame", write_and_kill)
    text, html, images = parts(send(sender, mails, OVERVIEW))
    assert images == {}
    assert "This chart could not be drawn. These are its numbers:" in html
    assert "Download it until" in text


def test_a_picture_that_is_too_large_is_drawn_smaller_or_not_at_all(
    sender: Reporter, mails: MailTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_charts, "MAX_PICTURE_BYTES", 10)
    assert parts(send(sender, mails, OVERVIEW))[2] == {}


def test_a_database_that_does_not_answer_does_not_stop_the_mail(
    sender: Reporter, mails: MailTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_charts, "READ_OPTIONS", "-c statement_timeout=1 -c cpu_tuple_cost={}")
    text, html, images = parts(send(sender, mails, OVERVIEW))
    assert images == {}
    assert NOT_READ in text
    assert NOT_READ in html


def test_charts_that_take_too_long_are_left_out(sender: Reporter, mails: MailTestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_charts, "MAX_SECONDS", -1)
    text, _, images = parts(send(sender, mails, OVERVIEW))
    assert images == {}
    assert NOT_ALL in text


@pytest.mark.parametrize(
    ("query", "title", "headings", "row"),
    [
        ({"dimensions": ["campaign"]}, "Sent by Campaign", "Campaign +Sent", r"(?!cmp)\S.*"),
        (
            {"dimensions": ["campaign"], "granularity": "day", "limit": 5000},
            "Sent by Campaign",
            "Time +Campaign +Sent",
            r"\d{4}-\d\d-\d\d +(?!cmp)\S.*",
        ),
        (
            {"granularity": "week", "compare": "previous_period"},
            "Sent, Sent, the period before",
            "Time +Metric +Value",
            r"\d{4}-\d\d-\d\d +Sent",
        ),
        ({}, "Sent", "Metric +Sent", "Sent"),
    ],
)
def test_a_report_of_a_query_has_its_chart(
    sender: Reporter, mails: MailTestServer, query: Mapping[str, Any], title: str, headings: str, row: str
) -> None:
    export = {"export_type": "query", "format": "csv", "query": {"metrics": ["sent"], "time_range": "90d", **query}}
    text, html, images = parts(send(sender, mails, export))
    assert len(images) == 1
    assert f'alt="{title}. Messages' in html
    assert re.search(rf"^{title}$", text, re.MULTILINE)
    assert re.search(rf"^{headings}$", text, re.MULTILINE), text
    assert re.search(rf"^{row} +\d+$", text, re.MULTILINE), text


def test_a_chart_of_too_many_points_is_left_out(sender: Reporter, mails: MailTestServer) -> None:
    query = {"metrics": ["sent"], "time_range": "90d", "granularity": "hour"}
    text, html, images = parts(send(sender, mails, {"export_type": "query", "format": "csv", "query": query}))
    assert images == {}
    for part in (text, html):
        assert "This mail has no chart. granularity: The chart would have more than 1,000 points." in part


def test_a_report_of_a_workspace_without_mail_says_so(
    reporter_of: Callable[[str], Reporter], sender: Reporter, mails: MailTestServer
) -> None:
    empty = reporter_of(EMPTY_WORKSPACE)
    of_empty = replace(sender, client=empty.client, key=empty.key, workspace_id=EMPTY_WORKSPACE)
    text, html, images = parts(send(of_empty, mails, OVERVIEW))
    assert images == {}
    assert NO_MAIL in text
    assert NO_MAIL in html


def test_a_report_without_charts_has_a_plain_mail(sender: Reporter, mails: MailTestServer) -> None:
    text, html, images = parts(send(sender, mails, {**EXPORT, "export_type": "messages"}))
    assert images == {}
    assert "chart" not in text + html


def test_charts_are_of_the_data_of_the_file_or_not_there(sender: Reporter, mails: MailTestServer) -> None:
    older = "update app.exports set data_as_of = data_as_of - interval '1 hour' where export_id = %s"
    text, html, images = parts(send(sender, mails, OVERVIEW, older))
    assert images == {}
    assert DATA_REPLACED in text
    assert DATA_REPLACED in html
