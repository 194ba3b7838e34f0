"""The reference of the marts, compared with numbers computed by hand. Needs no database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.integration.warehouse import reference, reference_marts
from tests.integration.warehouse.events import (
    BOUNCES,
    NO_ZONES,
    ZONES,
    App,
    Assignment,
    Campaign,
    Event,
    IpAddress,
    Mailbox,
    random_app,
    random_events,
    start_before_clock_change,
)
from tests.integration.warehouse.reference import Message
from tests.integration.warehouse.reference_marts import Request, Row

# a Monday
DAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPENED = ("sent", "delivered", "opened")
NOBODY = App("w")


def request(start: date = DAY, end: date = DAY, **parameters: Any) -> Request:
    return Request("w", start, end, **parameters)


def mail(number: int, *counts: str, at: datetime = NOW, campaign: str = "", mailbox: str = "", **fields: Any) -> list[Message]:
    """So many messages of these counts."""
    domain, reason, hard = fields.get("domain", ""), fields.get("reason", ""), fields.get("hard", False)
    one = Message("w", "m", campaign, mailbox, domain, "", at, frozenset({"sent", *counts}), reason, hard)
    return [one] * number


def of(kind: str, successes: int, number: int, campaign: str) -> list[Message]:
    """So many delivered messages of a campaign, some of them with a success."""
    return mail(successes, "delivered", kind, campaign=campaign) + mail(number - successes, "delivered", campaign=campaign)


# ---- health score


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"sent": 1000, "delivered": 1000}, "100"),
        # at the start of every factor nothing is lost yet
        ({"sent": 1000, "delivered": 1000, "hard_bounced": 20, "complained": 1, "unsubscribed": 10}, "100"),
        # 6 % is halfway from 2 % to 10 %: half of 35
        ({"sent": 1000, "delivered": 940, "hard_bounced": 60}, "82.5"),
        ({"sent": 1000, "delivered": 1000, "complained": 3}, "82.5"),
        # of the delivered: 3 of 100 is halfway from 1 % to 5 %
        ({"sent": 1000, "delivered": 100, "unsubscribed": 3}, "92.5"),
        # no more than the weight is lost
        ({"sent": 10, "delivered": 5, "hard_bounced": 5}, "65"),
        ({"sent": 10, "delivered": 5, "hard_bounced": 5, "complained": 5, "unsubscribed": 5}, "15"),
    ],
)
def test_health_score_of_rates(counts: dict[str, int], expected: str) -> None:
    assert reference_marts.mailbox_score({DAY: Counter(counts)}, DAY) == Fraction(expected)


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        (60, 15, "92.5"),  # a drop of 75 % is halfway from 50 % to 100 %
        (50, 0, "85"),
        (49, 0, "100"),  # too few for a drop to say anything
        (60, 30, "100"),
        (60, 90, "100"),
    ],
)
def test_health_score_of_a_drop(earlier: int, later: int, expected: str) -> None:
    # the last day of the earlier week and the first one of the later
    days = {DAY - timedelta(days=7): Counter(sent=earlier), DAY - timedelta(days=6): Counter(sent=later)}
    assert reference_marts.mailbox_score(days, DAY) == Fraction(expected)


def test_health_score_looks_at_thirty_days() -> None:
    days = {DAY: Counter(sent=1)}
    assert reference_marts.mailbox_score(days, DAY + timedelta(days=29)) == 100
    assert reference_marts.mailbox_score(days, DAY + timedelta(days=30)) is None
    assert reference_marts.mailbox_score(days, DAY - timedelta(days=1)) is None


def test_workspace_score_weighs_mailboxes_and_rounds_once() -> None:
    bad = mail(94, "delivered", mailbox="bad") + mail(6, "bounced", mailbox="bad", hard=True, reason="invalid_recipient")
    # of no mailbox: counted in the rates, without a score
    nowhere = mail(100, "bounced", hard=True, reason="invalid_recipient")
    good = mail(300, "delivered", mailbox="good", campaign="c")

    def score(messages: list[Message], **parameters: Any) -> int | None:
        (row,) = reference_marts.deliverability(request(**parameters), messages, NOBODY, NOW)
        score: int | None = row["health_score"]
        return score

    # 82.5, up; then (100 * 82.5 + 300 * 100) / 400 = 95.625
    assert score(bad + nowhere) == 83
    assert score(bad + nowhere + good) == 96
    # only the mailbox that the campaign sent from, with all of its mail
    assert score(bad + nowhere + good, campaign_id="c") == 100
    assert score(bad + good + mail(1, "delivered", mailbox="bad", campaign="c2"), campaign_id="c2") == 83
    assert score(nowhere) is None


def test_trend_reaches_before_the_window_and_leaves_out_days_without_a_score() -> None:
    sent = mail(1, mailbox="b", at=NOW - timedelta(days=28))
    trend = reference_marts.reputation_trend(request(DAY, DAY + timedelta(days=5)), sent, NOBODY, NOW)
    assert trend == [{"date": DAY, "score": 100}, {"date": DAY + timedelta(days=1), "score": 100}]


# ---- deliverability


def test_domain_is_the_mailboxes_else_the_messages() -> None:
    app = App("w", mailboxes=(Mailbox("known", "d1"), Mailbox("none", None)))
    messages = [
        *mail(1, mailbox="known", domain="d2"),
        *mail(2, mailbox="none", domain="d2"),
        *mail(4, "bounced", mailbox="unknown", domain="d2", reason="blocked"),
        *mail(8, domain="d1"),
    ]
    (row,) = reference_marts.deliverability(request(domain_id="d2"), messages, app, NOW)
    assert (row["soft_bounces"], row["hard_bounces"], row["bounce_rate"]) == (4, 0, Decimal("66.67"))
    assert row["estimated_inbox_placement_rate"] == Decimal("33.33")
    (row,) = reference_marts.deliverability(request(domain_id="d1"), messages, app, NOW)
    assert (row["bounce_rate"], row["estimated_inbox_placement_rate"]) == (Decimal("0.00"), Decimal("100.00"))


def test_five_bounce_reasons_ties_by_label_share_of_all() -> None:
    reasons = {"undetermined": 1, "moved": 1, "mailbox_full": 1, "blocked": 1, "timed_out": 1, "invalid_recipient": 3}
    messages = [one for reason, number in reasons.items() for one in mail(number, "bounced", reason=reason)]
    assert [tuple(row.values()) for row in reference_marts.top_bounce_reasons(request(), messages, NOBODY, NOW)] == [
        ("Invalid recipient", 3, Decimal("37.5")),
        ("Blocked by reputation or policy", 1, Decimal("12.5")),
        ("Delivery timed out", 1, Decimal("12.5")),
        ("Mailbox full", 1, Decimal("12.5")),
        ("Recipient moved", 1, Decimal("12.5")),
    ]


def test_blacklists_of_active_assignments() -> None:
    checked = NOW - timedelta(hours=2)
    app = App(
        "w",
        domains=("d1", "d2"),
        mailboxes=(Mailbox("b2", "d2"),),
        ip_addresses=(
            IpAddress("clean", {"sorbs": False, "spamhaus": {"listed": False}}, checked),
            IpAddress("listed", {"sorbs": {"listed": True}}, None),
            IpAddress("expired", {"sorbs": True}, NOW),
            IpAddress("warming", {"sorbs": True}, NOW),
        ),
        assignments=(
            Assignment("d1", "clean", "active", None),
            Assignment("d2", "clean", "active", NOW + timedelta(days=1)),
            Assignment("d2", "listed", "active", None),
            Assignment("d1", "expired", "active", NOW - timedelta(days=1)),
            Assignment("d1", "warming", "warming", None),
            Assignment("elsewhere", "expired", "active", None),
        ),
    )
    # from d2's mailbox, and from none: that is no mailbox, whatever its domain
    sent = mail(1, campaign="c", mailbox="b2", domain="d1") + mail(1, campaign="c", domain="d1")

    def status(**parameters: Any) -> tuple[Any, ...]:
        (row,) = reference_marts.blacklist_status(request(**parameters), sent, app, NOW)
        return tuple(row.values())

    assert status() == (True, 2, checked)
    assert status(domain_id="d1") == (False, 1, checked)
    assert status(campaign_id="c") == (True, 2, checked)
    assert status(campaign_id="c", domain_id="d1") == (False, 0, None)
    assert status(domain_id="elsewhere") == (False, 0, None)


def test_latest_hard_bounce_else_latest() -> None:
    by_reason = {bounce.bounce_reason: bounce for bounce in BOUNCES}

    def message(*reasons: str) -> Message:
        events = [
            Event(
                f"e{place}",
                "w",
                "m",
                "bounced",
                NOW + timedelta(minutes=place),
                smtp_status=by_reason[reason].smtp_status,
                smtp_code=by_reason[reason].smtp_code,
                diagnostic=by_reason[reason].diagnostic,
            )
            for place, reason in enumerate(reasons)
        ]
        return reference.messages(reversed(events), NOW)["w", "m"]

    hard = message("moved", "invalid_recipient", "mailbox_full", "undetermined")
    assert (hard.bounce_reason, hard.is_hard_bounced) == ("invalid_recipient", True)
    soft = message("mailbox_full", "undetermined")
    assert (soft.bounce_reason, soft.is_hard_bounced) == ("undetermined", False)


# ---- workspace


def test_wilson_lower_bound() -> None:
    # of n successes in n it is n / (n + z^2): 1 / 4.841459
    assert float(reference_marts.wilson_lower_bound(1, 1)) == pytest.approx(0.206549, abs=1e-6)
    # the textbook's 50 of 100: 40.38 %
    assert float(reference_marts.wilson_lower_bound(50, 100)) == pytest.approx(0.403832, abs=1e-6)
    assert reference_marts.wilson_lower_bound(0, 7) == reference_marts.wilson_lower_bound(0, 0) == 0


def test_one_lucky_message_does_not_win_and_ties_go_by_opens_then_id() -> None:
    messages = [
        *of("replied", 30, 100, "steady"),
        *of("replied", 1, 1, "lucky"),
        *of("opened", 2, 100, "read"),
        *of("opened", 0, 900, "a"),
        *of("opened", 0, 3, "b"),
        *of("opened", 0, 3, "sixth"),
        *mail(1, "delivered", "replied"),
    ]
    app = App(
        "w", campaigns=(Campaign("lucky", "Luck", "sending"), Campaign("idle", None, "draft"), Campaign("read", None, "draft"))
    )
    top = reference_marts.top_campaigns(request(), messages, app, NOW)
    assert [row["campaign_id"] for row in top] == ["steady", "lucky", "read", "a", "b"]
    assert (top[1]["campaign_name"], top[2]["campaign_name"], top[0]["reply_rate"]) == ("Luck", "read", Decimal("30.00"))
    (overview,) = reference_marts.workspace_overview(request(), messages, app, NOW)
    assert (overview["total_campaigns"], overview["active_campaigns"], overview["emails_sent"]) == (7, 1, 1108)


# ---- heatmap


def cells(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], int]:
    return {tuple(row[name] for name in names): row["emails_sent"] for row in rows if row["emails_sent"]}


def test_the_hour_that_comes_twice() -> None:
    """New York's clocks went from 02:00 to 01:00 on 2026-11-01, 06:00 UTC."""
    at = [datetime(2026, 11, 1, 5, 30, tzinfo=UTC) + timedelta(hours=hours) for hours in (-3, 0, 1, 2)]
    messages = [one for moment in at for one in mail(1, at=moment)]
    requested = request(date(2026, 11, 1), date(2026, 11, 1), granularity="hour")
    new_york = App("w", timezone="America/New_York")
    rows = reference_marts.engagement_heatmap(requested, messages, new_york, NOW)
    assert (len(rows), rows[0]["day_of_week"], rows[0]["time_period"], rows[-1]["hour"]) == (168, "Monday", None, 23)
    assert cells(rows, "day_of_week", "hour") == {("Saturday", 22): 1, ("Sunday", 1): 2, ("Sunday", 2): 1}


