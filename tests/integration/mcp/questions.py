"""Forty questions, each with the call that answers it, where the answer is in it, and the answer by the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from api.tools.synthetic import patterns
from tests.integration.mcp.agent import rows
from tests.integration.mcp.oracle import Oracle

Answer = dict[str, Any]
# what is said of human opens and clicks: distinct messages, without machines
CAMPAIGN = "cmp_demo_1"
TODAY = datetime.now(UTC).date()
TIRED = f"mbx_demo_1_{patterns.TIRED_DOMAIN}_{patterns.TIRED_MAILBOX}"
LISTED_DOMAIN = f"dom_demo_1_{patterns.LISTED_DOMAIN}"
OF_CAMPAIGN = f"campaign_id = '{CAMPAIGN}'"
HAS_CAMPAIGN = "campaign_id is not null"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Question:
    """`found` reads the answer out of what the tool returns; `expected` counts it from the raw events."""

    text: str
    tool: str
    found: Callable[[Answer], Any]
    expected: Callable[[Oracle], Any]
    arguments: dict[str, Any] = field(default_factory=dict)


def _metric(name: str) -> Callable[[Answer], Any]:
    """The value of a metric in a query's totals."""
    return lambda answer: answer["totals"][name]["value"]


def _first(table: str, column: str) -> Callable[[Answer], Any]:
    return lambda answer: rows(answer[table])[0][column]


def _by(table: str, key: str, value: str) -> Callable[[Answer], Any]:
    return lambda answer: {row[key]: row[value] for row in rows(answer[table])}


def _significance(metric: str, column: str) -> Callable[[Answer], Any]:
    return lambda answer: {row["metric"]: row[column] for row in rows(answer["statistical_significance"])}[metric]


def _worst_day(oracle: Oracle) -> str:
    return oracle.best("sent_on", "opened", order="asc", among=f"domain_id = '{LISTED_DOMAIN}'")


def _counts(oracle: Oracle, column: str, what: str, among: str = "true") -> dict[Any, int]:
    first = oracle.today - timedelta(days=30)
    return dict(
        oracle.rows(
            f"""
            select {column}, count(*) filter (where {what}) from raw.oracle_messages
            where ({among}) and sent_on between '{first}' and '{oracle.today}' group by 1
            """
        )
    )


WORKSPACE_QUESTIONS = [
    Question(
        "How many e-mails did we send in the last 30 days?",
        "workspace_report",
        lambda answer: answer["summary"]["emails_sent"],
        lambda oracle: oracle.count(),
    ),
    Question(
        "How many were delivered in the last week?",
        "workspace_report",
        lambda answer: answer["summary"]["emails_delivered"],
        lambda oracle: oracle.count("delivered", days=7),
        {"time_range": "7d"},
    ),
    Question(
        "What is our delivery rate over 90 days?",
        "workspace_report",
        lambda answer: answer["rates"]["delivery_rate"],
        lambda oracle: oracle.rate("delivered", "true", days=90),
        {"time_range": "90d"},
    ),
    Question(
        "What is our open rate?",
        "workspace_report",
        lambda answer: answer["rates"]["open_rate"],
        lambda oracle: oracle.rate("opened"),
    ),
    Question(
        "And without machines?",
        "workspace_report",
        lambda answer: answer["engagement_by_human"]["open_rate"],
        lambda oracle: oracle.rate("human_opened"),
    ),
    Question(
        "How many people clicked?",
        "workspace_report",
        lambda answer: answer["engagement_by_human"]["emails_clicked"],
        lambda oracle: oracle.count("human_clicked and delivered"),
    ),
    Question(
        "How many replies did we get?",
        "workspace_report",
        lambda answer: answer["summary"]["emails_replied"],
        lambda oracle: oracle.count("replied and delivered"),
    ),
    Question(
        "What is our reply rate?",
        "workspace_report",
        lambda answer: answer["rates"]["reply_rate"],
        lambda oracle: oracle.rate("replied"),
    ),
    Question(
        "How many campaigns do we have?",
        "workspace_report",
        lambda answer: answer["summary"]["total_campaigns"],
        lambda oracle: oracle.rows("select count(*) from raw.campaigns where workspace_id = 'ws_demo_1'")[0][0],
    ),
    Question(
        "How many of them are sending?",
        "workspace_report",
        lambda answer: answer["summary"]["active_campaigns"],
        lambda oracle: oracle.rows("select count(*) from raw.campaigns where workspace_id = 'ws_demo_1' and status = 'sending'")[
            0
        ][0],
    ),
]

