"""`mailmart erase --recipient`: nothing of the person is found in any table or file, and every count stays."""

from __future__ import annotations

import base64

import pytest
from psycopg.types.json import Jsonb

from api.db.connection import connect
from api.erasure.person import person_parameters
from api.exports.attempt_repository import AttemptRepository
from api.reports.run_repository import export_ended
from api.settings import Settings
from tests.integration.erasure.conftest import Tenants, run_reports
from tests.integration.erasure.mail import BOUNCE, FRIEND, LOWER, NAMESAKE, OTHER, PERSON, TENANT, TRACES, land, sendgrid
from tests.integration.erasure.search import answers, counts, files_with, tables_with
from tests.support.command import mailmart
from tests.support.compression import compress_everything, compressed_events
from tests.support.dbt import run_dbt
from tests.support.killing import kill_waiting, lock_rows
from tests.support.postgres import PostgresServer

CORE = ("run", "--select", "path:models/core", "--exclude", "dim_*")


def _hashes(tenants: Tenants) -> list[str]:
    with connect(tenants.settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select app.recipient_hash(spelling) from unnest(%s::text[]) as spelling", ([PERSON, f"{PERSON} (Jane Doe)"],)
        ).fetchall()
    return [str(row[0]) for row in rows]


@pytest.mark.parametrize("is_compressed", [False, True])
def test_nothing_is_left_and_every_count_stays(tenants: Tenants, server: PostgresServer, *, is_compressed: bool) -> None:
    settings = tenants.settings
    traces = (*TRACES, *_hashes(tenants))
    report = tenants.report(TENANT, PERSON, FRIEND)
    lonely = tenants.report(TENANT, PERSON)
    run_reports(tenants)
    written = tenants.export(TENANT)
    counted = tenants.export(TENANT, "campaign_performance")
    # a query can have rows by link, which may name a person
    queried = tenants.export(TENANT, "query", query={"metrics": ["sent", "opened"]})
    waiting = tenants.export(TENANT, is_written=False)
    with connect(settings, "mailmart_worker", autocommit=True) as worker:
        # an attempt that reads the rows of before the erasure
        assert AttemptRepository(worker, export_ended).claim(waiting, "early") is not None
    assert files_with(settings.home, traces)
    assert {trace for trace, _ in tables_with(server, settings, traces)} == set(traces)
    before = counts(settings)
    shown = {workspace: list(answers(tenants.client, tenants.keys[workspace], workspace)) for workspace in (TENANT, OTHER)}
    assert {status for _, status, _ in shown[TENANT]} == {200}
    tag = tenants.etag(TENANT)
    if is_compressed:
        # until here, so that what is compared was read from the table
        assert compress_everything(settings) > 20
        with connect(settings, "mailmart_owner") as connection:
            # their rows are in the table again, and in the block they are not seen
            taken = "select workspace_id, message_id from core.fct_messages where message_id like 'sg1%'"
            connection.execute("select app.take_out_events('production', 'core.fct_email_events', %s)", (taken,))
            stale = connection.execute("select count(*) from app.compressed_events where taken_message_ids <> '{}'")
            assert stale.fetchone() != (0,)
        assert {table for _, table in tables_with(server, settings, traces)} >= {"app.compressed_events", "core.fct_messages"}

    assert "would be erased" in tenants.erase("--recipient", PERSON, "--dry-run")
    assert {trace for trace, _ in tables_with(server, settings, traces)} == set(traces)
    output = tenants.erase("--recipient", f"Jane <{PERSON.upper()}>", "--yes")
    assert "core.fct_email_events" in output

    assert tables_with(server, settings, traces, ignored=NAMESAKE) == set()
    assert files_with(settings.home, traces) == []
    if is_compressed:
        # the other people's events are still compressed; here, they are looked at in the table
        assert compressed_events(settings) > 0
        run_dbt(settings, *CORE, "--vars", "{recompute: true}")
    assert counts(settings) == before
    for workspace in (TENANT, OTHER):
        assert list(answers(tenants.client, tenants.keys[workspace], workspace)) == shown[workspace]
    assert tenants.status(TENANT, written)["status"] == "expired"
    assert tenants.status(TENANT, counted)["status"] == "completed"
    assert tenants.status(TENANT, queried)["status"] == "expired"
    assert tenants.status(TENANT, waiting)["status"] == "processing"
    assert tenants.etag(TENANT) != tag
    assert tenants.call("GET", TENANT, f"reports/{report}")["recipients"] == [FRIEND]
    assert tenants.call("GET", TENANT, f"reports/{lonely}")["is_enabled"] is False
    with connect(settings, "mailmart_owner") as connection:
        others = connection.execute("select count(*) from raw.webhook_payloads where payload::text like %s", (f"%{NAMESAKE}%",))
        assert others.fetchone() == (2,)
        restarted = connection.execute(
            "select attempts, attempt_token, app.job_exists(job_id) from app.exports where export_id = %s", (waiting,)
        )
        assert restarted.fetchone() == (0, None, True)
        assert connection.execute("select kind, workspace_id, export_ids from app.erasures").fetchall() == [
            ("recipient", None, [])
        ]

    assert "nothing was changed" in tenants.erase("--recipient", LOWER, "--yes")
    run_dbt(settings, *CORE)
    assert counts(settings) == before
    run_dbt(settings, *CORE, "--vars", "{recompute: true}")
    assert counts(settings) == before
    assert tables_with(server, settings, traces, ignored=NAMESAKE) == set()

    # a bounce that no build has read has no reason yet
    land(settings, "sendgrid", TENANT, sendgrid("bounce", "sg9", PERSON, reason=BOUNCE))
    refused = mailmart(settings, "erase", "--recipient", PERSON, "--yes")
    assert refused.exit_code == 1
    assert "no build has read the recipient's bounces yet" in refused.output


