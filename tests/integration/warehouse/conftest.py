"""Fixtures of the tests of the warehouse."""

from __future__ import annotations

import pytest

from api.settings import Settings
from tests.integration.conftest import MakeWarehouse
from tests.support.dbt import WITHOUT_TESTS, run_dbt


@pytest.fixture(scope="module")
def empty_warehouse(make_warehouse: MakeWarehouse) -> Settings:
    """A built database without any mail, for tests that write to core themselves; a copy of the module's own."""
    return make_warehouse("empty", _build)


@pytest.fixture
def built_empty(make_warehouse: MakeWarehouse) -> Settings:
    """A built database without any mail; a copy of the test's own."""
    return make_warehouse("empty", _build)


def _build(settings: Settings) -> None:
    run_dbt(settings, *WITHOUT_TESTS)
