"""/mcp has the API's own access: its keys, its scopes, its tenants, and bounds on what it reads and says."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from api.auth.api_keys import create_key
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.mcp.agent import Agent

if TYPE_CHECKING:
    from mcp import Client

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def post(agent: Agent, body: bytes) -> tuple[int, bytes]:
    async def send() -> tuple[int, bytes]:
        async with agent.http() as client:
            response = await client.post("/mcp", content=body, headers=HEADERS)
            return response.status_code, response.content

    return asyncio.run(send())


@pytest.mark.parametrize("key", ["", "mm_000000000000_wrong", "nonsense"])
def test_without_a_valid_key_nothing_is_answered(seeded_service: WsgiApp, key: str) -> None:
    status, body = post(Agent(seeded_service, key), json.dumps(PING).encode())
    assert status == 401
    assert json.loads(body)["error"]["code"] == "UNAUTHORIZED"


def test_a_body_that_does_not_come_is_a_408(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.mcp.http.SECONDS_TO_READ", 0.2)
    monkeypatch.setattr("api.mcp.http.TIMEOUT_SECONDS", 0.3)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(20)

    async def send() -> tuple[int, bytes]:
        async with agent.http() as client:
            response = await client.post("/mcp", content=slow(), headers=HEADERS)
            return response.status_code, response.content

    status, body = asyncio.run(send())
    assert (status, json.loads(body)["error"]["code"]) == (408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_another_method_is_answered_at_once(agent: Agent, method: str) -> None:
    async def send() -> tuple[int, bytes, str | None]:
        async with agent.http() as client:
            response = await client.request(method, "/mcp", headers=HEADERS, timeout=20)
            return response.status_code, response.content, response.headers.get("Allow")

    status, body, allowed = asyncio.run(send())
    assert (status, json.loads(body)["error"]["code"], allowed) == (405, "METHOD_NOT_ALLOWED", "POST")


def test_a_key_sees_its_own_workspace_alone(seeded: Settings, seeded_service: WsgiApp, agent: Agent) -> None:
    other = Agent(seeded_service, create_key(seeded, "ws_demo_2", name="other"))
    assert other.answer("workspace_report")["workspace_id"] == "ws_demo_2"
    is_error, text = other.call("campaign_report", campaign_id="cmp_demo_1")
    assert is_error
    assert "CAMPAIGN_NOT_FOUND" in text
    assert agent.answer("workspace_report")["workspace_id"] == "ws_demo_1"


def test_a_credential_is_checked_without_a_request_to_the_api(
    seeded_service: WsgiApp, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paths: list[str] = []
    call = WsgiApp.__call__

    def counted(app: WsgiApp, environ: dict[str, Any], start_response: Any) -> Any:
        paths.append(environ["PATH_INFO"])
        return call(app, environ, start_response)

    monkeypatch.setattr(WsgiApp, "__call__", counted)
    with caplog.at_level(logging.INFO, "mailmart.access"):
        assert post(agent, json.dumps(PING).encode())[0] == 200
        assert post(Agent(seeded_service, "nonsense"), json.dumps(PING).encode())[0] == 401
    assert paths == []
    logged = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [(line["path"], line["endpoint"], line["status"], line["workspace_id"]) for line in logged] == [
        ("/mcp", "credential", 200, "ws_demo_1"),
        ("/mcp", "credential", 401, ""),
    ]
    assert not agent.call("workspace_report")[0]
    assert paths.count("/api/v1/workspaces/ws_demo_1/analytics/overview") == 1


def test_an_id_cannot_reach_another_path(agent: Agent) -> None:
    is_error, text = agent.call("campaign_report", campaign_id="../../ws_demo_2/analytics/overview?x=")
    assert is_error
    assert "CAMPAIGN_NOT_FOUND" in text


def test_a_key_without_the_scope_is_refused_with_a_sentence(seeded: Settings, seeded_service: WsgiApp) -> None:
    is_error, text = Agent(seeded_service, create_key(seeded, "ws_demo_1", name="ingest", scopes=("ingest",))).call("data_status")
    assert is_error
    assert "scope" in text


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("workspace_report", {"time_range": "custom"}, "startDate"),
        ("workspace_report", {"time_range": "custom", "start_date": "2026-02-30", "end_date": "2026-03-01"}, "startDate"),
        ("best_send_time", {"timezone": "Mars/Olympus"}, "timezone"),
        ("compare_campaigns", {"campaign_ids": ["cmp_demo_1"]}, "campaign_ids"),
        ("query", {"metrics": ["open_rat"]}, "open_rate"),
        ("list_entities", {"kind": "campaigns", "sort": "open_rat"}, "sort"),
    ],
)
def test_a_wrong_argument_is_named(agent: Agent, tool: str, arguments: dict[str, Any], said: str) -> None:
    is_error, text = agent.call(tool, **arguments)
    assert is_error
    assert said in text, text


def test_a_large_or_broken_body_is_refused(agent: Agent) -> None:
    from api.mcp.http import MAX_BODY_BYTES

    assert post(agent, b" " * (MAX_BODY_BYTES + 1))[0] == 413
    assert post(agent, b"{")[0] == 400


def test_what_an_agent_reads_first_is_short(agent: Agent) -> None:
    async def read(client: Client) -> tuple[str, list[Any]]:
        return client.instructions or "", (await client.list_tools()).tools

    instructions, tools = agent.run(read)
    assert len(instructions) < 1_200
    assert len(tools) <= 12
    assert len(json.dumps([tool.model_dump(exclude_none=True) for tool in tools])) <= 12_000
    assert all(tool.description for tool in tools)
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
