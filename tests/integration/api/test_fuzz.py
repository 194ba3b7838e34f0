"""Hostile headers, paths, keys, tokens and bodies: never a 500, never a row of another tenant."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import string
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from werkzeug.test import Client

from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE
from tests.integration.api.example import CAMPAIGN, WORKSPACE

CASES = int(os.environ.get("MAILMART_TEST_FUZZ_CASES", "3000"))
SECRET = "a secret for tests, with more than 32 bytes"
ENDPOINTS = (
    "analytics/overview",
    "analytics/deliverability",
    "analytics/providers",
    "analytics/timing",
    "analytics/engagement-heatmap",
    "analytics/data-quality",
    "analytics/freshness",
    "analytics/sources",
    "analytics/compare",
    "analytics/export",
    "analytics/exports",
    "analytics/exports/exp_theirs",
    "analytics/reports",
    "analytics/reports/rep_theirs",
    f"campaigns/{CAMPAIGN}/analytics",
    "campaigns/cmp_theirs/analytics",
)
PARAMETERS = ("timeRange", "startDate", "endDate", "groupBy", "timezone", "granularity", "campaignId", "domainId", "workspaceId")
BODY_PARAMETERS = ("campaign_ids", "time_range", "start_date", "end_date", "metrics", "export_type", "format", "name", "schedule")
VALUES = (
    "7d",
    "30d",
    "custom",
    "2025-11-01",
    "hour",
    "week",
    "UTC",
    "Europe/Berlin",
    CAMPAIGN,
    "cmp_theirs",
    OTHER_WORKSPACE,
    "localtime",
    "open_rate",
)
NASTY = ("'", "';--", "\\", "\0", "%00", "../..", "{}", "[]", "null", "-1", "9" * 400, "é" * 300, "\u202e")


def text(chance: random.Random) -> str:
    kinds = (
        lambda: chance.choice(VALUES),
        lambda: "".join(chance.choices(string.printable, k=chance.randrange(20))),
        lambda: "".join(chr(chance.randrange(1, 0x2FFF)) for _ in range(chance.randrange(8))),
        lambda: chance.choice(NASTY),
    )
    return chance.choice(kinds)()


def json_value(chance: random.Random) -> Any:
    """Any JSON value."""
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: text(chance),
        lambda: chance.choice((None, True, -1, 2.5, 10**400, "\ud800", {}, [])),
        lambda: [CAMPAIGN, "cmp_of_mail_alone"],
        lambda: [json_value(chance) for _ in range(chance.randrange(4))],
        lambda: {chance.choice(("a", "\udfff", text(chance))): json_value(chance)},
    )
    return chance.choice(kinds)()


def body(chance: random.Random) -> bytes:
    content = {name: json_value(chance) for name in BODY_PARAMETERS if chance.random() < 0.4}
    if chance.random() < 0.5:
        content["campaign_ids"] = [CAMPAIGN, chance.choice(("cmp_of_mail_alone", "cmp_theirs"))]
    if chance.random() < 0.1:
        content[chance.choice(("\ud800", text(chance)))] = json_value(chance)
    return json.dumps(content if chance.random() < 0.9 else json_value(chance)).encode()


def headers(chance: random.Random, keys: list[str]) -> tuple[dict[str, str], str]:
    """Headers, and the workspace that their credential belongs to if it is valid."""
    # never the other tenant: its own credential may read its rows
    workspace = chance.choice([WORKSPACE, text(chance).replace(OTHER_WORKSPACE, "")])
    token = jwt.encode({"workspace_id": workspace, "exp": time.time() + 60}, SECRET, "HS256")
    credential = chance.choice(
        [*keys, token, token[: chance.randrange(len(token))], keys[0][:-1], f"mm_{text(chance)}", text(chance)]
    )
    raw = {"Authorization": f"{chance.choice(['Bearer', 'Bearer', 'Bearer', 'bearer', 'Basic', ''])} {credential}"}
    for name in ("If-None-Match", "X-Request-Id", "Origin", "Accept", "Content-Type", "Range", "X-Forwarded-For", "Host"):
        if chance.random() < 0.15:
            raw[name] = text(chance)
    # as a server passes them on: without line ends, and in latin-1
    cleaned = {
        name: value.translate({ord(end): None for end in "\r\n\0"}).encode("latin-1", "replace").decode("latin-1")
        for name, value in raw.items()
    }
    return cleaned, workspace if credential == token else WORKSPACE


@pytest.mark.timeout(3600 if CASES > 10_000 else 110)
def test_hostile_requests_never_cause_500_or_reveal_another_tenant(warehouse_settings: Settings, key: str) -> None:
    service = WsgiApp(dataclasses.replace(warehouse_settings, jwt_secret=SECRET))
    chance = random.Random(20251126)
    seen: dict[int, int] = {}
    try:
        client = Client(service)
        for case in range(CASES):
            workspace = chance.choice([WORKSPACE, WORKSPACE, WORKSPACE, OTHER_WORKSPACE, text(chance)])
            endpoint = chance.choice(ENDPOINTS) if chance.random() < 0.9 else text(chance)
            path = f"/api/v1/workspaces/{quote(workspace, safe='')}/{quote(endpoint, safe='/')}"
            query = [
                (chance.choice(PARAMETERS) if chance.random() < 0.9 else text(chance), text(chance))
                for _ in range(chance.choice([0, 0, 0, 1, 2, 3]))
            ]
            sent, credential_workspace = headers(chance, [key])
            has_json = chance.random() < 0.3
            if has_json:
                sent["Content-Type"] = "application/json"
            response = client.open(
                path,
                method=chance.choice(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE"]),
                query_string=dict(query),
                headers=sent,
                data=body(chance) if has_json else text(chance).encode() if chance.random() < 0.2 else None,
            )
            seen[response.status_code] = seen.get(response.status_code, 0) + 1
            assert response.status_code < 500, (case, path, query, sent, response.text)
            if response.status_code == 200 and response.request.method in ("GET", "POST"):
                # no credential belongs to the other tenant, so no response may contain its campaign
                assert b"cmp_theirs" not in response.data, (case, path, query)
                assert b'"emails_sent":7,' not in response.data, (case, path, query)
                assert workspace == credential_workspace, (case, path)
    finally:
        service.close()
    assert seen[200] > CASES / 50, seen
    assert {400, 401, 403, 404, 405, 415, 422} <= set(seen), seen
    print(seen)
