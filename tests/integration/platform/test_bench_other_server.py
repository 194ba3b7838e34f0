"""`mailmart bench batch --database-url`: a scratch database of another server, and its processor time. Nothing is left of it."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from api.db.migrate import migrate
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.other_server import CONTENT, OtherServer, scratch_database
from api.tools.bench.processor_time import SERVER, ProcessorClock
from api.tools.bench.run_results import statements_of_last_run
from api.tools.bench.services import environment_of_servers
from tests.integration.api.forwarding import Forwarder
from tests.support.command import mailmart
from tests.support.postgres import PostgresServer

NAME = "mailmart_bench"


@pytest.fixture
def empty_database(server: PostgresServer) -> Iterator[str]:
    """The login's URL of an empty database."""
    server.create_database(NAME)
    yield server.url(NAME)
    with server.as_superuser() as connection:
        connection.execute(f"drop database {NAME} with (force)")


def content(url: str) -> list[tuple[str, bool]]:
    with psycopg.connect(url) as connection:
        return connection.execute(CONTENT.encode()).fetchall()


def test_a_database_that_does_not_exist_is_made_and_dropped(server: PostgresServer) -> None:
    url = make_conninfo(server.superuser, dbname=NAME)
    with scratch_database(OtherServer(url)):
        # the session of a program that was killed does not keep it
        open_session = psycopg.connect(url)
    open_session.close()
    with server.as_superuser() as connection:
        assert connection.execute("select from pg_database where datname = %s", (NAME,)).fetchall() == []


def test_the_database_has_the_encoding_that_mailmart_needs(server: PostgresServer) -> None:
    url = make_conninfo(server.superuser, dbname=NAME)
    with server.as_superuser() as connection:
        # as on a server that was made in the locale C, without an encoding
        connection.execute("update pg_database set encoding = 0 where datname = 'template0'")
    try:
        with scratch_database(OtherServer(url)), psycopg.connect(url) as connection:
            assert connection.info.parameter_status("server_encoding") == "UTF8"
    finally:
        with server.as_superuser() as connection:
            connection.execute("update pg_database set encoding = pg_char_to_encoding('UTF8') where datname = 'template0'")


def test_what_is_left_on_a_server_that_was_stopped_meanwhile_is_named(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.tools.bench.other_server.SECONDS_TO_RESTART", 0.0)
    with Forwarder(make_conninfo(server.superuser, dbname=NAME)) as forwarder:
        forwarder.start()
        database = scratch_database(OtherServer(forwarder.url))
        database.__enter__()
    failed = MailmartError("dbt build failed")
    with pytest.raises(MailmartError) as raised:
        database.__exit__(MailmartError, failed, None)
    assert raised.value.message.startswith(f"dbt build failed; and the scratch database {NAME} of --database-url is left")
    assert f"drop database {NAME};" in raised.value.hint
    with server.as_superuser() as connection:
        connection.execute(f"drop database {NAME}")


def test_a_server_that_restarts_meanwhile_is_waited_for(server: PostgresServer) -> None:
    with Forwarder(make_conninfo(server.superuser, dbname=NAME)) as forwarder:
        forwarder.start()
        database = scratch_database(OtherServer(forwarder.url))
        database.__enter__()
        forwarder.stop()
        threading.Timer(1.5, forwarder.start).start()
        database.__exit__(None, None, None)
    with server.as_superuser() as connection:
        assert connection.execute("select from pg_database where datname = %s", (NAME,)).fetchall() == []


def test_a_database_that_is_empty_is_empty_again(empty_database: str, tmp_path: Path) -> None:
    with scratch_database(OtherServer(empty_database)):
        migrate(Settings(empty_database, None, tmp_path))
        assert ("raw", True) in content(empty_database)
    assert content(empty_database) == []


def test_a_database_that_holds_anything_is_refused_and_kept(empty_database: str, tmp_path: Path) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("create schema shop; create table shop.orders (id int)")
    result = mailmart(Settings(None, None, tmp_path), "bench", "batch", "--database-url", empty_database)
    assert result.exit_code == 1
    assert "the database mailmart_bench is not empty: it has 2 objects, shop among them" in result.output
    assert "Name one in --database-url that is empty or does not exist." in result.output
    assert content(empty_database) == [("shop", True), ("shop.orders", False)]


def test_a_login_without_the_right_to_create_a_database_is_an_error(server: PostgresServer) -> None:
    database = scratch_database(OtherServer(server.url("mailmart_bench_missing")))
    with pytest.raises(MailmartError, match="this login may not create a database") as raised:
        database.__enter__()
    assert "create an empty database that the login owns" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--database-url", "postgresql://u:secret@127.0.0.1:1/x"], "the database postgres of --database-url cannot be reached"),
        (["--database-url", "postgresql://u:secret@127.0.0.1"], "--database-url names no database"),
        (["--database-url", "mysql=1 secret"], "--database-url is not a connection string"),
        (["--citus"], "name a server with --database-url"),
        (["--database-url", "postgresql://u@127.0.0.1/x", "--erase"], "--erase is measured on the embedded server only"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(tmp_path: Path, arguments: list[str], text: str) -> None:
    result = mailmart(Settings(None, None, tmp_path), "bench", "batch", *arguments)
    assert result.exit_code in (1, 2)
    assert text in result.output
    assert "secret" not in result.output


def test_processor_time_is_that_of_the_server_if_it_is_here(server: PostgresServer, tmp_path: Path) -> None:
    settings = Settings(server.superuser, None, tmp_path)
    clock = ProcessorClock(settings)
    before = clock.seconds()
    with server.as_superuser() as connection:
        connection.execute("select count(*) from generate_series(1, 2000000) as number where number::text like '%%7'")
    since = clock.seconds_since(before)
    assert set(since) == {SERVER}
    assert since[SERVER] > 0


def test_times_of_nodes_are_read_from_the_results_of_dbt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBT_TARGET_PATH", raising=False)
    settings = dataclasses.replace(Settings(None, None, tmp_path), project_root=tmp_path)
    results = tmp_path / "target" / "production" / "run_results.json"
    results.parent.mkdir(parents=True)
    moments = {"started_at": "2026-01-05T10:00:00.000000Z", "completed_at": "2026-01-05T10:00:01.500000Z"}
    node = {
        "unique_id": "model.mailmart.fct_messages",
        "timing": [{"name": "compile", **moments}, {"name": "execute", **moments}],
    }
    results.write_text(json.dumps({"results": [node, {"unique_id": "test.mailmart.skipped", "timing": []}]}))
    (statement,) = statements_of_last_run(settings)
    assert (statement.node, statement.ended - statement.started) == ("model.mailmart.fct_messages", 1.5)


def test_services_of_a_bench_use_no_other_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "READ_DATABASE_URL", "REDIS_URL"):
        monkeypatch.setenv(f"MAILMART_{name}", "postgresql://production.example/mailmart")
    embedded = environment_of_servers(Settings(None, None, tmp_path))
    assert {embedded[f"MAILMART_{name}"] for name in ("DATABASE_URL", "READ_DATABASE_URL", "REDIS_URL")} == {""}
    other = environment_of_servers(Settings("postgresql://scratch.example/bench", None, tmp_path))
    assert other["MAILMART_DATABASE_URL"] == "postgresql://scratch.example/bench"
    assert other["MAILMART_READ_DATABASE_URL"] == ""
