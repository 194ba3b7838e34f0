"""Migration 0017 keeps the exports of an older database, under the new names."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from api.db.connection import conninfo
from api.db.migrate import migrate
from api.settings import PROJECT_ROOT, Settings

# made by release 0.1.0; it contains one export
DUMP = PROJECT_ROOT / "tests/integration/upgrade/release_0_1_0.sql.gz"


def test_stored_exports_are_renamed(empty_database: Callable[[], Settings], template: str) -> None:
    # the fixture `template` has created the roles of the server
    settings = empty_database()
    assert settings.database_url is not None
    login = str(conninfo_to_dict(settings.database_url)["user"])
    dump = gzip.decompress(DUMP.read_bytes()).decode().replace("OWNER TO mailmart;", f"OWNER TO {login};")
    with psycopg.connect(conninfo(settings, None), autocommit=True, row_factory=dict_row) as connection:
        connection.execute(sql.SQL(dump))
        connection.execute("set role mailmart_owner")
        (before,) = connection.execute("select * from app.exports").fetchall()
    migrate(settings)
    with psycopg.connect(conninfo(settings, None), row_factory=dict_row) as connection:
        connection.execute("set role mailmart_owner")
        (after,) = connection.execute("select * from app.exports").fetchall()
    assert (after.pop("units_total"), after.pop("units_written")) == (before.pop("size"), before.pop("done"))
    old, new = before.pop("resolved"), after.pop("resolved")
    assert (new.pop("response_fields"), new.pop("params")) == (old.pop("shown"), old.pop("given"))
    assert new == old
    assert after == before
