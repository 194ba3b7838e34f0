"""The specification's example campaign, as events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tests.integration.warehouse.events import Event

WORKSPACE = "ws_xyz789"
CAMPAIGN = "cmp_abc123"
DAYS_AGO = 10
SUMMARY = {
    "emails_sent": 5000,
    "emails_delivered": 4900,
    "emails_bounced": 100,
    "emails_opened": 1470,
    "emails_clicked": 245,
    "emails_replied": 98,
    "spam_complaints": 5,
    "unsubscribes": 12,
}
RATES = {
    "delivery_rate": 98.0,
    "open_rate": 30.0,
    "click_rate": 5.0,
    "click_to_open_rate": 16.67,
    "reply_rate": 2.0,
    "bounce_rate": 2.0,
    "spam_rate": 0.1,
    "unsubscribe_rate": 0.24,
}


def example_events() -> Iterator[Event]:
    """5,000 messages. The first 1,470 of the delivered ones were opened (370 by machines), 245 were clicked, and so on."""
    sent_at = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=DAYS_AGO)
    counts = {"opened": 1470, "clicked": 245, "replied": 98, "complained": 5, "unsubscribed": 12}
    for number in range(5000):
        kinds = ["sent", "delivered" if number < 4900 else "bounced"]
        kinds += [kind for kind, count in counts.items() if number < count]
        for step, kind in enumerate(kinds):
            yield Event(
                event_id=f"example-{number}-{kind}",
                workspace_id=WORKSPACE,
                message_id=f"example-{number}",
                event_type=kind,
                occurred_at=sent_at + timedelta(seconds=number, minutes=step),
                campaign_id=CAMPAIGN,
                mailbox_id="mbx_1",
                is_machine=(kind == "opened" and number >= 1100) or None,
            )
