"""`mailmart mcp` on standard input and output, over HTTP to a running API."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from api.auth.api_keys import create_key
from api.settings import Settings
from tests.integration.api.serving import serving

MAILMART = str(Path(sys.executable).parent / "mailmart")


def test_a_client_starts_it_and_asks(seeded: Settings, tmp_path: Path) -> None:
    from mcp import Client, StdioServerParameters, stdio_client

    key = create_key(seeded, "ws_demo_1", name="stdio")
    with serving(seeded, tmp_path / "log") as running:
        environment = {"MAILMART_API_KEY": key, "PATH": os.environ["PATH"], "MAILMART_ENV_FILE": "off"}
        parameters = StdioServerParameters(command=MAILMART, args=["mcp", "--url", running.address], env=environment)

        async def ask() -> tuple[int, str]:
            async with Client(stdio_client(parameters)) as client:
                tools = (await client.list_tools()).tools
                result = await client.call_tool("workspace_report", {})
                return len(tools), "".join(getattr(part, "text", "") for part in result.content)

        tools, text = asyncio.run(ask())
    assert tools >= 8
    assert json.loads(text)["workspace_id"] == "ws_demo_1"


def test_without_a_key_it_says_what_to_do(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "MAILMART_HOME": str(tmp_path), "MAILMART_ENV_FILE": "off"}
    ended = subprocess.run([MAILMART, "mcp"], env=environment, capture_output=True, text=True, timeout=60, input="")
    assert ended.returncode == 1
    assert "MAILMART_API_KEY is not set" in ended.stderr
    assert "mailmart keys create" in ended.stderr