def test_quarters_of_an_hour_and_periods() -> None:
    at = [datetime(2026, 11, 22, hour, minute, second, tzinfo=UTC) for hour, minute, second in ((18, 14, 59), (18, 15, 0))]
    messages = [*mail(1, *OPENED, at=at[0]), *mail(2, *OPENED, "clicked", at=at[1]), *mail(1, at=at[1])]
    requested = request(DAY - timedelta(days=1), timezone="Asia/Kathmandu")
    rows = reference_marts.engagement_heatmap(requested, messages, App("w", timezone="UTC"), NOW)
    assert len(rows) == 28
    assert [row["time_period"] for row in rows[:4]] == ["nighttime", "early_morning", "office_hours", "evening"]
    assert cells(rows, "day_of_week", "time_period", "hour") == {
        ("Monday", "nighttime", None): 3,
        ("Sunday", "evening", None): 1,
    }
    # two of three opened (0.3) and clicked (0.4); the open rate of a cell is over the three sent
    assert (rows[0]["open_rate"], rows[0]["engagement_score"]) == (Decimal("66.67"), Decimal("46.67"))


@pytest.mark.parametrize("timezone", [*NO_ZONES, None])
def test_unknown_zones_are_utc(timezone: str | None) -> None:
    assert reference_marts.zone_of(request(), App("w", timezone)) == "UTC"
    assert reference_marts.zone_of(request(timezone="Asia/Kolkata"), App("w", timezone)) == "Asia/Kolkata"