def test_a_text_that_may_name_the_person_is_found_in_every_encoding(module_settings: Settings) -> None:
    # its base64 has + and /, and its needle is not all of it
    person = person_parameters(
        "a~~~?b@people.example", "people.example", typed="A~~~?b@people.example", workspace=None, countable_types=()
    )
    texts = {
        "say A~~~?B@people.example": False,
        **{
            spelling(offset * b"x" + b"A~~~?b@people.example" + b"yz").decode(): True
            for offset in range(3)
            for spelling in (base64.b64encode, base64.urlsafe_b64encode)
        },
    }
    unnamed = ["", "p%eople 100 %", "c3ViamVjdDogaGVsbG8gd29ybGQsIHRoaXMgaXMgbm9ib2R5", "Zx", "a|b", "%", "_________________"]
    with connect(module_settings, "mailmart_owner") as connection:
        person["needle"] = "nothing like this"
        rows = connection.execute(
            "select content, app.may_be_mentioned(content, %s) from unnest(%s::text[]) as content",
            (Jsonb(person), [*texts, *unnamed]),
        ).fetchall()
        person["needle"] = "people"
        assert connection.execute("select app.may_be_mentioned('say PEOPLE', %s)", (Jsonb(person),)).fetchone() == (True,)
    assert dict(rows) == {**texts, **dict.fromkeys(unnamed, False)}


def test_an_erasure_that_is_killed_is_completed_by_the_next(tenants: Tenants, server: PostgresServer) -> None:
    settings = tenants.settings
    traces = (*TRACES, *_hashes(tenants))
    before = counts(settings)
    code = (
        "from api.erasure.erase import erase_recipient\nfrom api.settings import Settings\n"
        f"erase_recipient(Settings.from_environment(), {PERSON!r}, None, is_dry_run=False, report=print)"
    )
    with connect(settings, "mailmart_owner") as other:
        found = tables_with(server, settings, traces)
        lock_rows(other, "core.fct_messages")
        kill_waiting(settings, code, other)
        # the transaction was undone
        assert tables_with(server, settings, traces) == found
        assert found
    tenants.erase("--recipient", PERSON, "--yes")
    assert tables_with(server, settings, traces, ignored=NAMESAKE) == set()
    assert counts(settings) == before


def test_a_domain_in_another_spelling_stays_in_the_row_that_counts_it(tenants: Tenants) -> None:
    person = person_parameters(LOWER, "people.example", typed=PERSON, workspace=TENANT, countable_types=[])
    with connect(tenants.settings, "mailmart_owner") as connection:
        connection.execute("select app.begin_recipient_erasure(%s)", (Jsonb(person),))
        # a spelling that only a regular expression reads as the address
        connection.execute("insert into pg_temp.erased_spellings values ('jane@people%2eexample', 'old hash', 'a', 'new')")
        connection.execute(
            "update core.fct_messages set recipient_domain = 'people%%2eexample' where message_id ="
            " (select min(message_id) from core.fct_messages where workspace_id = %s and recipient_domain = 'people.example')",
            (TENANT,),
        )
        domains = "select {}, count(*) from core.fct_messages where workspace_id = %s group by 1 order by 1"
        before = connection.execute(domains.format("app.bare_domain(recipient_domain)").encode(), (TENANT,)).fetchall()
        assert "people" in dict(before)
        connection.execute("select from app.erase_recipient_from_core(%s, 'core')", (Jsonb(person),))
        assert connection.execute(domains.format("recipient_domain").encode(), (TENANT,)).fetchall() == before
        connection.rollback()
