"""What makes synthetic mail worth looking at: who opens when, an incident, a mailbox to rest, one that warms up, links, machines.

Each pattern is a factor on a share of distributions.py, or a share of its own. The first workspace has the incidents:

- The IP address of its second domain gets on a block list LISTED_DAYS_AGO. For three days one message in seven bounces, and those
  that arrive are opened half as often.
- A mailbox of its first domain has four times the bounces and twelve times the complaints of the others: it needs rest.
- A mailbox of its second domain warms up: its share of the domain's mail grows over WARMING_DAYS.
- Campaigns with odd numbers test two variants of which B is opened more often; in the others the variants are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import accumulate
from typing import Any

from api.tools.synthetic import distributions as like

# relative opens by the campaign's number, in turns: the first and the fourth differ, the tenth and the thirteenth do not
CAMPAIGN_OPENS = (1.15, 1.0, 0.9, 0.85, 1.1, 1.0, 1.0, 1.0, 0.95, 1.0, 1.05, 1.0)
# relative opens of mail that is sent at this hour of the workspace's time zone
HOUR_OPENS = (
    *(0.72, 0.7, 0.68, 0.68, 0.7, 0.78, 0.88, 1.0, 1.15, 1.28, 1.32, 1.2),
    *(1.02, 0.96, 1.0, 1.06, 1.0, 0.92, 0.94, 1.02, 1.06, 0.98, 0.86, 0.76),
)
# relative opens by step of a sequence
STEP_OPENS = (1.2, 0.95, 0.85)
VARIANT_B_OPENS = 1.2

# domain, share of recipients, relative opens, share of mail that a proxy opens
RECIPIENTS = (
    ("gmail.com", 0.34, 1.0, 0.0),
    ("outlook.com", 0.14, 0.85, 0.01),
    ("yahoo.com", 0.09, 0.8, 0.06),
    ("icloud.com", 0.12, 1.15, 0.62),
    ("gmx.net", 0.06, 1.05, 0.0),
    ("proton.me", 0.03, 0.9, 0.0),
    ("acme.example", 0.12, 1.1, 0.04),
    ("corp.example", 0.10, 1.0, 0.12),
)
# what the recipient's mail program calls itself. Google's proxy loads pictures when a person opens the mail.
PROGRAMS = (
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Thunderbird/132.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17928; Pro)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
)
# what loads the pictures before a person does: Apple's privacy proxy says no more than Mozilla/5.0
PROXIES = ("Mozilla/5.0",) * len(RECIPIENTS)
# security scanners follow links
SCANNERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.88 Safari/537.36",
    "BarracudaCentral",
    "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
)
# link, share of clicks
LINKS = (
    ("https://example.com/offer/{campaign}?utm_source=mailmart&utm_campaign={campaign}", 0.46),
    ("https://example.com/pricing?utm_source=mailmart&utm_campaign={campaign}", 0.22),
    ("https://example.com/demo?utm_source=mailmart&utm_campaign={campaign}", 0.16),
    ("https://example.com/customers?utm_source=mailmart&utm_campaign={campaign}", 0.10),
    ("https://example.com/imprint", 0.06),
)

# the list: which domain of the first workspace, when, and what it does
LISTED_DOMAIN = 2
LISTED_DAYS_AGO = 12
LISTED_DAYS = 3
LISTED_BOUNCES = 5.0
LISTED_OPENS = 0.5
# its place in like.BOUNCES, from 1
LISTED_BOUNCE = 5

TIRED_DOMAIN, TIRED_MAILBOX = 1, 3
TIRED_BOUNCES = 4.0
TIRED_COMPLAINTS = 12.0

WARMING_DOMAIN, WARMING_MAILBOX = 2, 4
WARMING_DAYS = 30
WARMING_DAYS_AGO = 45

# people's opens: with those of proxies about as many as like.OPENED
OPENED_BY_PEOPLE = 0.24


def patterned(campaigns: int, until: date) -> dict[str, Any]:
    """Parameters of events.sql with all patterns; `until` is the last day of sending."""
    listed_since = until - timedelta(days=LISTED_DAYS_AGO)
    return {
        **_recipients(),
        "opened": OPENED_BY_PEOPLE,
        "machine_opens": 0.0,
        "campaign_opens": [CAMPAIGN_OPENS[number % len(CAMPAIGN_OPENS)] for number in range(campaigns)],
        "variant_opens": [VARIANT_B_OPENS if number % 2 == 0 else 1.0 for number in range(campaigns)],
        "hour_opens": list(HOUR_OPENS),
        "step_opens": list(STEP_OPENS),
        "recipient_bounds": bounds([share for _, share, _, _ in RECIPIENTS]),
        "recipient_opens": [opens for _, _, opens, _ in RECIPIENTS],
        "recipient_prefetches": [share for *_, share in RECIPIENTS],
        "links": [link for link, _ in LINKS],
        "link_bounds": bounds([share for _, share in LINKS]),
        "listed_domain": LISTED_DOMAIN,
        "listed_since": listed_since,
        "listed_until": listed_since + timedelta(days=LISTED_DAYS - 1),
        "tired_domain": TIRED_DOMAIN,
        "warming_domain": WARMING_DOMAIN,
        "warming_since": until - timedelta(days=WARMING_DAYS_AGO),
    }


def flat(campaigns: int) -> dict[str, Any]:
    """Parameters of events.sql without a pattern: no domain is number 0."""
    return {
        **_recipients(),
        "opened": like.OPENED,
        "machine_opens": like.MACHINE_OPENS,
        "campaign_opens": [1.0] * campaigns,
        "variant_opens": [1.0] * campaigns,
        "hour_opens": [1.0] * len(HOUR_OPENS),
        "step_opens": [1.0] * len(STEP_OPENS),
        "recipient_bounds": bounds([1.0] * len(RECIPIENTS)),
        "recipient_opens": [1.0] * len(RECIPIENTS),
        "recipient_prefetches": [0.0] * len(RECIPIENTS),
        "links": [LINKS[0][0]],
        "link_bounds": [],
        "listed_domain": 0,
        "listed_since": None,
        "listed_until": None,
        "tired_domain": 0,
        "warming_domain": 0,
        "warming_since": None,
    }


def _recipients() -> dict[str, Any]:
    """What is the same with and without patterns."""
    return {
        "recipient_domains": [domain for domain, *_ in RECIPIENTS],
        "programs": list(PROGRAMS),
        "proxies": list(PROXIES),
        "scanners": list(SCANNERS),
        "listed_bounces": LISTED_BOUNCES,
        "listed_opens": LISTED_OPENS,
        "listed_bounce": LISTED_BOUNCE,
        "tired_mailbox": TIRED_MAILBOX,
        "tired_bounces": TIRED_BOUNCES,
        "tired_complaints": TIRED_COMPLAINTS,
        "warming_mailbox": WARMING_MAILBOX,
        "warming_days": WARMING_DAYS,
    }


def bounds(weights: Sequence[float]) -> list[float]:
    """The inner bounds of intervals with these weights, for width_bucket, which returns 0 below the first bound."""
    total = sum(weights)
    return [bound / total for bound in accumulate(weights)][:-1]