def test_zones_of_random_apps_are_zones() -> None:
    assert [reference_marts.zone_of(request(), App("w", zone)) for zone in ZONES] == list(ZONES)


def test_an_hour_is_named_only_if_it_is_better_beyond_chance() -> None:
    monday = datetime(2026, 11, 2, 9, tzinfo=UTC)
    month = request(start=date(2026, 11, 1))
    lucky = mail(1, *OPENED, "clicked", "replied", at=monday)
    dull = mail(25, at=monday + timedelta(hours=2))
    (row,) = reference_marts.optimal_send_time(month, lucky + dull, NOBODY, NOW)
    assert (row["hour"], row["optimal_send_time_reason"]) == (None, "TOO_LITTLE_DATA")
    assert reference_marts.optimal_send_time(request(campaign_id="c"), lucky, NOBODY, NOW) == [row]
    better = [
        message
        for week in range(3)
        for hour in range(4)
        for message in mail(200, at=monday + timedelta(days=7 * week, hours=hour))
        + mail(300 if hour == 2 else 100, *OPENED, at=monday + timedelta(days=7 * week, hours=hour))
    ]
    (row,) = reference_marts.optimal_send_time(month, better, NOBODY, NOW)
    assert (row["day_of_week"], row["hour"], row["emails_sent"]) == ("Monday", 11, 1500)
    # 300 of 500 were opened, 600 of 1400 of all
    assert row["engagement_score"] == Decimal("18.00")
    assert Decimal("12.86") < row["low"] < row["estimated_score"] < row["high"]


