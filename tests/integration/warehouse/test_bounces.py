"""Real bounces, classified by the seeds: against labels of texts from public threads and servers, and another implementation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.db.connection import connect
from api.settings import PROJECT_ROOT, Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.integration.warehouse.seeds import seed
from tests.support.dbt import ROWS, run_dbt
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

TEXTS = PROJECT_ROOT / "tests" / "fixtures" / "bounces"
# least shares of right classes and of right codes; rules were written from all but the first three sets
SETS = {
    "texts": (0.97, 0.91), "fresh": (0.95, 0.87), "closed": (0.95, 0.85),
    "unseen": (0.93, 0.79), "logs": (0.99, 0.97), "second": (0.99, 0.97), "documented": (1.0, 0.99),
}  # fmt: skip
AT = datetime.now(UTC) - timedelta(days=1)
Verdict = tuple[str, bool]


def lines(path: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def labelled_texts(name: str) -> list[dict[str, Any]]:
    """The texts of a set that are scored; the sets are described in tests/fixtures/bounces/README.md."""
    return [
        case for case in lines(TEXTS / f"{name}.jsonl") if not case["is_ambiguous"] and case["bounce_reason"] != "undetermined"
    ]


def corpus() -> list[dict[str, Any]]:
    """The other implementation's bounces that are scored; none in a clone without the data."""
    if not DATA.is_dir():
        return []
    return [case for case in lines(DATA / "bounces.jsonl") if case["expected"]["reason"] in CODES]


@pytest.fixture(scope="module")
def built(make_warehouse: MakeWarehouse) -> Settings:
    """All sets in one build, each in a workspace of its own."""
    return make_warehouse("bounces", _fill)


def _fill(settings: Settings) -> None:
    load_events(
        settings,
        [
            Event(f"{name}{n}", name, str(n), "bounced", AT, smtp_status=case["status"], smtp_code=case["smtp_code"],
                  diagnostic=case["text"])
            for name in SETS
            for n, case in enumerate(labelled_texts(name))
        ]
        + [
            Event(f"c{n}", "corpus", str(n), "bounced", AT, smtp_status=case["status"], diagnostic=case["diagnostic"])
            for n, case in enumerate(corpus())
        ],
        datetime.now(UTC),
    )  # fmt: skip
    run_dbt(settings, *ROWS)


def verdicts(settings: Settings, workspace: str) -> list[Verdict]:
    """Reason and class of the messages of a workspace, whose ids are numbers, in order."""
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select bounce_reason, is_hard_bounced from core.fct_messages where workspace_id = %s order by message_id::int",
            (workspace,),
        ).fetchall()
    return [(reason, is_hard) for reason, is_hard in rows]


def agreement(name: str, found: Sequence[Verdict], expected: Sequence[Verdict]) -> tuple[float, float]:
    """The shares of right classes and of right codes. Prints scores alone, because a rule must not come from a scored text."""
    assert len(found) == len(expected)
    right_class = sum(has[1] == should[1] for has, should in zip(found, expected, strict=True)) / len(found)
    right_code = sum(has[0] == should[0] for has, should in zip(found, expected, strict=True)) / len(found)
    print(f"{name}: {len(found)} bounces: class {right_class:.1%}, code {right_code:.1%}")
    return right_class, right_code


@pytest.mark.parametrize("name", SETS)
def test_agreement_on_labelled_texts(built: Settings, name: str) -> None:
    hard = {row["bounce_reason"] for row in seed("bounce_reasons") if row["is_hard"] == "true"}
    expected = [(case["bounce_reason"], case["bounce_reason"] in hard) for case in labelled_texts(name)]
    right_class, right_code = agreement(name, verdicts(built, name), expected)
    least_class, least_code = SETS[name]
    assert right_class >= least_class
    assert right_code >= least_code


@needs_shared_data
def test_agreement_on_another_implementations_bounces(built: Settings) -> None:
    expected = [(CODES[case["expected"]["reason"]], case["expected"]["hard"]) for case in corpus()]
    right_class, right_code = agreement("corpus", verdicts(built, "corpus"), expected)
    assert right_class >= 0.95
    assert right_code >= 0.88
