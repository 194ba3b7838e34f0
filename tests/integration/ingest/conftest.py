"""All bodies of these tests in one build."""

from __future__ import annotations

import pytest

from api.settings import Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.ingest.documented_events import load_documented_events
from tests.integration.ingest.field_cases import load_field_cases
from tests.integration.ingest.real_webhooks import load_real_webhooks
from tests.integration.ingest.synthetic_bodies import load_synthetic_bodies
from tests.support.dbt import ROWS, run_dbt


@pytest.fixture(scope="session")
def ingested(make_warehouse: MakeWarehouse) -> Settings:
    """A built database with the field cases, real webhooks, documented events and synthetic bodies, each in its own workspace."""
    return make_warehouse("ingested", _fill)


def _fill(settings: Settings) -> None:
    load_field_cases(settings)
    load_real_webhooks(settings)
    load_documented_events(settings)
    load_synthetic_bodies(settings)
    run_dbt(settings, *ROWS)
