"""`mailmart mx` asks a nameserver for the domains of messages, and the next build finds their providers by it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from api.db.connection import connect
from api.recipients.resolver import is_domain, resolve_all
from api.settings import Settings
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.command import mailmart
from tests.support.dbt import ROWS, run_dbt
from tests.support.dns_server import FAILING, SILENT, dns_server

RECORDS = {
    "acme.example.": ["20 backup.acme.example.", "10 ACME-example.mail.protection.outlook.com."],
    "self.example.": ["10 mx.self.example."],
    "null.example.": ["0 ."],
    "empty.example.": [],
}
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme.example", True),
        ("xn--bcher-kva.example", True),
        ("a" * 63 + ".example", True),
        ("localhost", False),
        ("a" * 64 + ".example", False),
        ("192.0.2.1", False),
        ("a..example", False),
        ("-a.example", False),
        ("bücher.example", False),
        ("a b.example", False),
        ("", False),
    ],
)
def test_what_can_be_a_domain(text: str, expected: bool) -> None:
    assert is_domain(text) == expected


def test_each_answer_has_a_status_in_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.recipients.resolver.SECONDS_A_DOMAIN", 1.0)
    names = [name.rstrip(".") for name in (*RECORDS, SILENT, FAILING, "nowhere.example.")]
    with dns_server(RECORDS) as server:
        started = time.monotonic()
        found = {record.domain: (record.status, record.host) for record in resolve_all(names, ["127.0.0.1"], port=server.port)}
        # far from a test of speed: without a limit it would not end
        assert time.monotonic() - started < 60
        assert list(resolve_all(names, ["127.0.0.1"], port=server.port, max_seconds=0)) == []
    assert found == {
        "acme.example": ("found", "acme-example.mail.protection.outlook.com"),
        "self.example": ("found", "mx.self.example"),
        "null.example": ("no_mx", None),
        "empty.example": ("no_mx", None),
        "silent.example": ("failed", None),
        "failing.example": ("failed", None),
        "nowhere.example": ("no_domain", None),
    }


@pytest.mark.timeout(600)
def test_the_next_build_counts_the_messages_of_a_domain_by_its_new_provider(built_empty: Settings) -> None:
    settings = built_empty
    load_events(
        settings, [_sent(1, "acme.example"), _sent(2, "gmail.com"), _sent(3, "self.example"), _sent(4, "not a domain")], NOW
    )
    run_dbt(settings, *ROWS)
    assert _providers(settings) == {
        "acme.example": "other",
        "gmail.com": "google",
        "self.example": "other",
        "not a domain": "other",
    }
    with dns_server(RECORDS) as server:
        looked_up = mailmart(settings, "mx", "--nameserver", "127.0.0.1", "--port", str(server.port))
        assert looked_up.exit_code == 0, looked_up.output
        assert "2 domains looked up: 2 found" in looked_up.output
        # a domain that a list has is not asked for, and nobody else's
        assert sorted(server.asked) == ["acme.example.", "self.example."]
        # known ones are not asked for again
        assert "nothing to look up" in mailmart(settings, "mx", "--nameserver", "127.0.0.1", "--port", str(server.port)).output
        assert len(server.asked) == 2
    # a message of another domain that is loaded meanwhile, and one of the same
    load_events(settings, [_sent(5, "acme.example"), _sent(6, "self.example")], NOW)
    run_dbt(settings, *ROWS)
    assert _providers(settings) == {
        "acme.example": "microsoft",
        "gmail.com": "google",
        "self.example": "other",
        "not a domain": "other",
    }
    assert _provider_days(settings) == {"google": 1, "microsoft": 2, "other": 3}
    # computed from nothing: the same
    before = current_rows.everything(settings)
    run_dbt(settings, *ROWS, "--vars", "recompute: true")
    assert current_rows.everything(settings) == before
    assert set(current_rows.written_by_last_batch(settings).values()) == {(0, 0)}


def test_an_address_of_a_nameserver_is_checked_and_a_build_comes_first(settings: Settings) -> None:
    wrong = mailmart(settings, "mx", "--nameserver", "dns.example")
    assert wrong.exit_code == 1
    assert "'dns.example' is not an IP address" in wrong.output
    early = mailmart(settings, "mx")
    assert early.exit_code == 1
    assert "mailmart build` first" in early.output


def _sent(number: int, domain: str) -> Event:
    return Event(
        f"e{number}", "w", f"m{number}", "sent", NOW - timedelta(days=2), campaign_id=f"c{number}", recipient_domain=domain
    )


def _providers(settings: Settings) -> dict[str, str]:
    return {message.recipient_domain: message.recipient_provider for message in current_rows.messages(settings).values()}


def _provider_days(settings: Settings) -> dict[str, int]:
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select recipient_provider, sum(sent)::int from core.fct_provider_days"
            " where valid_to > 1000000 and workspace_id = 'w' group by 1 order by 1"
        ).fetchall()
    return dict(rows)
