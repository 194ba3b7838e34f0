"""A seeded warehouse with patterns, and an agent that asks about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.ingest.loader import load
from api.ingest.reader import Document
from api.server.app import WsgiApp
from api.settings import Settings
from api.tools.synthetic.generate import GenerateOptions, generate
from tests.integration.conftest import MakeWarehouse
from tests.integration.mcp.agent import Agent
from tests.integration.mcp.oracle import Oracle
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt

WORKSPACE = "ws_demo_1"
UNREADABLE_BODIES = 3


def _fill(settings: Settings) -> None:
    until = datetime.now(UTC).date() - timedelta(days=1)
    generate(settings, GenerateOptions(workspaces=2, campaigns=10, messages=24_000, days=45, seed=11, until=until))
    with connect(settings, "mailmart_owner") as connection:
        # the oracle counts native events
        connection.execute("truncate raw.webhook_payloads")
    bodies = [Document(line, f'{{"nothing": {line}}}') for line in range(1, UNREADABLE_BODIES + 1)]
    load(settings, "sendgrid", WORKSPACE, bodies, lambda rejected: None)
    run_dbt(settings, *WITHOUT_UNIT_TESTS)


@pytest.fixture(scope="session")
def seeded(make_warehouse: MakeWarehouse) -> Settings:
    return make_warehouse("agents", _fill)


@pytest.fixture(scope="session")
def oracle(seeded: Settings) -> Oracle:
    oracle = Oracle(seeded, datetime.now(UTC).date())
    oracle.prepare()
    return oracle


@pytest.fixture(scope="session")
def seeded_service(seeded: Settings) -> Iterator[WsgiApp]:
    app = WsgiApp(seeded)
    yield app
    app.close()


@pytest.fixture(scope="session")
def agent(seeded: Settings, seeded_service: WsgiApp) -> Agent:
    """With a key of the seeded workspace that may read and no more."""
    return Agent(seeded_service, create_key(seeded, WORKSPACE, name="agent"))
