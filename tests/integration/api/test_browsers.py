"""Browsers: security headers on every response, CORS only for configured origins, and Swagger UI under its policy."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from werkzeug.test import Client

from api.errors import SettingsError
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.browser import Browser
from tests.integration.api.example import CAMPAIGN, WORKSPACE

PATH = f"/api/v1/workspaces/{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
ORIGIN = "https://dashboard.example.com"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_security_headers_are_on_every_response(service: WsgiApp, key: str) -> None:
    client = Client(service)
    for path in (PATH, PATH, "/nowhere", "/healthz", "/openapi.json", "/docs", "/docs/js/swagger-ui-bundle.js"):
        headers = client.get(path, headers={"Authorization": f"Bearer {key}"}).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert len(headers.getlist("Content-Security-Policy")) == 1


def test_cors_is_off_by_default(service: WsgiApp, key: str) -> None:
    client = Client(service)
    response = client.get(PATH, headers={"Authorization": f"Bearer {key}", "Origin": ORIGIN})
    assert response.status_code == 200
    preflight = client.options(PATH, headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET"})
    assert not any(name.startswith("Access-Control") for name in (*response.headers.keys(), *preflight.headers.keys()))


def test_configured_origins_may_read_responses(warehouse_settings: Settings, key: str) -> None:
    service = WsgiApp(dataclasses.replace(warehouse_settings, cors_origins=(ORIGIN,)))
    try:
        client = Client(service)
        for _ in range(2):
            response = client.get(PATH, headers={"Authorization": f"Bearer {key}", "Origin": ORIGIN})
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert "ETag" in response.headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in response.headers
        rejected = client.get(PATH, headers={"Origin": ORIGIN})
        assert (rejected.status_code, rejected.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
        preflight_headers = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        preflight = client.options(PATH, headers=preflight_headers)
        assert preflight.status_code == 200
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
        other = client.options(PATH, headers={**preflight_headers, "Origin": "https://elsewhere.example.com"})
        assert "Access-Control-Allow-Origin" not in other.headers
    finally:
        service.close()


def test_an_origin_is_no_pattern(warehouse_settings: Settings) -> None:
    origins = Settings.from_environment({"MAILMART_CORS_ORIGINS": "http://[::1]:3000,https://app.example.com"}).cors_origins
    service = WsgiApp(dataclasses.replace(warehouse_settings, cors_origins=origins))
    try:
        for origin, is_allowed in (
            ("http://[::1]:3000", True),
            ("https://APP.example.com", True),
            ("http://:", False),
            ("http://1:3000", False),
            ("https://appXexample.com", False),
            ("https://app.example.com.evil.example", False),
        ):
            headers = Client(service).get(PATH, headers={"Origin": origin}).headers
            assert ("Access-Control-Allow-Origin" in headers) == is_allowed, origin
    finally:
        service.close()


@pytest.mark.parametrize("origin", ["*", "dashboard.example.com", "https://a.example.com/path", "https://*.example.com", "null"])
def test_invalid_origins_are_rejected(origin: str) -> None:
    with pytest.raises(SettingsError, match="MAILMART_CORS_ORIGINS"):
        Settings.from_environment({"MAILMART_CORS_ORIGINS": origin})


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)")
def test_swagger_ui_calls_the_service_under_its_policy(running: str, key: str, tmp_path: Path) -> None:
    """As a user would: authorize with the key, open an operation, fill it in and execute it."""
    with Browser(str(CHROMIUM), tmp_path) as page:
        page.open(f"{running}/docs")
        page.wait("document.querySelectorAll('.opblock').length > 5")
        page.run("document.querySelector('.btn.authorize').click()")
        page.wait("document.querySelector('.auth-container input') !== null")
        page.fill(".auth-container input", key)
        page.run("document.querySelector('.auth-container .authorize').click()")
        page.wait("document.querySelector('.auth-container input') === null")
        page.run("document.querySelector('.auth-container .btn-done').click()")
        page.run("document.querySelector('[id$=getCampaignAnalytics] .opblock-summary-control').click()")
        page.wait("document.querySelector('[id$=getCampaignAnalytics] .btn.execute') !== null")
        page.wait("document.querySelector('[id$=getCampaignAnalytics] tr[data-param-name=workspaceId] input') !== null")
        for name, value in (("workspaceId", WORKSPACE), ("campaignId", CAMPAIGN)):
            page.fill(f"[id$=getCampaignAnalytics] tr[data-param-name={name}] input", value)
        page.run("document.querySelector('[id$=getCampaignAnalytics] .btn.execute').click()")
        page.wait("document.querySelector('.live-responses-table .response .response-col_status') !== null")
        assert page.run("document.querySelector('.live-responses-table .response .response-col_status').innerText").startswith(
            "200"
        )
        assert '"emails_sent": 5000' in page.run("document.querySelector('.live-responses-table').innerText")
        assert page.violations == []
