"""Embedded charts: a signed token shows one chart, in a frame of a listed origin, and nothing else."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from werkzeug.test import Client, TestResponse

from api.errors import SettingsError
from api.pages import embed
from api.pages.embed_token import EmbedTokenVerifier
from api.server.app import WsgiApp
from api.settings import Settings
from api.tools.sdk.programs import missing
from tests.integration.api.browser import Browser
from tests.integration.api.conftest import HOSTILE_WORKSPACE, OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.serving import serving
from tests.integration.api.test_pages import AXE
from tests.support.axe import axe_source

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECRET = "a secret of 32 bytes and more 0123456789"
OLD_SECRET = "the secret before it 9876543210 abcdefgh"
CHART = "/analytics/series/charts/volume"


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"aud": "mailmart-embed", "iat": now, "exp": now + 600, "workspace_id": WORKSPACE, "chart": CHART, **changes}
    return {name: value for name, value in made.items() if value is not None}


def signed(secret: str = SECRET, **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm="HS256")


@pytest.fixture(scope="module")
def embedding(warehouse_settings: Settings) -> Iterator[WsgiApp]:
    settings = dataclasses.replace(
        warehouse_settings, embed_secret=f"{SECRET},{OLD_SECRET}", embed_origins=("https://app.example.com",)
    )
    app = WsgiApp(settings)
    yield app
    app.close()


@pytest.fixture
def show(embedding: WsgiApp) -> Callable[..., TestResponse]:
    client = Client(embedding)
    return lambda token, **headers: client.get("/embed", query_string={"token": token}, headers=headers)


Show = Callable[..., TestResponse]


def document_of(response: TestResponse) -> Any:
    from html import unescape

    return orjson.loads(unescape(response.text.partition('data-document="')[2].partition('"')[0]))


def test_a_token_shows_its_chart_with_its_parameters(show: Show, caller: Caller) -> None:
    response = show(signed(params={"timeRange": "7d"}))
    assert (response.status_code, response.mimetype) == (200, "text/html")
    chart = caller.get(f"{WORKSPACE}{CHART}", timeRange="7d").get_json()
    assert document_of(response) == chart
    # an id in the path, and the secret before the current one
    funnel = show(signed(OLD_SECRET, chart=f"/campaigns/{CAMPAIGN}/analytics/charts/funnel"))
    assert document_of(funnel)["data"]["values"][0]["value"] == 5000


def test_the_page_may_be_framed_by_listed_origins_and_connects_to_nothing(show: Show) -> None:
    for response in (show(signed()), show("none")):
        policy = response.headers["Content-Security-Policy"]
        assert policy.endswith("frame-ancestors https://app.example.com")
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "connect-src" not in policy
        assert "unsafe" not in policy
        assert response.headers["Cache-Control"] == "no-store"
    assert embed.embed_policy(()).endswith("frame-ancestors 'none'")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"exp": int(time.time()) - 120, "iat": int(time.time()) - 600}, "has expired"),
        ({"exp": int(time.time()) + 100_000}, "more than a day"),
        ({"exp": None}, "no claim exp"),
        ({"iat": None}, "no claim iat"),
        ({"iat": int(time.time()) + 4000, "exp": int(time.time()) + 5000}, "not valid"),
        ({"aud": "something else"}, "not for mailmart-embed"),
        ({"aud": None}, "no claim aud"),
        ({"parms": {"timeRange": "7d"}}, "unknown claim parms"),
        ({"workspace_id": None}, "no workspace_id"),
        ({"chart": "/analytics/series"}, "no path of a chart"),
        ({"theme": "sepia"}, "theme"),
        ({"params": "timeRange=7d"}, "not an object"),
        ({"iat": "now"}, "not valid"),
    ],
)
def test_a_token_that_is_not_right_says_why(show: Show, changes: dict[str, Any], text: str) -> None:
    response = show(signed(**changes))
    assert (response.status_code, response.mimetype) == (403, "text/html")
    assert text in response.text
    assert "data-document" not in response.text


def test_a_changed_token_shows_nothing(show: Show) -> None:
    head, body, signature = signed().split(".")
    _, other, _ = signed(workspace_id=OTHER_WORKSPACE).split(".")
    unsigned = jwt.encode(claims(), "", algorithm="none")
    changed = (f"{head}.{other}.{signature}", f"{head}.{body}.{signature[:-3]}AAA", signed("x" * 20 + SECRET))
    for token in (*changed, unsigned, "a.b", "x" * 9000, ""):
        response = show(token)
        assert response.status_code == 403, token
        assert "data-document" not in response.text


def test_a_chart_or_a_parameter_that_does_not_exist(show: Show) -> None:
    for changes, status, text in (
        ({"chart": "/analytics/series/charts/none"}, 404, "none not found"),
        ({"chart": "/analytics/compare/charts/intervals"}, 422, "campaign_ids: "),
        ({"chart": "/analytics/overview/../series/charts/volume"}, 404, "not found"),
        ({"chart": "//analytics/series/charts/volume"}, 404, "not found"),
        ({"chart": f"/../{OTHER_WORKSPACE}{CHART}"}, 404, "not found"),
        ({"chart": "/analytics/exports/charts/volume"}, 404, "not found"),
        ({"chart": "/campaigns/none/analytics/charts/funnel"}, 404, "none not found"),
        ({"params": {"timeRange": "8d"}}, 422, "timeRange: "),
        ({"params": {"format": "png"}}, 422, "format: Is no parameter"),
        ({"params": {"workspaceId": "ws_other"}}, 422, "workspaceId: "),
        ({"params": {"timeRange": "custom", "startDate": "2025-02-01", "endDate": "2025-01-01"}}, 400, "Start date"),
    ):
        response = show(signed(**changes))
        assert response.status_code == status, changes
        assert text in response.text, response.text


COMPARE = {"campaign_ids": [CAMPAIGN, "cmp_of_mail_alone"]}
FITS = "document.querySelector('figure svg').getBoundingClientRect().width <= document.querySelector('.chart').clientWidth"
QUERY_CHART = "/analytics/query/charts/metrics"
QUERY = {"metrics": ["sent", "open_rate"], "dimensions": ["campaign"], "time_range": "30d"}


def test_a_token_shows_a_query_and_a_comparison(show: Show, caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.key}"}
    for chart, body in (
        (QUERY_CHART, QUERY),
        (QUERY_CHART, {**QUERY, "granularity": "day", "timezone": "Asia/Kathmandu", "compare": "previous_period"}),
        (QUERY_CHART, {**QUERY, "filters": [{"dimension": "campaign", "values": [CAMPAIGN, "q' or 1=1 --"]}]}),
        ("/analytics/compare/charts/intervals", COMPARE),
    ):
        response = show(signed(chart=chart, params=body))
        assert response.status_code == 200, response.text
        of_the_api = caller.client.post(f"/api/v1/workspaces/{WORKSPACE}{chart}", json=body, headers=headers).get_json()
        assert document_of(response) == of_the_api
        assert of_the_api["data"]["values"]


def test_nobody_changes_the_query_of_a_token(embedding: WsgiApp) -> None:
    token = signed(chart=QUERY_CHART, params=QUERY)
    client = Client(embedding)
    shown = document_of(client.get("/embed", query_string={"token": token}))
    more = {"token": token, "time_range": "90d", "metrics": "bounced", "params": "{}", "workspace_id": OTHER_WORKSPACE}
    assert document_of(client.get("/embed", query_string=more)) == shown
    assert client.post("/embed", query_string={"token": token}, json={"metrics": ["bounced"]}).status_code == 405


def test_a_query_of_another_workspace_has_its_own_numbers_alone(show: Show) -> None:
    ours = [{"dimension": "campaign", "values": [CAMPAIGN, "cmp_of_mail_alone"]}]
    response = show(signed(workspace_id=OTHER_WORKSPACE, chart=QUERY_CHART, params={**QUERY, "filters": ours}))
    # a campaign of the same id is in both
    assert [(row["part"], row["value"]) for row in document_of(response)["data"]["values"]] == [(CAMPAIGN, 7)]
    nobody = show(signed(workspace_id="ws_of_nobody", chart=QUERY_CHART, params=QUERY))
    assert document_of(nobody)["data"]["values"] == []


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({}, 422, "metrics: "),
        ({"metrics": "sent"}, 422, "metrics: "),
        ({"metrics": ["<script>alert(1)</script>"]}, 422, "Unknown metric &lt;script&gt;"),
        ({**QUERY, "filters": [{"dimension": "campaign", "values": ["x" * 10_000]}]}, 403, "more than 6000 characters"),
        ({**QUERY, "filters": [{"dimension": "campain", "values": ["x"]}]}, 422, "Did you mean campaign?"),
        ({**QUERY, "filters": [{"dimension": "campaign", "values": ["a\0b"]}]}, 422, "filters: "),
        ({**QUERY, "cursor": "9KZ61V"}, 422, "cursor: Unknown field."),
        ({**QUERY, "limit": 1000}, 422, "limit: "),
        ({**QUERY, "theme": "dark"}, 422, "theme: Is no parameter"),
        ({**QUERY, "workspace_id": OTHER_WORKSPACE}, 422, "workspace_id: Unknown field."),
        ({**QUERY, "time_range": "custom", "start_date": "2026-02-01", "end_date": "2026-01-01"}, 400, "Start date"),
        ({**QUERY, "granularity": "hour", "timezone": "Mars/Olympus"}, 422, "timezone: "),
        # what Python's JSON takes, and no response can have
        ({"metrics": ["\ud800"]}, 403, "not valid"),
        ({"\ud800": "x"}, 403, "not valid"),
        ({**QUERY, "limit": float("nan")}, 403, "not valid"),
    ],
)
def test_a_query_that_is_not_right_says_why(show: Show, params: dict[str, Any], status: int, text: str) -> None:
    response = show(signed(chart=QUERY_CHART, params=params))
    assert (response.status_code, response.mimetype) == (status, "text/html"), response.text
    assert text in response.text, response.text
    assert "data-document" not in response.text


def test_a_token_opens_nothing_else(embedding: WsgiApp) -> None:
    client = Client(embedding)
    for headers, query in (({"Authorization": f"Bearer {signed()}"}, {}), ({}, {"token": signed()})):
        response = client.get(f"/api/v1/workspaces/{WORKSPACE}{CHART}", headers=headers, query_string=query)
        assert response.status_code == 401


def test_a_condition_of_the_request_is_not_the_answers(show: Show) -> None:
    assert show(signed(), **{"If-None-Match": "*"}).status_code == 200


def test_names_do_no_harm_in_the_page(show: Show) -> None:
    response = show(signed(workspace_id=HOSTILE_WORKSPACE, chart="/analytics/overview/charts/top_campaigns"))
    assert response.status_code == 200
    assert "<img" not in response.text
    assert len(response.text) < 60_000


def test_requests_are_counted_by_token(show: Show, monkeypatch: pytest.MonkeyPatch, embedding: WsgiApp) -> None:
    monkeypatch.setattr(embedding._services.guard._limiter, "_factor", 1)
    monkeypatch.setattr(embed, "LIMIT", 2)
    token = signed(sub="counted")
    assert [show(token).status_code for _ in range(3)] == [200, 200, 429]
    assert "data-document" not in show(token).text
    assert show(signed(sub="another")).status_code == 200


def test_without_a_secret_there_is_no_such_page(service: WsgiApp) -> None:
    assert Client(service).get("/embed", query_string={"token": signed()}).status_code == 404


def test_weak_secrets_are_refused(warehouse_settings: Settings) -> None:
    for secret, text in (
        ("short", "less than 32 bytes"),
        ("a" * 40, "different"),
        (f"{SECRET},{OLD_SECRET},{SECRET}x", "more than two"),
    ):
        with pytest.raises(SettingsError, match=text):
            EmbedTokenVerifier(dataclasses.replace(warehouse_settings, embed_secret=secret))
    with pytest.raises(SettingsError, match="also MAILMART_JWT_SECRET"):
        EmbedTokenVerifier(dataclasses.replace(warehouse_settings, embed_secret=SECRET, jwt_secret=SECRET))


# ---- in a browser, on pages of other origins


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """The folder of a product's pages, and two origins that it has."""
    folder = tmp_path_factory.mktemp("product")
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    first, second = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    yield folder, first, second
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)")
def test_a_chart_is_drawn_in_a_page_of_a_listed_origin_and_of_no_other(
    product: tuple[Path, str, str], warehouse_settings: Settings, tmp_path: Path
) -> None:
    folder, listed, other = product
    with (
        serving(warehouse_settings, tmp_path / "log", MAILMART_EMBED_SECRET=SECRET, MAILMART_EMBED_ORIGINS=listed) as service,
        Browser(str(CHROMIUM), tmp_path) as browser,
    ):
        tokens = {
            "good": signed(),
            "dark": signed(theme="dark"),
            "query": signed(chart=QUERY_CHART, params=QUERY),
            "compare": signed(chart="/analytics/compare/charts/intervals", params=COMPARE),
            "expired": signed(exp=1, iat=0),
        }
        for name, token in tokens.items():
            frame = f'<iframe src="{service.address}/embed?token={token}" width="700" height="360" title="Mail"></iframe>'
            (folder / f"{name}.html").write_text(f"<!DOCTYPE html><title>Product</title><h1>Product</h1>{frame}")
        for name in ("good", "dark", "query", "compare"):
            browser.open(f"{listed}/{name}.html")
            browser.wait_in_frame("/embed", "document.querySelectorAll('figure svg').length === 1")
            shown = browser.run_in_frame("/embed", "document.querySelector('figure svg').textContent")
            assert ("cmp_of_mail_alone" if name in ("query", "compare") else "Delivered") in shown
            # no part of it is cut off at the side
            browser.wait_in_frame("/embed", FITS)
            assert browser.run_in_frame("/embed", "document.documentElement.dataset.policyViolations ?? ''") == ""
            if not missing(["npm"]):
                assert browser.run_in_frame("/embed", f"{axe_source()}; {AXE}") == []
            entries = browser.run_in_frame("/embed", "performance.getEntriesByType('resource').map((entry) => entry.name)")
            assert entries
            assert all(entry.startswith(f"{service.address}/assets/") for entry in entries), entries
            assert browser.run_in_frame("/embed", "[sessionStorage.length, document.cookie]") == [0, ""]
            browser.screenshot(tmp_path / f"{name}.png")
        browser.open(f"{listed}/expired.html")
        browser.wait_in_frame("/embed", "document.body.innerText.includes('has expired')")
        if not missing(["npm"]):
            assert browser.run_in_frame("/embed", f"{axe_source()}; {AXE}") == []
        browser.open(f"{other}/good.html")
        browser.wait_in_frame("chrome-error://", "true")
        # the pages of people who signed in stay out of frames
        (folder / "pages.html").write_text(f'<!DOCTYPE html><title>Product</title><iframe src="{service.address}/"></iframe>')
        browser.open(f"{listed}/pages.html")
        browser.wait_in_frame("chrome-error://", "true")
