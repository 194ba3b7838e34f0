"""Every number that shapes the synthetic events, but for the patterns (patterns.py)."""

from __future__ import annotations

# size of campaigns: the nth has 1 / n ** ZIPF of the messages of the first
ZIPF = 0.8

# relative volume by weekday, from Monday, and by hour of the day in UTC
WEEKDAYS = (1.1, 1.25, 1.2, 1.15, 0.95, 0.25, 0.2)
HOURS = (1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 17, 14, 10, 13, 15, 13, 10, 7, 5, 4, 3, 3, 2, 1)

# shares of messages
NO_CAMPAIGN = 0.01
NO_MAILBOX = 0.005
QUEUED = 0.05
REJECTED = 0.004
BOUNCED = 0.028
DEFERRED = 0.05

# shares of delivered messages
OPENED = 0.30
OPENED_AGAIN = 0.05
CLICKED = 0.05
CLICKED_UNSEEN = 0.01
REPLIED = 0.02
AUTORESPONDED = 0.01
COMPLAINED = 0.001
UNSUBSCRIBED = 0.0025

# shares of events
MACHINE_OPENS = 0.18
MACHINE_CLICKS = 0.06
LATE = 0.03
DUPLICATED = 0.005
UNKNOWN_TYPE = 0.001

# share of bounces, enhanced status code, SMTP code, text of the receiving server
BOUNCES = (
    (0.42, "5.1.1", 550, "550 5.1.1 <address>: Recipient address rejected: User unknown"),
    (0.12, "5.1.2", 550, "550 5.1.2 Host unknown"),
    (0.18, "5.2.2", 552, "552 5.2.2 The mailbox is full"),
    (0.08, "4.2.2", 452, "452 4.2.2 The recipient is over quota"),
    (0.10, "5.7.1", 554, "554 5.7.1 Service unavailable; client host blocked by a block list"),
    (0.05, "5.7.26", 550, "550 5.7.26 This message does not pass authentication checks"),
    (0.04, "4.4.7", 421, "421 4.4.7 Delivery time expired"),
    (0.01, "5.0.0", 550, "550 message refused"),
)

ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "UTC",
    "Asia/Tokyo",
)
CAMPAIGN_STATUSES = ("sending", "completed", "sending", "paused", "completed", "sending", "scheduled", "draft")
CAMPAIGN_NAMES = (
    "Q4 outreach",
    "Product launch",
    "Newsletter",
    "Win-back",
    "Onboarding",
    "Webinar",
    "Renewals",
    "Case studies",
)
# campaigns without messages
NOT_STARTED = ("scheduled", "draft")
MAILBOXES_PER_DOMAIN = 4
DOMAINS_PER_WORKSPACE = 2
