"""One intake for the tests of a module, with sources of several providers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.db.connection import connect
from api.intake.sources import create_source
from api.settings import Settings
from tests.integration.intake.running import Intake, receiving

WORKSPACE = "ws_intake"


class Sources:
    """Creates sources, and reads what was stored of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def path(self, provider: str = "sendgrid", **options: Any) -> str:
        """The path of a new source's URL."""
        return f"/intake/{provider}/{create_source(self.settings, WORKSPACE, provider, **options)}"

    def stored(self, marker: str) -> int:
        """How many bodies contain the marker."""
        return self._count("select count(*) from raw.webhook_payloads where payload::text like %s", f"%{marker}%")

    def rejected(self, path: str) -> list[tuple[str, str, str]]:
        """Problem, reason and text of the rejected bodies of a source."""
        with connect(self.settings, "mailmart_owner") as connection:
            return connection.execute(
                "select problem, reason, body from raw.rejected_payloads where source = %s order by 1, 2", (source_id(path),)
            ).fetchall()

    def _count(self, statement: str, value: str) -> int:
        with connect(self.settings, "mailmart_owner") as connection:
            row = connection.execute(statement.encode(), (value,)).fetchone()
        assert row is not None
        count: int = row[0]
        return count


def source_id(path: str) -> str:
    """The source of a URL."""
    return path.rpartition("/")[2].partition("_")[0]


@pytest.fixture(scope="module")
def sources(module_settings: Settings) -> Sources:
    return Sources(module_settings)


@pytest.fixture(scope="module")
def intake(module_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    with receiving(module_settings, tmp_path_factory.mktemp("intake") / "log") as running:
        yield running