# ---- campaigns


def significance(messages: list[Message], metric: str = "open_rate") -> tuple[Any, Any, Any]:
    (row,) = reference_marts.significance(request(metrics=(metric,)), messages, NOBODY, NOW)
    return row["winner"], row["p_value"], row["is_significant"]


def test_significance_by_hand() -> None:
    two = of("opened", 40, 100, "a") + of("opened", 25, 100, "b")
    # pooled 0.325, standard error 0.0662382, z 2.264554, two-sided 0.02354
    assert significance(two) == ("a", pytest.approx(0.02354, abs=1e-5), True)
    # three pairs; the two of the third campaign are not tested (one open) and count; the fourth has delivered nothing
    four = two + of("opened", 1, 100, "c") + mail(9, campaign="d")
    assert significance(four) == (None, pytest.approx(0.07062, abs=3e-5), False)


def test_holms_correction_by_hand() -> None:
    assert reference_marts.holm({"x": 0.04, "y": 0.01, "z": 0.03, "too few": None}) == {
        "y": pytest.approx(0.04),
        "z": pytest.approx(0.09),
        # twice 0.04, but not below the one before it
        "x": pytest.approx(0.09),
        "too few": None,
    }


def test_the_interval_of_a_difference() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table II, method 10: 56 of 70 and 48 of 80
    difference, low, high = reference_marts.newcombe_interval((56, 70), (48, 80))
    assert (difference, round(low, 4), round(high, 4)) == (Decimal("0.2"), Decimal("0.0524"), Decimal("0.3339"))


