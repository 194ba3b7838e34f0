"""A database of a Citus cluster is refused before anything is created in it.

The first test runs where MAILMART_TEST_CITUS_URL is the connection string of a superuser, and of a database with worker nodes.
"""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.db.migrate import migrate
from api.errors import MailmartError
from api.settings import Settings
from tests.integration.conftest import MakeDatabase
from tests.support.postgres import PostgresServer

VARIABLE = "MAILMART_TEST_CITUS_URL"
SCHEMAS = "select nspname::text from pg_namespace where nspname in ('app', 'raw', 'core')"


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} is not set")
def test_a_cluster_is_refused(tmp_path: Path) -> None:
    url = os.environ[VARIABLE]
    with psycopg.connect(url) as connection:
        nodes = connection.execute("select nodename, nodeport from pg_dist_node where groupid <> 0").fetchall()
        before = connection.execute(SCHEMAS).fetchall()
    assert nodes, "the database has no worker node"
    with pytest.raises(MailmartError, match="belongs to a Citus cluster") as raised:
        migrate(Settings(url, None, tmp_path))
    assert all(f"{host}:{port}" in str(raised.value) for host, port in nodes)
    with psycopg.connect(url) as connection:
        assert connection.execute(SCHEMAS).fetchall() == before


def test_what_citus_says_of_its_nodes(empty_database: MakeDatabase, server: PostgresServer) -> None:
    """Everywhere else, its catalog is made by hand: with a coordinator alone, nothing is refused."""
    settings = empty_database()
    assert settings.database_url is not None
    name = str(conninfo_to_dict(settings.database_url)["dbname"])
    with psycopg.connect(make_conninfo(server.superuser, dbname=name), autocommit=True) as superuser:
        superuser.execute("set allow_system_table_mods = on")
        superuser.execute("create table pg_catalog.pg_dist_node (groupid int, nodename text, nodeport int)")
        superuser.execute("grant select on pg_catalog.pg_dist_node to public")
        superuser.execute("insert into pg_catalog.pg_dist_node values (0, '10.0.0.1', 5432), (1, '10.0.0.2', 5432)")
        with pytest.raises(MailmartError, match=r"a Citus cluster \(10\.0\.0\.2:5432\), and mailmart does not distribute"):
            migrate(settings)
        assert superuser.execute(SCHEMAS).fetchall() == []
        superuser.execute("delete from pg_catalog.pg_dist_node where groupid = 1")
        assert "0001_roles_and_schemas" in migrate(settings)
