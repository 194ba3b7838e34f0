"""The pages in a real browser: their numbers are the API's, a keyboard is enough, and nothing leaks, runs or stays."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.pages.assets import static_files
from api.server.app import WsgiApp
from api.settings import Settings
from api.tools.sdk.programs import missing
from tests.integration.api.browser import Browser
from tests.integration.api.conftest import HOSTILE_NAMES, HOSTILE_WORKSPACE, OTHER_WORKSPACE, Caller, fill_example
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.serving import serving
from tests.integration.conftest import MakeWarehouse
from tests.support.axe import axe_source

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
PATHS = (
    "",
    "campaigns",
    f"campaign?id={CAMPAIGN}",
    f"compare?id={CAMPAIGN}&id=cmp_of_mail_alone",
    "deliverability",
    "heatmap",
    "heatmap?granularity=hour&timezone=Asia%2FKathmandu",
    "sources",
    "exports",
    "query",
    "query?metric=open_rate&dimension=campaign&granularity=day",
)
# shown, and nothing is on its way
IS_READY = (
    "document.querySelector('#content')?.hasChildNodes() && !document.querySelector('[aria-busy]')"
    " && document.querySelector('#status')?.textContent === ''"
)
AXE = (
    "axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations.map((violation) =>"
    " `${violation.id}: ${violation.help}: ${violation.nodes.map((node) => node.html.slice(0, 200)).join(' ; ')}`))"
)
# the preferred colours, and the width of the window
LOOKS = (("light", 1280), ("dark", 390))
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)")


# ---- without a browser


def test_programs_get_the_apis_own_answer_and_browsers_a_page(service: WsgiApp) -> None:
    client = Client(service)
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "application/json, text/html;q=0.9"}):
        response = client.get("/", headers=accept)
        assert (response.status_code, response.get_json()["error"]["code"]) == (404, "NOT_FOUND"), accept
    response = client.get("/", headers={"Accept": BROWSER})
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert response.headers["Vary"] == "Accept"
    assert response.headers["Cache-Control"] == "no-store"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    html = response.text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?:", html)


def test_pages_are_there_before_anything_is_published(settings: Settings) -> None:
    service = WsgiApp(settings)
    try:
        client = Client(service)
        assert client.get("/", headers={"Accept": BROWSER}).status_code == 200
        assert client.get("/", headers={"Accept": "application/json"}).status_code == 503
    finally:
        service.close()


def test_files_are_kept_for_a_year_and_compressed(service: WsgiApp) -> None:
    client = Client(service)
    html = client.get("/", headers={"Accept": BROWSER}).text
    names = re.findall(r'(?:src|href)="(assets/[^"]+)"', html)
    assert len(names) >= 4
    total = len(gzip.compress(html.encode()))
    digest = static_files().digest
    for name in static_files().files:
        response = client.get(f"/assets/{digest}/{name}", headers={"Accept-Encoding": "gzip"})
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        total += len(response.data)
        plain = client.get(f"/assets/{digest}/{name}")
        assert "Content-Encoding" not in plain.headers
        assert gzip.decompress(response.data) == plain.data
    # everything beside the script that draws charts
    assert total < 400_000, total
    assert client.get("/assets/0123456789abcdef/app.js").status_code == 404
    assert client.get(f"/assets/{digest}/routes.py").status_code == 404


def test_a_key_knows_its_workspace(caller: Caller, service: WsgiApp) -> None:
    client = Client(service)
    headers = {"Authorization": f"Bearer {caller.key}"}
    data = client.get("/api/v1/credential", headers=headers).get_json()["data"]
    assert data == {"workspace_id": WORKSPACE, "scopes": ["export", "ingest", "read", "reports"]}
    unknown = client.get("/api/v1/credential", headers={"Authorization": "Bearer mm_none_none"})
    assert (unknown.status_code, unknown.get_json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert client.get("/api/v1/credential").status_code == 401


# ---- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(str(CHROMIUM), tmp_path_factory.mktemp("chromium")) as page:
        yield page


Open = Callable[..., None]


@pytest.fixture
def open_page(browser: Browser, running: str, key: str) -> Open:
    """Opens a page as somebody who signs in by a link; `key` is the key, if it is not that of the example workspace."""

    def open_(path: str, own_key: str = key) -> None:
        browser.open(f"{running}/healthz")
        browser.run("sessionStorage.clear()")
        browser.show_as()
        browser.open(f"{running}/{path}#key={own_key}")
        browser.wait(IS_READY)

    return open_


def text(browser: Browser, selector: str = "#content") -> str:
    return str(browser.run(f"document.querySelector({selector!r}).innerText"))


def table(browser: Browser, caption: str) -> list[list[str]]:
    """The cells of the table with this caption, its head first; closed tables are opened."""
    cells: list[list[str]] = browser.run(
        "(() => { document.querySelectorAll('details').forEach((part) => part.open = true);"
        f" const found = [...document.querySelectorAll('table')].find((part) => part.caption.textContent === {caption!r});"
        " return [...found.rows].map((row) => [...row.cells].map((cell) => cell.innerText.trim())); })()"
    )
    return cells


def as_number(shown: str) -> float:
    return float(re.sub(r"[^\d.]", "", shown))


@in_browser
@pytest.mark.skipif(bool(missing(["npm"])), reason="npm is not installed (Debian: npm)")
@pytest.mark.parametrize("path", PATHS, ids=[path or "overview" for path in PATHS])
def test_a_page_is_accessible_and_asks_no_other_host(browser: Browser, open_page: Open, running: str, path: str) -> None:
    open_page(path)
    browser.run(axe_source() + "; true")
    for scheme, width in LOOKS:
        browser.show_as(width=width, scheme=scheme)
        browser.wait(IS_READY)
        table_count = browser.run(
            "document.querySelectorAll('details').forEach((part) => part.open = true), document.querySelectorAll('table').length"
        )
        assert table_count or path == "exports"
        assert browser.run(AXE) == [], (path, scheme)
        # every chart is drawn, and none of its parts is too wide for the page
        assert browser.run("document.querySelectorAll('figure').length === document.querySelectorAll('figure svg').length")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), (path, width)
    assert browser.violations == []
    others = browser.run(
        "performance.getEntriesByType('resource').map((entry) => entry.name)"
        f".filter((name) => !name.startsWith({running!r}) && !name.startsWith('data:'))"
    )
    assert others == []
    # the key is in no address that was asked for, and no longer in this one
    assert browser.run("location.hash === '' && !performance.getEntriesByType('resource').some((e) => e.name.includes('mm_'))")


@in_browser
@pytest.mark.skipif(bool(missing(["npm"])), reason="npm is not installed (Debian: npm)")
def test_pages_without_numbers_are_accessible(
    browser: Browser, open_page: Open, running: str, warehouse_settings: Settings
) -> None:
    """Signing in, errors, and pages of a workspace without mail or of a key with fewer rights."""
    nothing = create_key(warehouse_settings, "ws_without_mail", name="accessible")
    browser.open(f"{running}/healthz")
    browser.run("sessionStorage.clear()")
    browser.show_as()
    browser.open(f"{running}/#key=mm_000000000000_none")
    browser.wait("document.querySelector('#sign-in-problem') !== null")
    _check_accessible(browser, "sign in")
    for path, own_key in (
        ("campaign?id=none", ""),
        ("compare?id=none&id=nothing", ""),
        ("query?metric=none", ""),
        ("?timeRange=custom&startDate=2025-02-01&endDate=2025-01-01", ""),
        ("query?metric=sent&where=campaign&is=none", ""),
        *((path, nothing) for path in ("", "campaigns", "compare", "deliverability", "heatmap", "sources", "query", "exports")),
    ):
        open_page(path, *([own_key] if own_key else []))
        _check_accessible(browser, path)


def _check_accessible(browser: Browser, where: str) -> None:
    browser.run(axe_source() + "; true")
    for scheme, width in LOOKS:
        browser.show_as(width=width, scheme=scheme)
        assert browser.run(AXE) == [], (where, scheme)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), (where, width)
    assert browser.violations == []


@in_browser
def test_a_wrong_id_of_a_comparison_can_be_replaced(browser: Browser, open_page: Open) -> None:
    open_page(f"compare?id={CAMPAIGN}&id=cmp_none")
    assert "cmp_none not found" in text(browser, ".problem")
    browser.fill("textarea", f"{CAMPAIGN}\ncmp_of_mail_alone")
    browser.run("document.querySelector('textarea').form.requestSubmit()")
    browser.wait(f"document.querySelector('.verdicts') !== null && {IS_READY}")


@in_browser
def test_the_menu_shows_the_page_on_a_narrow_screen(browser: Browser, open_page: Open) -> None:
    for path, label in (("exports", "Exports"), ("query", "Query"), ("", "Overview")):
        open_page(path)
        browser.show_as(width=390)
        browser.run("document.body.id = 'before'; location.reload()")
        browser.wait(f"document.body?.id !== 'before' && {IS_READY}")
        found = browser.run(
            "(() => { const item = document.querySelector('[aria-current]');"
            " const { left, right } = item.getBoundingClientRect();"
            " return [item.textContent, left >= 0 && right <= innerWidth]; })()"
        )
        assert found == [label, True]


@in_browser
def test_the_numbers_of_the_overview_are_the_apis(browser: Browser, open_page: Open, caller: Caller) -> None:
    open_page("?timeRange=90d")
    overview = caller.get(f"{WORKSPACE}/analytics/overview", timeRange="90d").get_json()["data"]
    shown = browser.run(
        "Object.fromEntries([...document.querySelectorAll('.tile')].map((tile) =>"
        " [tile.querySelector('dt').innerText, tile.querySelector('.big').innerText]))"
    )
    rates = overview["rates"]
    assert {name: as_number(value) for name, value in shown.items()} == {
        "Sent": overview["summary"]["emails_sent"],
        "Delivery rate": rates["delivery_rate"],
        "Open rate": rates["open_rate"],
        "Click rate": rates["click_rate"],
        "Reply rate": rates["reply_rate"],
        "Campaigns": overview["summary"]["total_campaigns"],
    }
    # the same as commands, without the key
    commands = browser.run("document.querySelector('.commands pre').textContent")
    assert f"/api/v1/workspaces/{WORKSPACE}/analytics/series?timeRange=90d'" in commands
    assert "Bearer $MAILMART_KEY" in commands
    assert caller.key not in browser.run("document.documentElement.outerHTML")
    series = caller.get(f"{WORKSPACE}/analytics/series", timeRange="90d").get_json()["data"]["time_series"]
    head, *rows = table(browser, "Open, click and reply rate")
    assert head[:3] == ["Date", "Sent", "Delivered"]
    assert [as_number(row[1]) for row in rows] == [point["sent"] for point in series]
    assert [as_number(row[8]) for row in rows] == [point["open_rate"] for point in series]
    (best, *_) = overview["top_campaigns"]
    assert table(browser, "Best campaigns")[1][0] == (best["campaign_name"] or best["campaign_id"])


@in_browser
def test_the_numbers_of_a_campaign_are_the_apis(browser: Browser, open_page: Open, caller: Caller) -> None:
    open_page(f"campaign?id={CAMPAIGN}&groupBy=week")
    data = caller.get(f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics", groupBy="week").get_json()["data"]
    assert text(browser, "h1") == data["campaign_name"]
    assert [as_number(row[1]) for row in table(browser, "From sent to replied")[1:]] == [
        data["summary"][name] for name in ("emails_sent", "emails_delivered", "emails_opened", "emails_clicked", "emails_replied")
    ]
    rows = table(browser, "Opened, clicked and replied to")[1:]
    assert [as_number(row[1]) for row in rows] == [point["sent"] for point in data["time_series"]]
    people = {row[0]: row[1:] for row in table(browser, "People and machines")[1:]}
    assert as_number(people["Opened"][1]) == data["engagement_by_human"]["emails_opened"]


@in_browser
def test_the_other_pages_have_the_apis_numbers(browser: Browser, open_page: Open, caller: Caller) -> None:
    open_page("deliverability")
    deliverability = caller.get(f"{WORKSPACE}/analytics/deliverability").get_json()["data"]
    reasons = deliverability["bounce_analysis"]["top_bounce_reasons"]
    assert [(row[0], as_number(row[1])) for row in table(browser, "Why mail bounced")[1:]] == [
        (reason["reason"], reason["count"]) for reason in reasons
    ]
    open_page("heatmap?granularity=hour&timezone=Asia/Kathmandu")
    heatmap = caller.get(f"{WORKSPACE}/analytics/engagement-heatmap", granularity="hour", timezone="Asia/Kathmandu").get_json()
    cells = table(browser, "Engagement by day and hour")[1:]
    assert [as_number(row[2]) for row in cells] == [cell["emails_sent"] for cell in heatmap["data"]["heatmap"]]
    open_page("sources")
    events = caller.get(f"{WORKSPACE}/analytics/sources").get_json()["data"]["events"]
    shown = table(browser, "Events received in this time range")[1:]
    assert [as_number(row[2]) for row in shown] == [row["events"] for row in events]
    open_page(f"compare?id={CAMPAIGN}&id=cmp_of_mail_alone")
    rates = table(browser, "Rates")[1:]
    assert as_number(rates[0][1]) == 30.0
    assert text(browser, ".verdicts").startswith("Open rate")


@in_browser
def test_a_query_has_the_apis_numbers(browser: Browser, open_page: Open, caller: Caller) -> None:
    open_page("query?metric=sent&metric=open_rate&dimension=campaign")
    body = {"metrics": ["sent", "open_rate"], "dimensions": ["campaign"], "time_range": "30d"}
    headers = {"Authorization": f"Bearer {caller.key}"}
    response = caller.client.post(f"/api/v1/workspaces/{WORKSPACE}/analytics/query", json=body, headers=headers)
    rows = response.get_json()["data"]["rows"]
    campaigns = caller.get(f"{WORKSPACE}/campaigns").get_json()["data"]["campaigns"]
    names = {"": "(none)", **{campaign["campaign_id"]: campaign["campaign_name"] for campaign in campaigns}}
    shown = table(browser, "Sent, Open rate")[1:]
    assert [(row[0], as_number(row[1]), as_number(row[2])) for row in shown] == [
        (names[row["dimensions"]["campaign"]], row["metrics"]["sent"]["value"], row["metrics"]["open_rate"]["value"])
        for row in rows
    ]
    # a metric that does not exist: the API says so, and the controls are there to mend it
    open_page("query?metric=sentt")
    assert "sent" in text(browser, ".problem")
    assert browser.run("document.querySelectorAll('.controls select').length") > 3


@in_browser
def test_the_programs_below_a_page_run(browser: Browser, open_page: Open, key: str) -> None:
    open_page("query?metric=sent&dimension=campaign&where=campaign&is=cmp_of_mail_alone")
    program = browser.run("[...document.querySelectorAll('.commands pre')].at(-1).textContent")
    assert key not in program
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "MAILMART_KEY": key}, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "'campaign': 'cmp_of_mail_alone'" in ran.stdout


@in_browser
def test_an_export_has_a_range_of_its_own(browser: Browser, open_page: Open) -> None:
    open_page("exports")
    shown = "[...document.querySelectorAll('form:first-of-type label')].filter((label) => label.checkVisibility()).length"
    assert browser.run(shown) == 4
    browser.run(
        "(() => { const form = document.querySelector('form'); const [, , period] = form.querySelectorAll('select');"
        " period.value = 'custom'; period.dispatchEvent(new Event('change'));"
        " const [from, to] = form.querySelectorAll('input[type=date]'); from.value = '2026-01-01'; to.value = '2026-01-31';"
        " form.requestSubmit(); })()"
    )
    browser.wait("document.querySelector('form [role=status]').textContent.startsWith('The export is being written')")


@in_browser
def test_a_query_is_exported_and_embedded_from_its_page(
    browser: Browser, open_page: Open, warehouse_settings: Settings, caller: Caller
) -> None:
    question = "metric=sent&dimension=campaign&granularity=week&where=campaign&is=cmp_of_mail_alone"
    open_page(f"query?{question}")
    form = "[...document.querySelectorAll('form')].at(-1)"
    formats = browser.run(f"[...{form}.querySelector('select').options].map((option) => option.value)")
    listed = {item["export_id"] for item in caller.get(f"{WORKSPACE}/analytics/exports").get_json()["data"]["exports"]}
    for chosen in formats:
        browser.run(f"{form}.querySelector('[role=status]').replaceChildren(), {form}.querySelector('select').value = '{chosen}'")
        browser.run(f"{form}.requestSubmit()")
        browser.wait(f"{form}.querySelector('[role=status]').textContent.startsWith('The export is being written')")
    found = caller.get(f"{WORKSPACE}/analytics/exports").get_json()["data"]["exports"]
    # by id: the status of one that was listed can have changed
    made = [item for item in found if item["export_id"] not in listed]
    assert sorted(item["format"] for item in made) == sorted(formats)
    assert {item["export_type"] for item in made} == {"query"}
    # the list has it
    browser.run(f"{form}.querySelector('[role=status] a').click()")
    browser.wait(f"location.pathname === '/exports' && {IS_READY}")
    assert [row[0] for row in table(browser, "Exports")[1:]].count("Query") >= len(formats)
    # an error is said in its place: the API refuses a time range that is too long for the file as for the page
    open_page(f"query?{question}")
    embedded = json.loads(
        browser.run("[...document.querySelectorAll('.commands pre')].find((p) => p.textContent[0] === '{').textContent")
    )
    assert embedded["workspace_id"] == WORKSPACE
    answer = caller.client.post(
        f"/api/v1/workspaces/{WORKSPACE}{embedded['chart']}",
        json=embedded["params"],
        headers={"Authorization": f"Bearer {caller.key}"},
    )
    assert {row["part"] for row in answer.get_json()["data"]["values"]} == {"cmp_of_mail_alone"}
    browser.run("(() => { const own = fetch; window.fetch = (path, options) => own(options.method === 'POST'"
                " ? path.replace('/export', '/exportt') : path, options); })()")  # fmt: skip
    browser.run(f"{form}.requestSubmit()")
    browser.wait(f"{form}.querySelector('[role=status]').className === 'notice'")
    assert not browser.run(f"{form}.querySelector('button').disabled")
    reader = create_key(warehouse_settings, WORKSPACE, name="reader")
    open_page("query?metric=sent", reader)
    assert "This key may not make exports" in text(browser)


@in_browser
def test_focus_is_shown_on_controls_and_not_around_the_page(browser: Browser, running: str, key: str) -> None:
    browser.open(f"{running}/healthz")
    browser.run("sessionStorage.clear()")
    browser.open(f"{running}/")
    browser.wait("document.querySelector('#key') !== null")
    browser.type(key)
    browser.press("Enter", text="\r")
    browser.wait("document.activeElement.id === 'main'")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) == "none"
    browser.press("Tab")
    assert browser.run(outline) == "solid"


@in_browser
def test_the_address_is_the_view(browser: Browser, open_page: Open, running: str) -> None:
    open_page("")
    browser.run("(() => { const s = document.querySelector('.controls select'); s.value = '7d';"
                " s.dispatchEvent(new Event('change')); })()")  # fmt: skip
    browser.wait(f"location.search === '?timeRange=7d' && {IS_READY}")
    assert len(table(browser, "Mail delivered and bounced")) == 1 + 8
    browser.run("history.back()")
    browser.wait(f"location.search === '' && {IS_READY}")
    assert len(table(browser, "Mail delivered and bounced")) == 1 + 31
    # the link works in the same tab without signing in again
    browser.open(f"{running}/?timeRange=7d")
    browser.wait(IS_READY)
    assert len(table(browser, "Mail delivered and bounced")) == 1 + 8
    # a wrong address says what is wrong, and has what mends it
    browser.open(f"{running}/?timeRange=custom&startDate=2025-02-01&endDate=2025-01-01")
    browser.wait("document.querySelector('.problem') !== null")
    assert "Start date must be before end date" in text(browser, ".problem")
    assert browser.run("document.querySelector('.controls select') !== null")


@in_browser
def test_the_keyboard_reaches_everything(browser: Browser, open_page: Open, running: str) -> None:
    # each with what it shows otherwise only after a choice
    for path in (*PATHS, "?timeRange=custom&startDate=2026-01-01&endDate=2026-01-31", "query?where=campaign&is=none"):
        open_page(path)
        reachable = "a[href], button, select, input, textarea, summary, [tabindex='0']"
        count = browser.run(
            f"document.activeElement.blur(), window.seen = new Set(),"
            f" window.all = [...document.querySelectorAll({reachable!r})].filter((part) => part.checkVisibility()), all.length"
        )
        # a field of a date or time has several parts
        for _ in range(count + 12):
            browser.press("Tab")
            browser.run("seen.add(document.activeElement), true")
        assert browser.run("all.filter((part) => !seen.has(part)).map((part) => part.outerHTML.slice(0, 120))") == []
    # the first stop of a page that was just opened leads past the menu
    browser.open(f"{running}/campaigns")
    browser.wait(IS_READY)
    browser.press("Tab")
    assert browser.run("document.activeElement.textContent") == "Skip to the content"


@in_browser
def test_signing_in_by_hand_and_out_leaves_nothing(browser: Browser, running: str, key: str) -> None:
    browser.open(f"{running}/healthz")
    browser.run("sessionStorage.clear()")
    browser.open(f"{running}/")
    browser.wait("document.querySelector('#key') !== null")
    assert browser.run("document.activeElement.id") == "key"
    browser.type("mm_wrong_key")
    browser.press("Enter", text="\r")
    browser.wait("document.querySelector('#sign-in-problem') !== null")
    assert "unknown, expired or revoked" in text(browser)
    browser.type(key)
    browser.press("Enter", text="\r")
    browser.wait(f"{IS_READY} && document.querySelector('.tiles') !== null")
    assert text(browser, "#workspace") == WORKSPACE
    browser.run("document.querySelector('#sign-out').click()")
    browser.wait("document.querySelector('#key') !== null")
    left = browser.run(
        "Promise.all([caches.keys(), indexedDB.databases()]).then(([caches, databases]) =>"
        " [sessionStorage.length, localStorage.length, document.cookie, caches.length, databases.length, location.hash])"
    )
    assert left == [0, 0, "", 0, 0, ""]
    page = browser.run("document.documentElement.outerHTML")
    assert key not in page
    assert WORKSPACE not in page
    # going back shows no number
    browser.run("history.back()")
    browser.open(f"{running}/deliverability")
    browser.wait("document.querySelector('#key') !== null")
    assert browser.run("document.querySelector('.tiles')") is None


@in_browser
def test_a_time_range_without_mail_says_what_to_do(browser: Browser, open_page: Open, warehouse_settings: Settings) -> None:
    nothing = create_key(warehouse_settings, "ws_without_mail", name="empty", scopes=("read", "export", "reports"))
    old = "timeRange=custom&startDate=2020-01-01&endDate=2020-01-31"
    for path, own_key, sentence in (
        (f"?{old}", "", "No mail was sent in this time range"),
        (f"compare?id={CAMPAIGN}&id=cmp_of_mail_alone&{old}", "", "These campaigns sent no mail in this time range"),
        (f"campaign?id={CAMPAIGN}&{old}", "", "This campaign sent nothing in this time range"),
        (f"query?metric=sent&{old}", "", "No mail matches the query in this time range"),
        (f"heatmap?{old}", "", "No mail was sent in this time range"),
        ("", nothing, "No mail was sent in this time range"),
        ("campaigns", nothing, "No campaign sent mail in this time range"),
        ("deliverability", nothing, "There is no health score yet"),
        ("sources", nothing, "Nothing has been received yet"),
        ("exports", nothing, "There is no export yet"),
    ):
        open_page(path, *([own_key] if own_key else []))
        assert sentence in text(browser), path
        assert browser.run("document.querySelector('.problem') === null"), path
    # the way out keeps the question, and leaves the dates behind
    open_page(f"query?metric=bounced&{old}")
    href = browser.run("[...document.querySelectorAll('.empty a')][0].getAttribute('href')")
    assert href == "./query?metric=bounced&timeRange=90d"


@in_browser
def test_before_the_first_build_a_page_says_what_to_do(browser: Browser, settings: Settings, tmp_path: Path) -> None:
    key = create_key(settings, WORKSPACE, name="first")
    with serving(settings, tmp_path / "log", ready="/healthz") as service:
        browser.show_as()
        for path in ("", "deliverability", "sources", "campaigns"):
            browser.open(f"{service.address}/{path}#key={key}")
            browser.wait(IS_READY)
            assert "There are no numbers yet" in text(browser), path
            assert "mailmart build" in text(browser)
        browser.run("document.querySelector('#sign-out').click()")


@in_browser
def test_days_are_the_same_in_every_zone(browser: Browser, open_page: Open) -> None:
    shown = {}
    for zone in ("UTC", "America/New_York", "Pacific/Kiritimati"):
        browser.set_timezone(zone)
        open_page("")
        labels = browser.run("[...document.querySelectorAll('figure svg')].map((svg) => svg.textContent)")
        shown[zone] = (text(browser, "#window"), table(browser, "Mail delivered and bounced"), labels)
    browser.set_timezone("")
    assert shown["UTC"] == shown["America/New_York"] == shown["Pacific/Kiritimati"]


@in_browser
def test_a_day_of_the_overview_leads_to_its_deliverability(browser: Browser, open_page: Open) -> None:
    open_page("")
    table(browser, "Mail delivered and bounced")
    browser.run("document.querySelector('tbody th a').click()")
    browser.wait(f"location.pathname === '/deliverability' && {IS_READY}")
    query = browser.run("Object.fromEntries(new URLSearchParams(location.search))")
    assert query["timeRange"] == "custom"
    assert query["startDate"] == query["endDate"]


@in_browser
def test_a_key_of_another_workspace_sees_nothing_of_this_one(
    browser: Browser, open_page: Open, warehouse_settings: Settings
) -> None:
    other = create_key(warehouse_settings, OTHER_WORKSPACE, name="other page")
    # a campaign of the same id is in both
    open_page(f"campaign?id={CAMPAIGN}", other)
    assert as_number(table(browser, "From sent to replied")[1][1]) == 7
    open_page("campaign?id=cmp_idle", other)
    assert "not found" in text(browser, ".problem")
    open_page("exports", other)
    assert "This key may not make exports" in text(browser)


@in_browser
def test_names_do_no_harm(browser: Browser, open_page: Open, warehouse_settings: Settings) -> None:
    hostile = create_key(warehouse_settings, HOSTILE_WORKSPACE, name="hostile")
    for path in ("", "campaigns", *(f"campaign?{urlencode({'id': campaign})}" for campaign in HOSTILE_NAMES),
                 "compare?" + "&".join(f"id={quote(campaign)}" for campaign in HOSTILE_NAMES)):  # fmt: skip
        open_page(path, hostile)
        assert browser.run("document.title") != "hacked", path
        assert browser.run("document.querySelectorAll('#content img, #content script, h1 img').length") == 0
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), path
        assert browser.run("document.documentElement.outerHTML.length") < 300_000, path
        assert browser.violations == []
    open_page(f"campaign?id={next(iter(HOSTILE_NAMES))}", hostile)
    assert text(browser, "h1").startswith("<img src=x")


@in_browser
def test_a_csv_file_runs_no_formula(browser: Browser, open_page: Open) -> None:
    open_page("")
    lines = browser.run(
        f"import('{{}}/assets/{static_files().digest}/table.js'.replace('{{}}', location.origin)).then((module) => module.csv("
        "[{title: 'Name', value: (row) => row[0]}, {title: 'n', value: (row) => row[1]}],"
        " [['=1+1', -5], ['a,\"b\"', null], ['two\\nlines', 0.5]]))"
    )
    assert lines == 'Name,n\r\n\'=1+1,-5\r\n"a,""b""",\r\n"two\nlines",0.5\r\n'


