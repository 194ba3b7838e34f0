"""Fixtures of the tests of reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.contract.contract import Contract
from api.contract.publication import read_publication
from api.db.connection import connect
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.reports.reporter import WORKSPACE, Reporter, load_messages
from tests.support.certificate_authority import authority, trusted
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt

__all__ = ["authority", "trusted"]


@pytest.fixture(scope="session")
def report_warehouse(make_warehouse: MakeWarehouse) -> Settings:
    """A database with loaded events and a published build."""
    return make_warehouse("reports", _fill)


def _fill(settings: Settings) -> None:
    load_messages(settings)
    run_dbt(settings, *WITHOUT_UNIT_TESTS)


@pytest.fixture(scope="session")
def reporter_of(report_warehouse: Settings) -> Iterator[Callable[[str], Reporter]]:
    """Makes a reporter for a workspace."""
    service = WsgiApp(report_warehouse)

    def make(workspace_id: str) -> Reporter:
        key = create_key(report_warehouse, workspace_id, name="tests", scopes=("read", "export", "reports"))
        return Reporter(report_warehouse, Client(service), key, workspace_id)

    yield make
    service.close()


@pytest.fixture
def reporter(reporter_of: Callable[[str], Reporter]) -> Reporter:
    """The reporter of a workspace that has messages and no reports."""
    made = reporter_of(WORKSPACE)
    made.execute("delete from app.reports")
    made.execute("delete from app.exports")
    made.execute("delete from procrastinate.procrastinate_jobs")
    return made


@pytest.fixture(scope="session")
def report_contract(report_warehouse: Settings) -> Contract:
    """The contract of the project."""
    with connect(report_warehouse, "mailmart_owner") as connection:
        publication = read_publication(connection, report_warehouse.target)
    assert publication is not None
    return publication.contract