def test_the_needed_sample_size() -> None:
    # two arms of 20 and 25 %, power 80 %: 1,094 each in the textbooks
    assert reference_marts.needed_sample_size(Fraction(1, 5), Fraction(1, 4)) == 1094
    assert reference_marts.needed_sample_size(Fraction(1, 5), Fraction(1, 5)) is None


def test_significance_at_the_edges() -> None:
    assert significance(of("opened", 10, 100, "a")) == (None, None, False)
    assert significance(of("opened", 10, 20, "b") + of("opened", 20, 40, "a")) == (None, 1.0, False)
    assert significance(of("opened", 1, 2, "b") + of("opened", 2, 4, "a")) == (None, None, False)
    assert significance(of("opened", 900, 1000, "a") + of("opened", 4, 1000, "b")) == (None, None, False)
    assert significance(of("opened", 996, 1000, "a") + of("opened", 500, 1000, "b")) == (None, None, False)
    unsubscribed = of("unsubscribed", 5, 1000, "a") + of("unsubscribed", 100, 1000, "b")
    assert significance(unsubscribed, "unsubscribe_rate")[0::2] == ("a", True)


def test_comparison_is_in_the_requested_order() -> None:
    messages = of("opened", 1, 3, "b") + of("opened", 1, 3, "a")
    requested = request(campaign_ids=("b", "nobody's", "a"))
    rows = reference_marts.comparison(requested, messages, NOBODY, NOW)
    assert [(row["campaign_id"], row["open_rate"]) for row in rows] == [("b", Decimal("33.33")), ("a", Decimal("33.33"))]
    assert [row["metric"] for row in reference_marts.significance(requested, messages, NOBODY, NOW)] == list(
        reference_marts.RATES
    )


def test_buckets_are_named_by_their_first_day_inside() -> None:
    sent = mail(1, campaign="c", at=datetime(2026, 11, 1, tzinfo=UTC))
    # from a Thursday to a Monday
    window = (date(2026, 10, 29), date(2026, 11, 2))

    def dates(group_by: Any) -> list[tuple[str, int]]:
        rows = reference_marts.campaign_series(request(*window, group_by=group_by), sent, NOBODY, NOW)
        return [(f"{row['date']:%m-%d}", row["sent"]) for row in rows]

    assert dates("day") == [("10-29", 0), ("10-30", 0), ("10-31", 0), ("11-01", 1), ("11-02", 0)]
    assert dates("week") == [("10-29", 1), ("11-02", 0)]
    assert dates("month") == [("10-29", 0), ("11-01", 1)]


# ---- all of it


@pytest.mark.slow
def test_random_mail_and_apps_go_through_every_mart(seed: int) -> None:
    chance = random.Random(seed)
    start = start_before_clock_change("America/New_York", NOW)
    assert start.date() == date(2026, 10, 30)
    loaded = random_events(chance, "w", 300, start)
    app = random_app(chance, "w", NOW)
    messages = list(reference.messages(loaded, NOW).values())
    assert {message.bounce_reason for message in messages} == {"", *(bounce.bounce_reason for bounce in BOUNCES)}
    for campaign_id in (None, "w-c1", "w0-c1"):
        requested = request(start.date() - timedelta(days=1), DAY, campaign_id=campaign_id)
        rows = {name: mart(requested, messages, app, NOW) for name, mart in reference_marts.MARTS.items()}
        hourly = request(requested.start, DAY, campaign_id=campaign_id, granularity="hour")
        by_hour = reference_marts.engagement_heatmap(hourly, messages, app, NOW)
        heatmap = rows["engagement_heatmap"]
        assert sum(row["emails_sent"] for row in heatmap) == sum(row["emails_sent"] for row in by_hour), f"seed {seed}"
        (deliverability,) = rows["deliverability"]
        bounces = sum(
            "bounced" in message.counts
            for message in messages
            if message.workspace_id == "w" and campaign_id in (None, message.campaign_id)
        )
        assert deliverability["hard_bounces"] + deliverability["soft_bounces"] == bounces, f"seed {seed}"
        assert sum(row["sent"] for row in rows["campaign_series"]) == sum(
            row["emails_sent"] for row in rows["campaign_performance"]
        ), f"seed {seed}"