CHART_OF_PROBLEMS = {
    "name": "problems",
    "title": "What is not in the numbers",
    "description": "Events by event type.",
    "view": "received_events",
    "mark": "bar",
    "encoding": {"x": {"field": "events"}, "y": {"field": "event_type"}},
}


@in_browser
def test_a_new_chart_is_on_a_page_without_a_line_of_javascript(
    browser: Browser, make_warehouse: MakeWarehouse, tmp_path: Path
) -> None:
    """As an analyst would: YAML beside an exposure that has no page, and a publication."""
    settings = make_warehouse("example", fill_example)
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute("select contract from app.publications").fetchone()
        assert row is not None
        (exposure,) = [exposure for exposure in row[0]["exposures"].values() if exposure["name"] == "sources"]
        exposure["config"]["meta"]["charts"] = [CHART_OF_PROBLEMS]
        connection.execute("update app.publications set contract = %s", (json.dumps(row[0]),))
    key = create_key(settings, WORKSPACE, name="charts")
    with serving(settings, tmp_path / "log") as service:
        browser.show_as()
        browser.open(f"{service.address}/charts#key={key}")
        browser.wait(IS_READY)
        assert "More charts" in text(browser, "#menu")
        assert browser.run("document.querySelectorAll('figure svg').length") == 1
        assert ["sent", "5001"] in [[row[1], row[2].replace(",", "")] for row in table(browser, "What is not in the numbers")]
        assert browser.violations == []
        # the session of another service is not this one's
        browser.run("document.querySelector('#sign-out').click()")
