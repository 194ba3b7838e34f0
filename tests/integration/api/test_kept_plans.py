"""One kept plan serves every tenant and request: it is the plan that PostgreSQL would make anew."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from api.analytics.endpoint_request import resolve_settings
from api.contract.exposures import Endpoint
from api.contract.page_query import section_statement
from api.contract.publication import Publication, read_publication
from api.db.connection import connect, conninfo
from api.db.prepared_statements import MAX_STATEMENTS, PreparedStatements, Statement, statement_name
from api.db.request_context import apply_settings, set_config_query, tenant_settings
from api.db.session import transaction_config, transaction_settings
from api.settings import Settings
from api.web.schemas import request_schema
from tests.integration.api.conftest import LARGE, SMALL
from tests.support.postgres import PostgresServer

NOBODY = "nobody"
# to the cost and to the blocks of a plan that is made for this very request
MAX_RATIO = 1.3
# that any query reads: of so few, one more is a large part
FEW_BLOCKS = 10
# of the plans of one connection with every statement of the contract
MAX_MEGABYTES = 24


@pytest.fixture(scope="module")
def warehouse(two_tenants: Settings) -> Settings:
    return two_tenants


@pytest.fixture(scope="module")
def publication(warehouse: Settings) -> Publication:
    with connect(warehouse, "mailmart_owner") as connection:
        publication = read_publication(connection, warehouse.target)
    assert publication is not None
    return publication


@contextmanager
def of_the_login(settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(conninfo(settings, None), autocommit=True) as connection:
        yield connection


@dataclass(frozen=True)
class Asked:
    """A request: the settings of its context, and its statements."""

    settings: dict[str, str]
    statements: list[str]


def _requests(endpoint: Endpoint) -> Iterator[Asked]:
    """Requests with each window, with and without each filter that the endpoint has; of a list also searched and sorted."""
    pages: list[dict[str, Any]] = [{}]
    if endpoint.page is not None:
        pages += [{"search": "1"}, {"sort": list(endpoint.page.sort)[-1], "order": "asc"}]
    # () is every choice
    narrow = "7d" if "7d" in (endpoint.parameters.get("timeRange") or ("7d",)) else "30d"
    for window in (narrow, "90d"):
        given: dict[str, Any] = {"timeRange": window, "time_range": window, "campaign_ids": ["c1", "c2"]}
        given |= {name: list(endpoint.parameters[name]) for name in endpoint.defaults}
        for chosen in (*pages, {"campaignId": "c1"}, {"domainId": "d1.example"}, {"granularity": "hour"}):
            known = request_schema(endpoint)().fields if endpoint.parameters else {}
            if chosen.keys() <= known.keys():
                params = request_schema(endpoint)().load(
                    {name: value for name, value in {**given, **chosen}.items() if name in known}
                )
                path = dict.fromkeys(endpoint.path_parameters, "c1")
                settings = resolve_settings(endpoint, params, path, datetime.now(UTC).date())[0]
                shown = [section for section in endpoint.sections if section.is_shown(params)]
                yield Asked(settings, [section_statement(section, params) for section in shown])


def _set_config(settings: Mapping[str, str]) -> Statement:
    config = transaction_config("mailmart_api", statement_timeout_seconds=60)
    return Statement(set_config_query(tuple(config.items()), tuple(settings)), tuple(settings.values()))


def _explained(connection: psycopg.Connection, query: str) -> tuple[float, int]:
    """The planner's cost of a query, and the blocks that it reads."""
    row = connection.execute(f"explain (analyze, buffers, timing off, format json) {query}".encode()).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    # a condition with a setting of its own would be estimated for the first tenant
    assert "current_setting" not in str(plan), query
    return plan["Total Cost"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize("first", [LARGE, NOBODY])
def test_a_kept_plan_is_as_good_as_a_new_one(warehouse: Settings, publication: Publication, first: str) -> None:
    """Whichever tenant's request was the first on a connection."""
    worse = []
    compared = 0
    with of_the_login(warehouse) as connection:
        # the statements are closed at the end, not before
        prepared = PreparedStatements(connection, max_statements=1000)
        for endpoint in publication.contract.endpoints:
            requests = list(_requests(endpoint))
            own = tenant_settings(first, publication.batch_id)
            for request in requests:
                prepared.run([_set_config({**request.settings, **own}), *map(Statement, request.statements)], "")
            for workspace, request in itertools.product((LARGE, SMALL, NOBODY), requests):
                settings = {**request.settings, **tenant_settings(workspace, publication.batch_id)}
                with connection.transaction(force_rollback=True):
                    connection.execute("; ".join(transaction_settings("mailmart_api", statement_timeout_seconds=60)).encode())
                    apply_settings(connection, settings)
                    for text in request.statements:
                        cost, blocks = _explained(connection, f'execute "{statement_name(text).decode()}"')
                        new_cost, new_blocks = _explained(connection, text)
                        compared += 1
                        if cost > MAX_RATIO * new_cost or blocks > max(MAX_RATIO * new_blocks, FEW_BLOCKS):
                            worse.append((text, settings, (cost, new_cost), (blocks, new_blocks)))
    assert compared > 200
    assert worse == []


def test_the_memory_of_all_plans_is_bounded(warehouse: Settings, publication: Publication, server: PostgresServer) -> None:
    assert warehouse.database_url is not None
    database = str(conninfo_to_dict(warehouse.database_url)["dbname"])
    with psycopg.connect(server.superuser, dbname=database, autocommit=True) as superuser:
        prepared = PreparedStatements(superuser)
        for endpoint in publication.contract.endpoints:
            request = next(_requests(endpoint))
            settings = {**request.settings, **tenant_settings(LARGE, publication.batch_id)}
            prepared.run([_set_config(settings), *map(Statement, request.statements)], "")
        row = superuser.execute(
            "select sum(total_bytes) / 1024 / 1024, count(*) from pg_backend_memory_contexts where name like 'CachedPlan%'"
        ).fetchone()
        assert row is not None
        megabytes, contexts = row
        # a statement has up to three contexts
        assert contexts >= 2 * len(prepared)
        assert 0 < megabytes < MAX_MEGABYTES
        # none of them is closed for another: the bound is above what the contract needs
        assert len(prepared) < MAX_STATEMENTS
        print(f"{len(prepared)} statements: {megabytes:.1f} MB")
