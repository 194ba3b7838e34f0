"""`mailmart sources`: what it prints, what it refuses, and what becomes of the URLs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.db.connection import connect
from api.intake.sources import list_sources
from api.settings import Settings
from tests.integration.intake.conftest import WORKSPACE, Sources, source_id
from tests.integration.intake.running import Intake
from tests.support.command import mailmart


def test_create_list_rotate_revoke(intake: Intake, sources: Sources, tmp_path: Path) -> None:
    settings = sources.settings
    created = mailmart(settings, "sources", "create", "--workspace", WORKSPACE, "--provider", "postmark", "--name", "live")
    assert created.exit_code == 0, created.output
    url, warning, *_ = created.output.splitlines()
    path = url.removeprefix("http://127.0.0.1:8090")
    assert path.startswith("/intake/postmark/")
    assert "unsigned" in warning
    assert intake.post(path, {"RecordType": "Open"}).status == 200
    listed = mailmart(settings, "sources", "list", "--workspace", WORKSPACE).output
    (line,) = [line for line in listed.splitlines() if line.startswith(source_id(path))]
    assert "unsigned" in line
    assert line.endswith("live")
    assert path.rpartition("_")[2] not in listed

    rotated = mailmart(settings, "sources", "rotate", source_id(path))
    other = rotated.output.splitlines()[0].removeprefix("http://127.0.0.1:8090")
    assert source_id(other) == source_id(path)
    assert other != path
    assert intake.post(other, {}).status == intake.post(path, {}).status == 200
    # what was replaced shows, with its end
    assert re.search(r"  1 old URL valid until 20\d\d-\d\d-\d\d \d\d:\d\d  live$", _listed(settings, source_id(path)))
    # a day later
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "update app.webhook_source_tokens set valid_until = clock_timestamp() where source_id = %s"
            " and valid_until > clock_timestamp() + interval '23 hours' returning 1",
            (source_id(path),),
        ).fetchall()
    assert len(rows) == 1
    assert "old URL" not in _listed(settings, source_id(path))
    _status_becomes(intake, path, 404)
    assert intake.post(other, {}).status == 200

    key = tmp_path / "key"
    key.write_text("user:a-long-password\n")
    first = mailmart(settings, "sources", "rotate", source_id(path), "--signing-key", f"@{key}")
    assert first.output == f"source {source_id(path)} of postmark has 1 new signing secret\n"
    _status_becomes(intake, other, 401)
    login = {"Authorization": "Basic dXNlcjphLWxvbmctcGFzc3dvcmQ="}
    assert intake.request("POST", other, b"{}", login).status == 200
    assert "old secret" not in _listed(settings, source_id(path))
    for number in ("one", "two"):
        mailmart(settings, "sources", "rotate", source_id(path), "--signing-key", f"user:password-number-{number}")
    assert "  2 old secrets valid until 20" in _listed(settings, source_id(path))

    assert mailmart(settings, "sources", "revoke", source_id(path)).output == f"source {source_id(path)} is revoked\n"
    _status_becomes(intake, other, 404)
    again = mailmart(settings, "sources", "revoke", source_id(path))
    assert (again.exit_code, f"the source {source_id(path)} is revoked, since" in again.output) == (1, True)
    assert "no source 3f2a6c1d9b04" in mailmart(settings, "sources", "revoke", "3f2a6c1d9b04").output
    assert "revoked" in mailmart(settings, "sources", "list").output
    # it was signed, though its secrets are deleted; one that was not, was not
    unsigned = sources.path("postmark")
    mailmart(settings, "sources", "revoke", source_id(unsigned))
    signed = {source.source_id: source.is_signed for source in list_sources(settings)}
    assert (signed[source_id(path)], signed[source_id(unsigned)]) == (True, False)


def test_what_has_leaked_ends_at_once(intake: Intake, sources: Sources) -> None:
    path = sources.path("postmark", signing_keys=["user:a-leaked-password"])
    leaked = {"Authorization": "Basic dXNlcjphLWxlYWtlZC1wYXNzd29yZA=="}
    assert intake.request("POST", path, b"{}", leaked).status == 200
    secret = mailmart(sources.settings, "sources", "rotate", source_id(path), "--now", "--signing-key", "user:a-long-password")
    assert "those before have ended" in secret.output
    _status_becomes(intake, path, 401, leaked)
    rotated = mailmart(sources.settings, "sources", "rotate", source_id(path), "--now")
    assert "the old URL no longer works" in rotated.output
    _status_becomes(intake, path, 404)
    login = {"Authorization": "Basic dXNlcjphLWxvbmctcGFzc3dvcmQ="}
    other = rotated.output.splitlines()[0].partition("8090")[2]
    assert intake.request("POST", other, b"{}", login).status == 200


def test_a_url_at_which_no_intake_answers_is_warned_of(intake: Intake, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("sources", "create", "--workspace", WORKSPACE, "--provider", "brevo", "--new-workspace")
    monkeypatch.setenv("MAILMART_INTAKE_PORT", str(intake.port))
    assert "no intake answers" not in mailmart(sources.settings, *arguments).output
    # nobody listens on port 1
    monkeypatch.setenv("MAILMART_INTAKE_PORT", "1")
    assert "warning: no intake answers at http://127.0.0.1:1." in mailmart(sources.settings, *arguments).output
    none = mailmart(sources.settings, "sources", "list", "--workspace", "ws_without").output
    assert none.startswith("no sources of the workspace 'ws_without' yet")
    assert f"There are sources of {WORKSPACE}" in none


def test_a_second_source_and_the_first_of_a_workspace_are_noted(sources: Sources) -> None:
    arguments = ("sources", "create", "--new-workspace", "--provider", "resend", "--workspace")
    first = mailmart(sources.settings, *arguments, "ws_typo").output
    assert "note: this is the first source of the workspace 'ws_typo'. There are sources of " in first
    second = mailmart(sources.settings, *arguments, "ws_typo").output
    assert f"note: ws_typo has other sources of resend, whose URLs work, too: {source_id(first.splitlines()[0])}" in second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workspace", "ws_nobody", "--provider", "sendgrid"), "raw.workspaces has no workspace 'ws_nobody'"),
        (("--workspace", " ", "--provider", "sendgrid"), "the workspace is empty"),
        (("--workspace", WORKSPACE, "--provider", "nobody"), "'nobody' is not one of"),
        (("--workspace", WORKSPACE, "--provider", "native"), "'native' is not one of"),
        (("--workspace", WORKSPACE, "--provider", "sendgrid", "--signing-key", "abc"), "not one of sendgrid"),
        (("--workspace", WORKSPACE, "--provider", "sendgrid", "--signing-key", "@/no/file"), "cannot be read from /no/file"),
        (("--workspace", WORKSPACE, "--provider", "sendgrid", "--rate", "0"), "0 is not in the range"),
    ],
)
def test_what_create_refuses(sources: Sources, arguments: tuple[str, ...], message: str) -> None:
    with connect(sources.settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into raw.workspaces (workspace_id, tenant_id, name) values (%s, 't', 'x') on conflict do nothing",
            (WORKSPACE,),
        )
    result = mailmart(sources.settings, "sources", "create", *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output
    if "ws_nobody" in arguments:
        assert "repeat the command with --new-workspace" in result.output


def test_a_mistyped_workspace_is_suggested(sources: Sources) -> None:
    with connect(sources.settings, "mailmart_owner") as connection:
        connection.execute("insert into raw.workspaces (workspace_id, tenant_id, name) values ('ws_mailers', 't', 'x')")
    result = mailmart(sources.settings, "sources", "create", "--workspace", "ws_mailer", "--provider", "sendgrid")
    assert result.exit_code == 1
    assert "Did you mean ws_mailers? It has " in result.output


def test_an_erased_workspace_has_no_sources(intake: Intake, sources: Sources) -> None:
    settings = sources.settings
    created = mailmart(
        settings, "sources", "create", "--workspace", "ws_erased", "--new-workspace", "--provider", "sendgrid"
    ).output
    path = created.splitlines()[0].removeprefix("http://127.0.0.1:8090")
    assert intake.post(path, [{"marker": "of-an-erased-workspace"}]).status == 200
    erased = mailmart(settings, "erase", "--workspace", "ws_erased", "--yes")
    assert erased.exit_code == 0, erased.output
    assert intake.post(path, [{"marker": "of-an-erased-workspace"}]).status == 404
    assert sources.stored("of-an-erased-workspace") == 0
    with connect(settings, "mailmart_owner") as connection:
        for table in ("webhook_sources", "webhook_source_tokens", "webhook_source_days"):
            row = connection.execute(f"select count(*) from app.{table} where source_id = %s".encode(), (source_id(path),))
            assert row.fetchone() == (0,)
    refused = mailmart(settings, "sources", "create", "--workspace", "ws_erased", "--new-workspace", "--provider", "sendgrid")
    assert (refused.exit_code, "was erased" in refused.output) == (1, True)


def test_the_url_is_the_public_one(module_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("sources", "create", "--workspace", "w", "--new-workspace", "--provider", "brevo")
    monkeypatch.setenv("MAILMART_PUBLIC_URL", "https://mail.example.com/stats/")
    assert "https://mail.example.com/stats/intake/brevo/" in mailmart(module_settings, *arguments).output
    monkeypatch.setenv("MAILMART_INTAKE_PUBLIC_URL", "https://hooks.example.com")
    assert "https://hooks.example.com/intake/brevo/" in mailmart(module_settings, *arguments).output


def _listed(settings: Settings, of_source: str) -> str:
    """The line of a source."""
    output = mailmart(settings, "sources", "list").output
    return next(line for line in output.splitlines() if line.startswith(of_source))


def _status_becomes(intake: Intake, path: str, status: int, headers: dict[str, str] | None = None) -> None:
    """A source is cached for a second."""
    for _ in range(300):
        if intake.request("POST", path, b"{}", headers or {}).status == status:
            return
        import time

        time.sleep(0.05)
    raise AssertionError(f"the status does not become {status}")
