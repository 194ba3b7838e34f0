"""`mailmart erase --workspace`: nothing of the tenant is left, other tenants' answers do not change, and nothing comes back."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from api.db.connection import connect
from api.erasure import erase as erasing
from api.erasure.erase import erase_workspace
from api.exports.storage.local import LocalStorage
from api.settings import Settings
from tests.integration.erasure.conftest import Tenants, run_reports
from tests.integration.erasure.mail import FRIEND, OTHER, PERSON, SECONDS, TENANT, land, load_native, sendgrid
from tests.integration.erasure.search import answers, files_with, tables_with
from tests.support.command import mailmart
from tests.support.dbt import run_dbt
from tests.support.killing import kill_waiting, lock_rows
from tests.support.postgres import PostgresServer

# where its id is left, so that what comes later is refused
KNOWN = {
    (TENANT, f"{schema}.{table}")
    for schema, table in (
        ("app", "erasures"),
        ("app", "erased_workspaces"),
        ("raw", "rejected_payloads"),
        ("core", "fct_rejected_events"),
        ("pg_catalog", "pg_statistic"),
    )
}


def test_nothing_is_left_and_nothing_comes_back(tenants: Tenants, server: PostgresServer) -> None:
    settings = tenants.settings
    tenants.report(TENANT, FRIEND)
    tenants.report(OTHER, FRIEND)
    run_reports(tenants)
    files = {workspace: tenants.export(workspace) for workspace in (TENANT, OTHER)}
    link = tenants.status(TENANT, files[TENANT])["download_url"].removeprefix(settings.public_url)
    others = list(answers(tenants.client, tenants.keys[OTHER], OTHER))
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("insert into app.workspace_analysts values ('login', %s)", (TENANT,))
        connection.execute("update app.batches set failure_summary = %s", (f"Key ({TENANT})",))
    started = {table for _, table in tables_with(server, settings, [TENANT])}
    assert {"app.workspace_analysts", "app.report_runs", "core.fct_messages", "core.dim_domains", "raw.workspaces"} <= started

    assert "would be erased" in tenants.erase("--workspace", TENANT, "--dry-run")
    assert {table for _, table in tables_with(server, settings, [TENANT])} == started
    tenants.erase("--workspace", TENANT, "--yes")

    assert tables_with(server, settings, [TENANT, f"c-{TENANT}", f"d-{TENANT}"]) <= KNOWN
    assert files_with(settings.home / "exports", [files[TENANT]]) == []
    assert list((settings.home / "exports").glob(f"{files[TENANT]}*")) == []
    assert tenants.client.get(link).status_code == 404
    assert list(answers(tenants.client, tenants.keys[OTHER], OTHER)) == others
    assert tenants.status(OTHER, files[OTHER])["status"] == "completed"
    assert "nothing was changed" in tenants.erase("--workspace", TENANT, "--yes")

    # what arrives later
    land(settings, "sendgrid", TENANT, [sendgrid("delivered", "late", PERSON)])
    land(settings, "sendgrid", OTHER, {"event": "new", "email": FRIEND, "timestamp": SECONDS, "sg_message_id": "late"})
    load_native(settings, TENANT)
    load_native(settings, f"{TENANT}_2")
    file = settings.home / "late.jsonl"
    file.write_text(f'{{"event": "{PERSON}"}}\nno JSON of {PERSON}\n')
    loaded = mailmart(settings, "ingest", "--provider", "sendgrid", "--workspace", TENANT, str(file))
    assert f"the workspace {TENANT!r} was erased" in loaded.output
    assert loaded.exit_code == 1
    assert tables_with(server, settings, [TENANT, f"c-{TENANT}", PERSON]) & {
        (trace, f"raw.{table}")
        for trace in (TENANT, PERSON, f"c-{TENANT}")
        for table in ("campaigns", "domains", "workspaces", "email_events", "webhook_payloads", "rejected_payloads")
    } == {(TENANT, "raw.rejected_payloads")} | {
        (trace, f"raw.{table}")
        # of the other tenants, whose ids begin with the same letters
        for trace, table in (
            (TENANT, "campaigns"),
            (TENANT, "domains"),
            (TENANT, "workspaces"),
            (TENANT, "email_events"),
            (f"c-{TENANT}", "campaigns"),
            (PERSON, "webhook_payloads"),
            (PERSON, "email_events"),
            (PERSON, "rejected_payloads"),
        )
    }
    run_dbt(settings, "run", "--select", "path:models/core", "--exclude", "dim_ip*", "dim_b*", "dim_h*", "dim_m*")
    with connect(settings, "mailmart_owner") as connection:
        refused = connection.execute(
            "select problem, provider, count(*) from core.fct_rejected_events where workspace_id = %s"
            " group by 1, 2 order by 1, 2",
            (TENANT,),
        ).fetchall()
        assert refused == [
            ("workspace_erased", "app.campaigns", 1),
            ("workspace_erased", "app.domains", 1),
            ("workspace_erased", "app.workspaces", 1),
            ("workspace_erased", "native", 8),
            ("workspace_erased", "sendgrid", 3),
        ]
        for table in ("fct_messages", "fct_email_events", "fct_campaign_days", "dim_workspaces", "dim_campaigns"):
            assert connection.execute(f"select count(*) from core.{table} where workspace_id = %s", (TENANT,)).fetchone() == (0,)
        connection.execute("select app.allow_erased_workspace(%s)", (TENANT,))
    land(settings, "sendgrid", TENANT, {"event": "new"})
    with connect(settings, "mailmart_owner") as connection:
        assert connection.execute("select count(*) from raw.webhook_payloads where workspace_id = %s", (TENANT,)).fetchone() == (
            1,
        )


def test_an_interrupted_erasure_is_completed_by_the_next(tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tenants.settings
    export_id = tenants.export(TENANT)

    class Killed(Exception):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    # between the transactions, and between the rows and the files
    for place in ("_erase_workspace", "delete_files"):
        with monkeypatch.context() as patch:
            patch.setattr(erasing, place, die)
            with pytest.raises(Killed):
                erase_workspace(settings, TENANT, is_dry_run=False, report=print)
    assert list((settings.home / "exports").glob(f"{export_id}/*"))
    tenants.erase("--workspace", TENANT, "--yes")
    assert not list((settings.home / "exports").glob(f"{export_id}/*"))
    with connect(settings, "mailmart_owner") as connection:
        assert connection.execute("select count(*), count(completed_at) from app.erasures").fetchone() == (1, 1)
        assert connection.execute("select count(*) from core.fct_messages where workspace_id = %s", (TENANT,)).fetchone() == (0,)


def test_an_erasure_that_is_killed_is_completed_by_the_next(tenants: Tenants) -> None:
    settings = tenants.settings
    code = (
        "from api.erasure.erase import erase_workspace\nfrom api.settings import Settings\n"
        f"erase_workspace(Settings.from_environment(), {TENANT!r}, is_dry_run=False, report=print)"
    )
    count = "select count(*) from core.{} where workspace_id = %s"
    with connect(settings, "mailmart_owner") as other:
        messages = other.execute(count.format("fct_messages").encode(), (TENANT,)).fetchone()
        # rows that are deleted in the middle of the transaction
        lock_rows(other, "core.fct_messages", f"workspace_id = '{TENANT}'")
        kill_waiting(settings, code, other)
        # new mail is refused already, and nothing is half erased
        assert other.execute("select count(*) from app.erased_workspaces").fetchone() == (1,)
        assert other.execute(count.format("fct_messages").encode(), (TENANT,)).fetchone() == messages
        assert messages != (0,)
    tenants.erase("--workspace", TENANT, "--yes")
    with connect(settings, "mailmart_owner") as connection:
        for table in ("fct_messages", "fct_email_events", "fct_campaign_days", "dim_campaigns"):
            assert connection.execute(count.format(table).encode(), (TENANT,)).fetchone() == (0,)
        assert connection.execute("select count(*), count(completed_at) from app.erasures").fetchone() == (1, 1)


def test_it_waits_for_a_model_that_is_being_built(tenants: Tenants) -> None:
    settings = tenants.settings
    done = threading.Event()

    def erase() -> None:
        tenants.erase("--workspace", TENANT, "--yes")
        done.set()

    with connect(settings, "mailmart_owner") as build:
        build.execute("select app.begin_batch('production', 'a build', 'build', 'x')")
        build.commit()
        build.execute("select app.hold_batch(max(batch_id), '64MB') from app.batches")
        thread = threading.Thread(target=erase)
        thread.start()
        assert not done.wait(2.5)
        with connect(settings, "mailmart_api") as reader:
            assert reader.execute("select 1").fetchone() == (1,)
        build.rollback()
        thread.join(60)
    assert done.is_set()


def test_a_running_download_ends(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with storage.create("exp_1/a.csv", "text/csv") as upload:
        upload.write(b"x" * 1_000_000)
    with storage.open("exp_1/a.csv") as download:
        assert download.read(10) == b"x" * 10
        storage.erase("exp_1/")
        # what the process has buffered is not in the file any more
        assert len(download.read()) < 1_000_000 // 2
    assert not (storage.folder / "exp_1").exists()


@pytest.mark.parametrize("role", ["mailmart_api", "mailmart_worker", "mailmart_analyst"])
def test_only_the_owner_may(module_settings: Settings, role: str) -> None:
    for statement in (
        "select app.erase_workspace('w', false)",
        "select app.allow_erased_workspace('w')",
        "select * from app.erasures",
    ):
        with connect(module_settings, None) as connection:
            connection.execute(f"set role {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_what_is_refused(module_settings: Settings) -> None:
    def refused(*arguments: str) -> str:
        result = mailmart(module_settings, "erase", *arguments)
        assert result.exit_code != 0, result.output
        return result.output

    assert "use --workspace, --recipient or both" in refused("--yes")
    assert "no data is stored of a workspace 'unknown'" in refused("--workspace", "unknown", "--yes")
    assert "not one e-mail address" in refused("--recipient", "jane", "--yes")
    assert "not one e-mail address" in refused("--recipient", "a@b.example, c@d.example", "--yes")
    assert "Run `mailmart build`" in refused("--recipient", "a@b.example", "--yes")
    # not confirmed
    assert "Aborted" in refused("--workspace", "unknown")
