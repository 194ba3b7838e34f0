"""What the tests of reports have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.contract.export_types import Catalogue
from api.contract.publication import read_publication
from api.db.connection import connect
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.reports.certificates import Authority
from tests.integration.reports.given import WORKSPACE, Reporter, land_mail
from tests.support.dbt import run_dbt


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that nobody trusts yet."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that this process trusts, and no other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


@pytest.fixture(scope="session")
def report_warehouse(_fresh_database: Callable[[], Settings]) -> Settings:
    """Built and published."""
    settings = _fresh_database()
    land_mail(settings)
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
    return settings


@pytest.fixture(scope="session")
def reporter_of(report_warehouse: Settings) -> Iterator[Callable[[str], Reporter]]:
    """Makes one of a workspace."""
    service = WsgiApp(report_warehouse)

    def make(workspace_id: str) -> Reporter:
        key = create_key(report_warehouse, workspace_id, name="tests", scopes=("read", "export", "reports"))
        return Reporter(report_warehouse, Client(service), key, workspace_id)

    yield make
    service.close()


@pytest.fixture
def reporter(reporter_of: Callable[[str], Reporter]) -> Reporter:
    """Of a workspace without reports."""
    made = reporter_of(WORKSPACE)
    made.execute("delete from app.reports")
    made.execute("delete from app.exports")
    made.execute("delete from procrastinate.procrastinate_jobs")
    return made


@pytest.fixture(scope="session")
def report_catalogue(report_warehouse: Settings) -> Catalogue:
    """What can be exported."""
    with connect(report_warehouse, "mailmart_owner") as connection:
        publication = read_publication(connection, report_warehouse.target)
    assert publication is not None
    return publication.contract.catalogue