CAMPAIGN_QUESTIONS = [
    Question(
        "What is the id of the campaign Newsletter?",
        "list_entities",
        _first("campaigns", "campaign_id"),
        lambda oracle: "cmp_demo_3",
        {"kind": "campaigns", "search": "newsletter"},
    ),
    Question(
        "How many e-mails did each campaign send?",
        "list_entities",
        lambda answer: {
            name: sent for name, sent in _by("campaigns", "campaign_id", "summary.emails_sent")(answer).items() if sent
        },
        lambda oracle: _counts(oracle, "campaign_id", "true", HAS_CAMPAIGN),
        {"kind": "campaigns"},
    ),
    Question(
        "Which campaign sent most?",
        "list_entities",
        _first("campaigns", "campaign_id"),
        lambda oracle: max(_counts(oracle, "campaign_id", "true", HAS_CAMPAIGN).items(), key=lambda item: item[1])[0],
        {"kind": "campaigns", "sort": "emails_sent"},
    ),
    Question(
        "Which campaign has the best open rate?",
        "list_entities",
        _first("campaigns", "campaign_id"),
        lambda oracle: oracle.best("campaign_id", "opened"),
        {"kind": "campaigns", "sort": "open_rate", "limit": 1},
    ),
    Question(
        "What is the open rate of the first campaign?",
        "campaign_report",
        lambda answer: answer["rates"]["open_rate"],
        lambda oracle: oracle.rate("opened", among=OF_CAMPAIGN),
        {"campaign_id": CAMPAIGN},
    ),
    Question(
        "How many of its e-mails bounced last week?",
        "campaign_report",
        lambda answer: answer["summary"]["emails_bounced"],
        lambda oracle: oracle.count("bounced", days=7, among=OF_CAMPAIGN),
        {"campaign_id": CAMPAIGN, "time_range": "7d"},
    ),
    Question(
        "How many did it send each day?",
        "campaign_report",
        lambda answer: {day: sent for day, sent in _by("time_series", "date", "sent")(answer).items() if sent},
        lambda oracle: {day.isoformat(): sent for day, sent in _counts(oracle, "sent_on", "true", OF_CAMPAIGN).items()},
        {"campaign_id": CAMPAIGN, "group_by": "day"},
    ),
    Question(
        "How many people unsubscribed from it?",
        "campaign_report",
        lambda answer: answer["summary"]["unsubscribes"],
        lambda oracle: oracle.count("unsubscribed", days=90, among=OF_CAMPAIGN),
        {"campaign_id": CAMPAIGN, "time_range": "90d"},
    ),
]

COMPARE = {"campaign_ids": ["cmp_demo_1", "cmp_demo_3"], "time_range": "90d"}
COMPARE_QUESTIONS = [
    Question(
        "Which of two campaigns is opened more often, beyond chance?",
        "compare_campaigns",
        _significance("open_rate", "winner"),
        lambda oracle: "cmp_demo_1",
        COMPARE,
    ),
    Question(
        "By how many points?",
        "compare_campaigns",
        _significance("open_rate", "lead.difference"),
        lambda oracle: oracle.difference("opened", "cmp_demo_1", "cmp_demo_3", days=90),
        COMPARE,
    ),
    Question(
        "Is there a winner in delivery?",
        "compare_campaigns",
        _significance("delivery_rate", "winner"),
        lambda oracle: None,
        COMPARE,
    ),
    Question(
        "Of how many e-mails is that open rate?",
        "compare_campaigns",
        lambda answer: {
            row["campaign_id"]: row["trials"] for row in rows(answer["confidence_intervals"]) if row["metric"] == "open_rate"
        },
        lambda oracle: {
            name: oracle.count("delivered", days=90, among=f"campaign_id = '{name}'") for name in COMPARE["campaign_ids"]
        },
        COMPARE,
    ),
]

