"""How long each table is kept."""

from __future__ import annotations

import pytest

from api.builds.retention_policy import RetentionPolicy
from api.settings import Settings


@pytest.mark.parametrize(
    ("days", "raw_logs", "core_tables"),
    [
        ({}, {"webhook_payloads": 30, "rejected_payloads": 30}, {}),
        ({"PAYLOADS": "off"}, {}, {}),
        ({"PAYLOADS": "90d"}, {"webhook_payloads": 90, "rejected_payloads": 90}, {}),
        # bodies hold the events
        (
            {"EVENTS": "7"},
            {"webhook_payloads": 7, "rejected_payloads": 7, "email_events": 7},
            {"fct_email_events": 7, "fct_rejected_events": 7},
        ),
        (
            {"EVENTS": "60", "MESSAGES": "365"},
            {"webhook_payloads": 30, "rejected_payloads": 30, "email_events": 60},
            {"fct_email_events": 60, "fct_rejected_events": 60, "fct_messages": 365},
        ),
        ({"RAW_EVENTS": "30", "PAYLOADS": "off"}, {"email_events": 30}, {}),
        (
            {"RAW_EVENTS": "14", "EVENTS": "60"},
            {"webhook_payloads": 30, "rejected_payloads": 30, "email_events": 14},
            {"fct_email_events": 60, "fct_rejected_events": 60},
        ),
        ({"EVENTS": "off", "MESSAGES": "0"}, {"webhook_payloads": 30, "rejected_payloads": 30}, {}),
    ],
)
def test_days_by_table(days: dict[str, str], raw_logs: dict[str, int], core_tables: dict[str, int]) -> None:
    policy = RetentionPolicy.of(Settings.from_environment({f"MAILMART_RETAIN_{name}": value for name, value in days.items()}))
    assert policy.raw_logs() == raw_logs
    assert policy.core_tables() == core_tables
