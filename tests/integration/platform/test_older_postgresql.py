"""PostgreSQL 16 and 17: the migrations, builds and endpoints, on servers of these releases."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.db.migrate import migrate
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import Caller
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import random_events
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_TESTS, WITHOUT_UNIT_TESTS, run_dbt
from tests.support.older_postgresql import RELEASES, has_binaries, older_server

PATHS = ("overview", "deliverability", "engagement-heatmap", "data-quality", "freshness")


@has_binaries
@pytest.mark.timeout(900)
@pytest.mark.parametrize("release", RELEASES)
def test_an_older_release_builds_and_answers(release: str, tmp_path: Path, seed: int) -> None:
    now = datetime.now(UTC)
    events = random_events(random.Random(seed), "w", 200, now - timedelta(days=20))
    with older_server(release) as server:
        server.create_database("warehouse")
        settings = Settings(server.url("warehouse"), None, tmp_path, rate_limit_factor=1_000_000)
        migrate(settings)
        with connect(settings, None) as connection:
            assert connection.info.server_version // 10_000 == int(release)
        half = len(events) // 2
        load_events(settings, events[:half], now - timedelta(hours=2))
        run_dbt(settings, *WITHOUT_TESTS)
        load_events(settings, events[half:], now - timedelta(hours=1))
        run_dbt(settings, *WITHOUT_UNIT_TESTS)
        assert current_rows.differences(settings, events, now) == [], f"seed {seed}"

        service = WsgiApp(dataclasses.replace(settings, response_cache_mb=0))
        try:
            caller = Caller(Client(service), create_key(settings, "w", name="older"))
            statuses = {path: caller.get(f"w/analytics/{path}").status_code for path in PATHS}
        finally:
            service.close()
        assert statuses == dict.fromkeys(PATHS, 200)
