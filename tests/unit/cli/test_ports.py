"""The address options of `mailmart serve` and `mailmart intake`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.settings import Settings

# the command, and the module whose function serves
SERVERS = {"serve": "api.cli.serve.serve", "intake": "api.server.prefork.serve"}


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("port", [0, 9000])
def test_a_port_of_the_command_line_counts(name: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Settings] = []

    def serve(settings: Settings, *_: Any, **__: Any) -> None:
        started.append(settings)

    monkeypatch.setattr(SERVERS[name], serve)
    for variable in ("MAILMART_PORT", "MAILMART_INTAKE_PORT"):
        # the command sets them: so they are taken back
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("MAILMART_HOME", str(tmp_path))
    command = importlib.import_module(f"api.cli.{name}").command
    result = CliRunner().invoke(command, ["--port", str(port)])
    assert result.exit_code == 0, result.output
    assert [settings.port for settings in started] == [port]