DELIVERABILITY_QUESTIONS = [
    Question(
        "What is our bounce rate?",
        "deliverability",
        lambda answer: answer["overall"]["bounce_rate"],
        lambda oracle: oracle.rate("bounced", "true"),
    ),
    Question(
        "Are we on a block list?",
        "deliverability",
        lambda answer: answer["blacklist_status"]["any_ip_blacklisted"],
        lambda oracle: True,
    ),
    Question(
        "Why do most e-mails bounce?",
        "deliverability",
        lambda answer: rows(answer["bounce_analysis"]["top_bounce_reasons"])[0]["reason"],
        lambda oracle: "Invalid recipient",
    ),
    Question(
        "What is the bounce rate of the second domain?",
        "deliverability",
        lambda answer: answer["overall"]["bounce_rate"],
        lambda oracle: oracle.rate("bounced", "true", among=f"domain_id = '{LISTED_DOMAIN}'"),
        {"domain_id": LISTED_DOMAIN},
    ),
    Question(
        "Which mailbox should rest?",
        "mailbox_health",
        _first("mailboxes", "mailbox_id"),
        lambda oracle: TIRED,
    ),
    Question(
        "Which mailbox has the highest bounce rate?",
        "list_entities",
        _first("mailboxes", "mailbox_id"),
        lambda oracle: oracle.best("mailbox_id", "bounced", "true"),
        {"kind": "mailboxes", "sort": "bounce_rate", "order": "desc"},
    ),
    Question(
        "How many e-mails does each domain send?",
        "list_entities",
        _by("domains", "domain_id", "summary.emails_sent"),
        lambda oracle: _counts(oracle, "domain_id", "true"),
        {"kind": "domains"},
    ),
    Question(
        "What is our complaint rate?",
        "query",
        _metric("spam_rate"),
        lambda oracle: oracle.rate("complained", "true"),
        {"metrics": ["spam_rate"]},
    ),
]

