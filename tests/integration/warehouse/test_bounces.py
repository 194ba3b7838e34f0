"""Real bounces, classified by the seeds, compared with another implementation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.support.shared import DATA, needs_shared_data

# ../shared/data/README.md: how the corpus's reasons map to ours; the last three are left out of the score
OURS = {
    "invalid_recipient": ("userunknown",),
    "invalid_domain": ("hostunknown", "notaccept"),
    "moved": ("hasmoved",),
    "mailbox_full": ("mailboxfull",),
    "mailbox_disabled": ("suspend",),
    "message_too_large": ("mesgtoobig", "exceedlimit"),
    "timed_out": ("expired",),
    "server_unavailable": ("networkerror", "systemerror", "systemfull", "mailererror", "toomanyconn"),
    "rate_limited": ("speeding",),
    "blocked": ("blocked", "badreputation", "requireptr", "rejected", "norelaying", "policyviolation", "securityerror"),
    "authentication_failed": ("authfailure",),
    "content_rejected": ("spamdetected", "virusdetected", "contenterror", "notcompliantrfc", "syntaxerror"),
}
CODES = {theirs: ours for ours, several in OURS.items() for theirs in several}


@needs_shared_data
def test_agreement_on_real_bounces(settings: Settings) -> None:
    cases = [json.loads(line) for line in (DATA / "bounces.jsonl").read_text().splitlines()]
    at = datetime.now(UTC) - timedelta(days=1)
    load_events(
        settings,
        [
            Event(f"e{n}", "w", f"m{n}", "bounced", at, smtp_status=case["status"], diagnostic=case["diagnostic"])
            for n, case in enumerate(cases)
        ],
        datetime.now(UTC),
    )
    run_dbt(settings, *WITHOUT_TESTS)
    with connect(settings, "mailmart_owner") as connection:
        found = {
            message_id: (reason, is_hard)
            for message_id, reason, is_hard in connection.execute(
                "select message_id, bounce_reason, is_hard_bounced from core.fct_messages"
            )
        }
    assert len(found) == len(cases)
    scored = [(case, *found[f"m{n}"]) for n, case in enumerate(cases) if case["expected"]["reason"] in CODES]
    right_class = [is_hard == case["expected"]["hard"] for case, _, is_hard in scored]
    right_code = [reason == CODES[case["expected"]["reason"]] for case, reason, _ in scored]
    print(f"{len(scored)} bounces: class {sum(right_class) / len(scored):.1%}, code {sum(right_code) / len(scored):.1%}")
    wrong = [f"{case['expected']['reason']}, not {reason}: {case['diagnostic'][:100]}" for case, reason, _ in scored]
    listed = "\n".join(line for line, is_right in zip(wrong, right_code, strict=True) if not is_right)
    assert sum(right_class) / len(scored) >= 0.95, listed
    assert sum(right_code) / len(scored) >= 0.85, listed
