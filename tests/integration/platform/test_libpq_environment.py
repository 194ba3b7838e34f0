"""Variables of libpq in a user's environment change no session of a command."""

from __future__ import annotations

import pytest

from api.settings import Settings
from tests.support.command import mailmart


@pytest.mark.parametrize(
    ("variable", "value"), [("PGTZ", "America/New_York"), ("PGDATESTYLE", "SQL, DMY"), ("PGCLIENTENCODING", "LATIN1")]
)
def test_a_command_ignores_the_formats_of_the_environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    listed = mailmart(settings, "keys", "list")
    assert listed.exit_code == 0, listed.output