INCIDENT = {"dimension": "domain", "values": [LISTED_DOMAIN]}
QUERY_QUESTIONS = [
    Question(
        "On which day were the e-mails of the second domain opened least?",
        "query",
        lambda answer: rows(answer["rows"])[0]["time"],
        _worst_day,
        {
            "metrics": ["open_rate", "sent"],
            # not today, when nothing was sent yet
            "time_range": "custom",
            "start_date": (TODAY - timedelta(days=30)).isoformat(),
            "end_date": (TODAY - timedelta(days=1)).isoformat(),
            "granularity": "day",
            "filters": [INCIDENT],
            "order_by": [{"field": "open_rate", "direction": "asc"}],
        },
    ),
    Question(
        "How many e-mails did each mailbox of the second domain send?",
        "query",
        _by("rows", "dimensions.mailbox", "metrics.sent.value"),
        lambda oracle: {
            name or "": sent for name, sent in _counts(oracle, "mailbox_id", "true", f"domain_id = '{LISTED_DOMAIN}'").items()
        },
        {"metrics": ["sent"], "dimensions": ["mailbox"], "filters": [INCIDENT]},
    ),
    Question(
        "What is the human open rate of each campaign?",
        "query",
        lambda answer: {
            name: rate
            for name, rate in _by("rows", "dimensions.campaign", "metrics.human_open_rate.value")(answer).items()
            if name
        },
        lambda oracle: {
            name: oracle.rate("human_opened", among=f"campaign_id = '{name}'")
            for name in _counts(oracle, "campaign_id", "true", HAS_CAMPAIGN)
        },
        {"metrics": ["human_open_rate"], "dimensions": ["campaign"]},
    ),
    Question(
        "How many e-mails did we send on each day of the week?",
        "query",
        lambda answer: {WEEKDAYS[int(row["dimensions.weekday"]) - 1]: row["metrics.sent.value"] for row in rows(answer["rows"])},
        lambda oracle: {
            WEEKDAYS[int(day) - 1]: sent for day, sent in _counts(oracle, "extract(isodow from sent_on)", "true").items()
        },
        {"metrics": ["sent"], "dimensions": ["weekday"]},
    ),
    Question(
        "How many bounces of each reason does the campaign have?",
        "query",
        _metric("bounced"),
        lambda oracle: oracle.count("bounced", among=OF_CAMPAIGN),
        {
            "metrics": ["bounced"],
            "dimensions": ["bounce_reason"],
            "filters": [{"dimension": "campaign", "values": [CAMPAIGN]}],
        },
    ),
    Question(
        "Did we send more than in the week before?",
        "query",
        lambda answer: (answer["totals"]["sent"]["value"], answer["totals"]["sent"]["previous"] > 0),
        lambda oracle: (oracle.count(days=7), True),
        {"metrics": ["sent"], "time_range": "7d", "compare": "previous_period"},
    ),
    Question(
        "Does variant B get more human opens than A?",
        "query",
        lambda answer: dict(
            sorted(_by("rows", "dimensions.variant", "metrics.human_open_rate.value")(answer).items()),
        ),
        lambda oracle: {
            name: oracle.rate("human_opened", days=90, among=f"{OF_CAMPAIGN} and variant = '{name}'") for name in ("A", "B")
        },
        {
            "metrics": ["human_open_rate"],
            "dimensions": ["variant"],
            "time_range": "90d",
            "filters": [{"dimension": "campaign", "values": [CAMPAIGN]}],
        },
    ),
    Question(
        "Which step gets the most replies?",
        "query",
        _by("rows", "dimensions.step", "metrics.replied.value"),
        lambda oracle: _counts(oracle, "step", "replied and delivered"),
        {"metrics": ["replied", "reply_rate"], "dimensions": ["step"]},
    ),
    Question(
        "How many of our recipients are at Google?",
        "query",
        lambda answer: _by("rows", "dimensions.recipient_provider", "metrics.sent.value")(answer)["google"],
        lambda oracle: oracle.count(among="recipient_domain = 'gmail.com'"),
        {"metrics": ["sent"], "dimensions": ["recipient_provider"]},
    ),
    Question(
        "How sure is the reply rate?",
        "query",
        lambda answer: (
            answer["totals"]["reply_rate"]["low"]
            < answer["totals"]["reply_rate"]["value"]
            < answer["totals"]["reply_rate"]["high"]
        ),
        lambda oracle: True,
        {"metrics": ["reply_rate"]},
    ),
    Question(
        "What does click-to-open rate mean?",
        "list_metrics",
        lambda answer: [row["name"] for row in rows(answer["metrics"])],
        lambda oracle: ["click_to_open_rate"],
        {"search": "click_to_open"},
    ),
]

STATUS_QUESTIONS = [
    Question(
        "How many bodies could not be read?",
        "data_status",
        lambda answer: {
            row["problem"]: row["events"] for row in rows(answer["data_quality"]["problems"]) if row["provider"] == "sendgrid"
        },
        lambda oracle: {"unreadable_body": 3},
    ),
    Question(
        "Are the numbers late?",
        "data_status",
        lambda answer: answer["freshness"]["is_late"],
        lambda oracle: False,
    ),
    Question(
        "When are e-mails opened most?",
        "best_send_time",
        lambda answer: max(rows(answer["heatmap"]), key=lambda row: row["emails_sent"])["time_period"],
        lambda oracle: "office_hours",
    ),
]

QUESTIONS = [
    *WORKSPACE_QUESTIONS,
    *CAMPAIGN_QUESTIONS,
    *COMPARE_QUESTIONS,
    *DELIVERABILITY_QUESTIONS,
    *QUERY_QUESTIONS,
    *STATUS_QUESTIONS,
]
