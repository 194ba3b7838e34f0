"""The marts once more, in plain Python over messages and app tables: slow, obvious, and written from the definitions alone.

Every mart is a function of the request, the messages of its workspace, the workspace's app tables and the time of the request;
it returns its rows as dicts of columns. Counts are ints, percentages and scores Decimals that were rounded once, half away
from zero, from exact fractions.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from functools import cache
from itertools import combinations
from typing import Any, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from tests.integration.warehouse.events import App
from tests.integration.warehouse.reference import DELAYS, Message, delays, rate
from tests.integration.warehouse.reference_send_time import best_send_time
from tests.integration.warehouse.seeds import seed

Row = dict[str, Any]
Mart = Callable[["Request", Iterable[Message], App, datetime], list[Row]]
Key = TypeVar("Key", bound=Hashable)
Slot = tuple[int, int]

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# hours of local time: the first inside, the second outside
PERIODS = {"nighttime": (0, 6), "early_morning": (6, 9), "office_hours": (9, 17), "evening": (17, 24)}

LABELS = {row["bounce_reason"]: row["label"] for row in seed("bounce_reasons")}

# numerator and denominator of each rate; all are in per cent
RATES = {
    "delivery_rate": ("delivered", "sent"),
    "open_rate": ("opened", "delivered"),
    "click_rate": ("clicked", "delivered"),
    "click_to_open_rate": ("clicked", "opened"),
    "reply_rate": ("replied", "delivered"),
    "bounce_rate": ("bounced", "sent"),
    "spam_rate": ("complained", "sent"),
    "unsubscribe_rate": ("unsubscribed", "delivered"),
}
HUMAN_RATES = {"human_open_rate": ("human_opened", "delivered"), "human_click_rate": ("human_clicked", "delivered")}
SMALLER_IS_BETTER = ("bounce_rate", "spam_rate", "unsubscribe_rate")

# the 97.5th percentile of the normal distribution, as the definition rounds it
Z = Decimal("1.959964")
# the 80th
Z_OF_POWER = Decimal("0.841621")
# successes and failures of each of two campaigns that a test needs
MIN_OF_EACH_OUTCOME = 5
# messages sent in the week before without which there is no drop
MIN_SENT_FOR_A_DROP = 50


class Factor(NamedTuple):
    """A part of the health score: nothing is lost up to `start`, all of `weight` (of 1) from `end` on; both are fractions."""

    weight: Fraction
    start: Fraction
    end: Fraction

    def lost(self, value: Fraction) -> Fraction:
        """The part of the score, of 1, that this value costs."""
        return self.weight * min(max((value - self.start) / (self.end - self.start), Fraction(0)), Fraction(1))


FACTORS = {
    row["factor"]: Factor(Fraction(row["weight"]), Fraction(row["starts_at"]), Fraction(row["ends_at"]))
    for row in seed("health_score_factors")
}


@dataclass(frozen=True)
class Request:
    """A window of UTC dates, both included, and filters. Each mart uses those that apply to it."""

    workspace_id: str
    start: date
    end: date
    campaign_id: str | None = None
    domain_id: str | None = None
    status: str | None = None
    # in the requested order; none: all
    campaign_ids: tuple[str, ...] = ()
    # in the requested order; none: all
    metrics: tuple[str, ...] = ()
    # of campaign_ids; none: unknown
    expected_shares: tuple[float, ...] = ()
    # none: the workspace's
    timezone: str | None = None
    granularity: Literal["period", "hour"] = "period"
    group_by: Literal["day", "week", "month"] = "day"


# ---- campaigns


def campaign_performance(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a campaign of the app or of facts, or the requested one: counts and rates of what it sent in the window."""
    sent = _sent(request, mail)
    counts = _counts_by(_inside(request, sent), lambda message: message.campaign_id)
    return [
        {
            "campaign_id": campaign_id,
            "campaign_name": name,
            **_summary(counts[campaign_id]),
            **_rates(counts[campaign_id], RATES),
            **_human(counts[campaign_id]),
        }
        for campaign_id, name in _campaigns(request, sent, app).items()
    ]


def campaign_series(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a campaign and bucket of the window, with or without mail, by campaign and date."""
    sent = _sent(request, mail)
    counts = _counts_by(_inside(request, sent), lambda message: (message.campaign_id, _bucket(request, _day(message))))
    dates = sorted({_bucket(request, day) for day in _days(request)})
    return [
        {
            "campaign_id": campaign_id,
            "date": first_day,
            "sent": counts[campaign_id, first_day]["sent"],
            "delivered": counts[campaign_id, first_day]["delivered"],
            "opened": counts[campaign_id, first_day]["opened"],
            "clicked": counts[campaign_id, first_day]["clicked"],
            "replied": counts[campaign_id, first_day]["replied"],
            "bounced": counts[campaign_id, first_day]["bounced"],
            "spam_complaints": counts[campaign_id, first_day]["complained"],
        }
        for campaign_id in sorted(_campaigns(request, sent, app))
        for first_day in dates
    ]


def campaign_local_series(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """The same by local dates: those that the window, whose ends are in UTC, touches."""
    sent = _sent(request, mail)
    local, local_day = _local(request, app)
    counts = _counts_by(_inside(request, sent), lambda message: (message.campaign_id, _bucket(local, local_day(message))))
    names = ("sent", "delivered", "opened", "clicked", "replied", "bounced")
    return [
        {
            "campaign_id": campaign_id,
            "date": day,
            **{name: counts[campaign_id, day][name] for name in names},
            "spam_complaints": counts[campaign_id, day]["complained"],
        }
        for campaign_id in sorted(_campaigns(request, sent, app))
        for day in sorted({_bucket(local, day) for day in _days(local)})
    ]


def _local(request: Request, app: App) -> tuple[Request, Callable[[Message], date]]:
    """The request of the local dates that the window touches, and the local day of a message."""
    zone = ZoneInfo(zone_of(request, app))
    first = datetime.combine(request.start, time(), UTC).astimezone(zone).date()
    last = (datetime.combine(request.end, time(), UTC) + timedelta(days=1, microseconds=-1)).astimezone(zone).date()
    return replace(request, start=first, end=last), lambda message: _sent_at(message).astimezone(zone).date()


def campaign_steps(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a campaign, sequence, step and variant with mail, by these; a step that is no number comes after those that are."""

    def key(message: Message) -> tuple[str, str, str, str]:
        return message.campaign_id, message.sequence_id or "", message.step or "", message.variant or ""

    counts = _counts_by(_of_campaign(request, _inside(request, _sent(request, mail))), key)
    return [
        {
            "campaign_id": campaign_id,
            "sequence_id": sequence_id or None,
            "step": step or None,
            "variant": variant or None,
            **_summary(counts[campaign_id, sequence_id, step, variant]),
            **_rates(counts[campaign_id, sequence_id, step, variant], RATES),
            **{
                name: value
                for name, value in _human(counts[campaign_id, sequence_id, step, variant]).items()
                if name != "human_coverage"
            },
        }
        for campaign_id, sequence_id, step, variant in sorted(
            counts, key=lambda names: (names[0], names[1], int(names[2]) if names[2].isdigit() else math.inf, *names[2:])
        )
    ]


def campaign_links(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a campaign and link, at most 100 a campaign, by messages clicked, then clicks, then the link."""
    clicks = _clicks(request, mail)
    rows: list[Row] = []
    for campaign_id in {campaign_id for campaign_id, _ in clicks}:
        links = {link: count for (of_campaign, link), count in clicks.items() if of_campaign == campaign_id}
        in_order = sorted(links.items(), key=lambda item: (-item[1]["messages"], -item[1]["clicks"], item[0]))
        for place, (link, count) in enumerate(in_order[:100], 1):
            rows.append(
                {
                    "campaign_id": campaign_id,
                    "place": place,
                    "link": link or None,
                    "emails_clicked": count["messages"],
                    "human_emails_clicked": count["human_messages"],
                    "clicks": count["clicks"],
                    "human_clicks": count["human_clicks"],
                    "share_of_clicks": rate(count["clicks"], sum(one["clicks"] for one in links.values())),
                }
            )
    return rows


def campaign_link_totals(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a campaign of the app or of facts, or the requested one: the clicks on all of its links."""
    sent = _sent(request, mail)
    clicks = _clicks(request, sent)
    counts = _counts_by(_inside(request, sent), lambda message: message.campaign_id)
    rows: list[Row] = []
    for campaign_id, name in _campaigns(request, sent, app).items():
        links = [count for (of_campaign, _), count in clicks.items() if of_campaign == campaign_id]
        rows.append(
            {
                "campaign_id": campaign_id,
                "campaign_name": name,
                "emails_delivered": counts[campaign_id]["delivered"],
                "emails_clicked": counts[campaign_id]["clicked"],
                "human_emails_clicked": counts[campaign_id]["human_clicked"],
                "links": len(links),
                "clicks": sum(count["clicks"] for count in links),
                "human_clicks": sum(count["human_clicks"] for count in links),
            }
        )
    return rows


def _clicks(request: Request, mail: Iterable[Message]) -> dict[tuple[str, str], Counter[str]]:
    """Of the window's mail, by campaign and link."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for message in _of_campaign(request, _inside(request, _sent(request, mail))):
        for link, (clicks, human_clicks) in message.links.items():
            found[message.campaign_id, link].update(
                {"messages": 1, "human_messages": int(human_clicks > 0), "clicks": clicks, "human_clicks": human_clicks}
            )
    return found


def comparison(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a known campaign of the requested ones, in the requested order: its eight rates in the window, per cent."""
    sent = _sent(request, mail)
    counts = _counts_by(_inside(request, sent), lambda message: message.campaign_id)
    return [
        {"campaign_id": campaign_id, "campaign_name": name, **_rates(counts[campaign_id], RATES)}
        for campaign_id, name in _compared(request, sent, app).items()
    ]


def significance(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a rate, in the requested order: which campaign is best, and the probability (0 to 1) of its lead by chance.

    No row without campaigns to compare.
    """
    sent = _sent(request, mail)
    counts = _counts_by(_inside(request, sent), lambda message: message.campaign_id)
    compared = {campaign_id: counts[campaign_id] for campaign_id in _compared(request, sent, app)}
    if not compared:
        return []
    return [_winner(metric, compared) for metric in dict.fromkeys(request.metrics or RATES)]


def _winner(metric: str, counts: Mapping[str, Counter[str]]) -> Row:
    part, whole = RATES[metric]
    better = 1 if metric in SMALLER_IS_BETTER else -1
    ranked = sorted(
        (better * Fraction(count[part], count[whole]), campaign_id, count[part], count[whole])
        for campaign_id, count in counts.items()
        if count[whole] > 0
    )
    numbers = ("p_value", "difference", "difference_low", "difference_high", "needed_sample_size")
    row: Row = {"metric": metric, "is_significant": False} | dict.fromkeys(("winner", "leading_campaign", "runner_up", *numbers))
    if len(ranked) < 2:
        return row
    (best, leading, *first), (next_best, runner_up, *second) = ranked[:2]
    row["p_value"] = holm(
        {
            (one, other): two_proportion_p((ranked[one][2], ranked[one][3]), (ranked[other][2], ranked[other][3]))
            for one, other in combinations(range(len(ranked)), 2)
        }
    )[0, 1]
    row["is_significant"] = row["p_value"] is not None and row["p_value"] < 0.05
    if best != next_best:
        row |= {"leading_campaign": leading, "runner_up": runner_up, "winner": leading if row["is_significant"] else None}
    difference, low, high = newcombe_interval((first[0], first[1]), (second[0], second[1]))
    row |= {"difference": _per_cent(difference), "difference_low": _per_cent(low), "difference_high": _per_cent(high)}
    row["needed_sample_size"] = needed_sample_size(Fraction(first[0], first[1]), Fraction(second[0], second[1]))
    return row


def two_proportion_p(first: tuple[int, int], second: tuple[int, int]) -> float | None:
    """The two-sided p-value (0 to 1) of two (successes, trials), pooled; None if there are too few."""
    (s1, n1), (s2, n2) = first, second
    if min(s1, n1 - s1, s2, n2 - s2) < MIN_OF_EACH_OUTCOME:
        return None
    pooled = Fraction(s1 + s2, n1 + n2)
    variance = pooled * (1 - pooled) * (Fraction(1, n1) + Fraction(1, n2))
    z_squared = (Fraction(s1, n1) - Fraction(s2, n2)) ** 2 / variance
    return math.erfc(math.sqrt(z_squared / 2))


def holm(p_values: Mapping[Key, float | None]) -> dict[Key, float | None]:
    """p-values corrected for their number; those that cannot be known count in it."""
    corrected: dict[Key, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    known = [(p_value, key) for key, p_value in p_values.items() if p_value is not None]
    for rejected, (p_value, key) in enumerate(sorted(known)):
        largest = max(largest, (len(p_values) - rejected) * p_value)
        corrected[key] = min(1.0, largest)
    return corrected


def newcombe_interval(first: tuple[int, int], second: tuple[int, int]) -> tuple[Decimal, Decimal, Decimal]:
    """The difference of two (successes, trials), -1 to 1, and its 95 % interval, to 50 digits."""
    with localcontext() as context:
        context.prec = 50
        (share_1, low_1, high_1), (share_2, low_2, high_2) = (
            (Decimal(s) / n, wilson_lower_bound(s, n), 1 - wilson_lower_bound(n - s, n)) for s, n in (first, second)
        )
        difference = Decimal(first[0] * second[1] - second[0] * first[1]) / (first[1] * second[1])
        below = ((share_1 - low_1) ** 2 + (high_2 - share_2) ** 2).sqrt()
        above = ((high_1 - share_1) ** 2 + (share_2 - low_2) ** 2).sqrt()
        return difference, difference - below, difference + above


def needed_sample_size(share: Fraction, other: Fraction) -> int | None:
    """Messages of each of two campaigns for a power of 80 % at 5 %; None if they are equal."""
    if share == other:
        return None
    with localcontext() as context:
        context.prec = 50
        one, two = (Decimal(part.numerator) / part.denominator for part in (share, other))
        mean = (one + two) / 2
        root = Z * (2 * mean * (1 - mean)).sqrt() + Z_OF_POWER * (one * (1 - one) + two * (1 - two)).sqrt()
        return math.ceil(root**2 / (one - two) ** 2)


def rate_intervals(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a rate, in the requested order, and a campaign that has its denominator, in the requested order."""
    sent = _sent(request, mail)
    counts = _counts_by(_inside(request, sent), lambda message: message.campaign_id)
    return [
        {
            "campaign_id": campaign_id,
            "metric": metric,
            "successes": (successes := counts[campaign_id][RATES[metric][0]]),
            "trials": trials,
            "low": _per_cent(wilson_lower_bound(successes, trials)),
            "high": _per_cent(1 - wilson_lower_bound(trials - successes, trials)),
        }
        for metric in dict.fromkeys(request.metrics or RATES)
        for campaign_id in _compared(request, sent, app)
        if (trials := counts[campaign_id][RATES[metric][1]]) > 0
    ]


def sample_ratio(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row if the request has planned shares: the probability of a split this far from them."""
    sent = _sent(request, mail)
    counts = _counts_by(_inside(request, sent), lambda message: message.campaign_id)
    shares = dict(zip(request.campaign_ids, request.expected_shares, strict=False))
    observed = {name: counts[name]["sent"] for name in _compared(request, sent, app) if name in shares}
    if not observed:
        return []
    total, weights = sum(observed.values()), sum(Fraction(str(shares[name])) for name in observed)
    expected = {name: total * Fraction(str(shares[name])) / weights for name in observed}
    p_value = None
    if len(observed) > 1 and min(expected.values()) >= MIN_OF_EACH_OUTCOME:
        # its import takes a second, which each process that collects the tests would pay
        from scipy.stats import chi2

        chi_squared = sum((observed[name] - expected[name]) ** 2 / expected[name] for name in observed)
        p_value = float(chi2.sf(float(chi_squared), len(observed) - 1))
    return [{"p_value": p_value, "is_mismatch": p_value is not None and p_value < 0.001}]


def _per_cent(share: Decimal) -> Decimal:
    """With two decimals, rounded half away from zero."""
    return (100 * share).quantize(Decimal("0.01"), ROUND_HALF_UP)


def unknown_campaigns(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a campaign that the request names, in its list or by itself, and that does not exist."""
    names = _all_campaigns(_sent(request, mail), app)
    requested = [*request.campaign_ids, *([] if request.campaign_id is None else [request.campaign_id])]
    return [{"campaign_id": campaign_id} for campaign_id in requested if campaign_id not in names]


# ---- workspace


def workspace_overview(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row: all campaigns ever, those the app says are sending, and all mail of the window, also that of no campaign."""
    sent = _sent(request, mail)
    total = _total(_inside(request, sent))
    summary = _summary(total)
    return [
        {
            "total_campaigns": len(_all_campaigns(sent, app)),
            "active_campaigns": sum(campaign.status == "sending" for campaign in app.campaigns),
            **{
                name: summary[name]
                for name in ("emails_sent", "emails_delivered", "emails_opened", "emails_clicked", "emails_replied")
            },
            **_rates(total, {name: RATES[name] for name in ("delivery_rate", "open_rate", "click_rate", "reply_rate")}),
            **_human(total),
        }
    ]


def workspace_series(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a bucket of the window, with or without mail, by date: all mail, also that of no campaign."""
    return _series(request, _inside(request, _sent(request, mail)), _day)


def workspace_local_series(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """The same by the local dates that the window touches."""
    local, local_day = _local(request, app)
    return _series(local, _inside(request, _sent(request, mail)), local_day)


def _series(request: Request, sent: Iterable[Message], day_of: Callable[[Message], date]) -> list[Row]:
    counts = _counts_by(sent, lambda message: _bucket(request, day_of(message)))
    names = ("delivery_rate", "open_rate", "click_rate", "reply_rate", "bounce_rate")
    return [
        {
            "date": first_day,
            **{name: counts[first_day][name] for name in ("sent", "delivered", "opened", "clicked", "replied", "bounced")},
            "spam_complaints": counts[first_day]["complained"],
            **_rates(counts[first_day], {name: RATES[name] for name in names}),
            **_rates(counts[first_day], HUMAN_RATES),
        }
        for first_day in sorted({_bucket(request, day) for day in _days(request)})
    ]


def top_campaigns(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """At most five campaigns that sent in the window, the best first; rates in per cent."""
    sent = _sent(request, mail)
    counts = _counts_by(_inside(request, sent), lambda message: message.campaign_id)
    names = _all_campaigns(sent, app)

    def rank(campaign_id: str) -> tuple[Decimal, Decimal, str]:
        count = counts[campaign_id]
        return (
            -wilson_lower_bound(count["replied"], count["delivered"]),
            -wilson_lower_bound(count["opened"], count["delivered"]),
            campaign_id,
        )

    return [
        {
            "campaign_id": campaign_id,
            "campaign_name": names[campaign_id],
            **_rates(counts[campaign_id], {name: RATES[name] for name in ("open_rate", "reply_rate")}),
        }
        for campaign_id in sorted((name for name in counts if name), key=rank)[:5]
    ]


def wilson_lower_bound(successes: int, of: int) -> Decimal:
    """The lower bound (0 to 1) of the 95 % Wilson interval, to 50 digits; exactly 0 of no success, where floats miss it."""
    if successes == 0:
        return Decimal(0)
    with localcontext() as context:
        context.prec = 50
        n, share = Decimal(of), Decimal(successes) / of
        middle = share + Z * Z / (2 * n)
        half_width = Z * (share * (1 - share) / n + Z * Z / (4 * n * n)).sqrt()
        return (middle - half_width) / (1 + Z * Z / n)


# ---- deliverability


def deliverability(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row over the mail of the filters: counts, rates in per cent, and the health score (0 to 100) of the last day."""
    sent = _sent(request, mail)
    mine = list(_filtered(request, _inside(request, sent), app))
    total = _total(mine)
    hard = sum(message.is_hard_bounced for message in mine)
    soft = total["bounced"] - hard
    return [
        {
            "estimated_inbox_placement_rate": rate(total["sent"] - total["bounced"] - total["complained"], total["sent"]),
            "spam_rate": rate(total["complained"], total["sent"]),
            "bounce_rate": rate(total["bounced"], total["sent"]),
            "health_score": _health_scores(request, sent, app).get(request.end),
            "hard_bounces": hard,
            "soft_bounces": soft,
            "hard_bounce_rate": rate(hard, total["sent"]),
            "soft_bounce_rate": rate(soft, total["sent"]),
        }
    ]


def top_bounce_reasons(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """The five commonest reasons, then by label; the percentage is of all bounces of the filters."""
    mine = _filtered(request, _inside(request, _sent(request, mail)), app)
    counts = Counter(LABELS[message.bounce_reason] for message in mine if "bounced" in message.counts)
    return [
        {"reason": label, "count": count, "percentage": rounded(Fraction(100 * count, counts.total()), 1)}
        for label, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    ]


def reputation_trend(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a day of the window that has a health score (0 to 100), oldest first."""
    scores = _health_scores(request, _sent(request, mail), app)
    return [{"date": day, "score": score} for day, score in sorted(scores.items())]


def local_reputation_trend(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """The same dates, as local days; a campaign's mailboxes are those of the window, which is in UTC."""
    _, local_day = _local(request, app)
    scores = _health_scores(request, _sent(request, mail), app, local_day)
    return [{"date": day, "score": score} for day, score in sorted(scores.items())]


def blacklist_status(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row over the distinct IPs whose assignment to a requested domain is active and has not expired."""
    domains = set(app.domains)
    if request.domain_id is not None:
        domains &= {request.domain_id}
    if request.campaign_id is not None:
        of_campaign = _of_campaign(request, _inside(request, _sent(request, mail)))
        domains &= {domain_of(message, app) for message in of_campaign if message.mailbox_id}
    assigned = {
        assignment.smtp_ip_address_id
        for assignment in app.assignments
        if assignment.domain_id in domains
        and assignment.status == "active"
        and (assignment.expires_at is None or assignment.expires_at > now)
    }
    addresses = [address for address in app.ip_addresses if address.smtp_ip_address_id in assigned]
    checks = [address.last_reputation_check for address in addresses if address.last_reputation_check is not None]
    return [
        {
            "any_ip_blacklisted": any(_is_blacklisted(address.provider_blacklist_status) for address in addresses),
            "ips_checked": len(addresses),
            "last_check": max(checks, default=None),
        }
    ]


def provider_performance(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a provider of recipients, the most mail first: counts, rates, limits, and the difference from all others."""
    counts = _counts_by(_of_campaign(request, _inside(request, _sent(request, mail))), lambda message: message.recipient_provider)
    total = sum(counts.values(), Counter())
    rows: list[Row] = []
    for provider, count in sorted(counts.items(), key=lambda item: (-item[1]["sent"], item[0])):
        others = total - count
        # known by provider or by campaign, not by both
        known = [message for message in _inside(request, _sent(request, mail)) if message.recipient_provider == provider]
        delivered = _delays(known).get("delivered", Counter()) if request.campaign_id is None else Counter()
        seconds = {
            percent: _to_places(_delay_at(math.ceil(Fraction(sum(delivered.values()) * percent, 100)), delivered), 1)
            for percent in ((50, 95) if delivered else ())
        }
        statuses = {metric: limit_status(provider, metric, count) for metric in ("spam_rate", "hard_bounce_rate")}
        rows.append(
            {
                "recipient_provider": provider or "unknown",
                "status": min(statuses.values(), key=("critical", "warning", "ok", "too_few").index),
                **{f"{metric}_status": status for metric, status in statuses.items()},
                **_summary(count),
                "emails_deferred": count["deferred"],
                "hard_bounces": count["hard_bounced"],
                **_rates(count, {name: share for name, share in RATES.items() if name != "click_to_open_rate"}),
                "deferral_rate": rate(count["deferred"], count["sent"]),
                "hard_bounce_rate": rate(count["hard_bounced"], count["sent"]),
                **{
                    f"{name}_difference": _difference(RATES[name], count, others)
                    for name in ("delivery_rate", "bounce_rate", "open_rate", "click_rate", "reply_rate", "spam_rate")
                },
                "delivery_p50_seconds": seconds.get(50),
                "delivery_p95_seconds": seconds.get(95),
            }
        )
    return rows


def _difference(share: tuple[str, str], count: Mapping[str, int], others: Mapping[str, int]) -> Decimal | None:
    part, whole = share
    if not count[whole] or not others[whole]:
        return None
    return rounded(100 * (Fraction(count[part], count[whole]) - Fraction(others[part], others[whole])), 2)


def limit_status(provider: str, metric: str, count: Mapping[str, int]) -> str:
    """ok, warning, critical or too_few, by the provider's own limit, else by that of all."""
    part = {"spam_rate": "complained", "hard_bounce_rate": "hard_bounced"}[metric]
    limits = {row["recipient_provider"]: row for row in seed("published_limits") if row["metric"] == metric}
    limit = limits.get(provider, limits[""])
    warning_at, critical_at = (Fraction(limit[name]) / 100 for name in ("warning_at", "critical_at"))
    if count[part] < 2 and Fraction(1, count["sent"]) > warning_at:
        return "too_few"
    share = Fraction(count[part], count["sent"])
    return "critical" if share >= critical_at else "warning" if share >= warning_at else "ok"


def provider_limits(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a limit, those of all providers last."""
    rows = sorted(seed("published_limits"), key=lambda row: (row["recipient_provider"] or "~", row["metric"]))
    return [
        {
            "recipient_provider": row["recipient_provider"] or None,
            **{name: row[name] for name in ("metric", "published_by", "source")},
            **{name: Decimal(row[name]) for name in ("warning_at", "critical_at")},
        }
        for row in rows
    ]


def unknown_domains(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row for the domain that the request names, if neither the app nor mail has it."""
    known = {message.domain_id for message in _sent(request, mail)} | set(app.domains)
    return [] if request.domain_id is None or request.domain_id in known else [{"domain_id": request.domain_id}]


def mailbox_score(days: Mapping[date, Counter[str]], on: date) -> Fraction | None:
    """A mailbox's unrounded health score (0 to 100) on a day, from its counts a day; None if it sent nothing in 30 days."""
    month = _days_back(days, on, 29, 0)
    if month["sent"] == 0:
        return None
    earlier, later = _days_back(days, on, 13, 7)["sent"], _days_back(days, on, 6, 0)["sent"]
    lost = (
        FACTORS["hard_bounce_rate"].lost(_share(month["hard_bounced"], month["sent"])),
        FACTORS["spam_complaint_rate"].lost(_share(month["complained"], month["sent"])),
        FACTORS["unsubscribe_rate"].lost(_share(month["unsubscribed"], month["delivered"])),
        FACTORS["drop_of_sent"].lost(_share(earlier - later, earlier) if earlier >= MIN_SENT_FOR_A_DROP else Fraction(0)),
    )
    return 100 * (1 - sum(lost, Fraction(0)))


def _days_back(days: Mapping[date, Counter[str]], on: date, first: int, last: int) -> Counter[str]:
    """The counts of `first` to `last` days before a day, both inside."""
    counts: Counter[str] = Counter()
    for back in range(last, first + 1):
        counts.update(days.get(on - timedelta(days=back), {}))
    return counts


def _health_scores(
    request: Request, sent: Sequence[Message], app: App, day_of: Callable[[Message], date] | None = None
) -> dict[date, int]:
    """The workspace's score (0 to 100) of each day of the window that has one.

    A campaign chooses mailboxes, by what it sent from them in the window; their scores are of all their mail. A domain
    chooses mail, by its mailbox's domain, else by its own. Together they choose the mailboxes
    from which the campaign sent mail of the domain.
    """
    days = _mailbox_days(request, sent, app, day_of)
    services = {day: _weighted_mean(days.values(), day) for day in _days(request)}
    return {day: int(rounded(mean, 0)) for day, mean in services.items() if mean is not None}


def _mailbox_days(
    request: Request, sent: Sequence[Message], app: App, day_of: Callable[[Message], date] | None = None
) -> dict[str, dict[date, Counter[str]]]:
    """The counts a day of each mailbox that the request's filters choose, of the whole time."""
    mailboxes = {message.mailbox_id for message in sent} - {""}
    if request.campaign_id is not None:
        mailboxes &= {message.mailbox_id for message in _filtered(request, _inside(request, sent), app)}
    days: dict[str, dict[date, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for message in _of_domain(request, sent, app):
        if message.mailbox_id in mailboxes:
            hard = {"hard_bounced"} if message.is_hard_bounced else set()
            days[message.mailbox_id][(day_of or _day)(message)].update(message.counts | hard)
    return days


def _weighted_mean(mailboxes: Iterable[Mapping[date, Counter[str]]], on: date) -> Fraction | None:
    """Of the mailboxes' unrounded scores on a day, each by what it sent in 30 days; None where none has a score."""
    points, weight = Fraction(0), 0
    for days in mailboxes:
        score = mailbox_score(days, on)
        if score is not None:
            sent = _days_back(days, on, 29, 0)["sent"]
            points, weight = points + sent * score, weight + sent
    return points / weight if weight else None


def _is_blacklisted(lists: Mapping[str, Any] | None) -> bool:
    """Of each list: true, or an object whose `listed` is true."""
    return any(entry is True or (isinstance(entry, Mapping) and entry.get("listed") is True) for entry in (lists or {}).values())


# ---- heatmap


def engagement_heatmap(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a weekday and period of the day, or hour, with or without mail, Monday first; rates and scores in per cent."""
    counts = _week(request, mail, app)
    hours = PERIODS if request.granularity == "period" else {str(hour): (hour, hour + 1) for hour in range(24)}
    rows: list[Row] = []
    for weekday, name in enumerate(WEEKDAYS):
        for cell, (first, end) in hours.items():
            count: Counter[str] = Counter()
            for hour in range(first, end):
                count.update(counts[weekday, hour])
            rows.append(
                {
                    "day_of_week": name,
                    "time_period": cell if request.granularity == "period" else None,
                    "hour": first if request.granularity == "hour" else None,
                    "emails_sent": count["sent"],
                    "emails_opened": count["opened"],
                    "open_rate": rate(count["opened"], count["sent"]),
                    "engagement_score": rounded(engagement_score(count), 2),
                }
            )
    return rows


def heatmap_timezone(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row, the zone of the cells."""
    return [{"timezone": zone_of(request, app)}]


def optimal_send_time(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row, the hour of the week with the highest lower bound (scores in per cent); or nulls, and the reason."""
    zone = ZoneInfo(zone_of(request, app))

    def local_hour(message: Message) -> tuple[date, int]:
        local = _sent_at(message).astimezone(zone)
        return local.date(), local.hour

    return [best_send_time(_counts_by(_of_campaign(request, _inside(request, _sent(request, mail))), local_hour))]


def engagement_score(counts: Mapping[str, int]) -> Fraction:
    """Unrounded, in per cent; 0 where nothing was sent."""
    engaged = 3 * counts["opened"] + 4 * counts["clicked"] + 3 * counts["replied"]
    return 100 * _share(engaged, 10 * counts["sent"])


def zone_of(request: Request, app: App) -> str:
    """The requested IANA zone, else the workspace's, else UTC."""
    if request.timezone is not None:
        return request.timezone
    return app.timezone if app.timezone is not None and app.timezone in _zones() else "UTC"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _week(request: Request, mail: Iterable[Message], app: App) -> defaultdict[Slot, Counter[str]]:
    """Counts of the window's mail by weekday (0 is Monday) and hour of its sending, by the local clock."""
    zone = ZoneInfo(zone_of(request, app))

    def slot(message: Message) -> Slot:
        local = _sent_at(message).astimezone(zone)
        return (local.weekday(), local.hour)

    return _counts_by(_of_campaign(request, _inside(request, _sent(request, mail))), slot)


# ---- timing


def delay_percentiles(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a kind of delay that any message has: the delays of the messages at three places of their order."""
    rows: list[Row] = []
    for kind, buckets in _delays(_of_campaign(request, _inside(request, _sent(request, mail)))).items():
        number = sum(buckets.values())
        rows.append(
            {
                "delay": kind,
                "messages": number,
                **{
                    f"p{percent}_seconds": _to_places(_delay_at(math.ceil(Fraction(number * percent, 100)), buckets), 1)
                    for percent in (50, 90, 95)
                },
            }
        )
    return rows


def delay_histogram(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a kind of delay and bucket with messages."""
    rows: list[Row] = []
    for kind, buckets in _delays(_of_campaign(request, _inside(request, _sent(request, mail)))).items():
        until = 0
        for bucket in sorted(buckets):
            until += buckets[bucket]
            rows.append(
                {
                    "delay": kind,
                    "from_seconds": _to_places(2 ** ((bucket - 1) / 4) if bucket else 0, 2),
                    "to_seconds": _to_places(2 ** (bucket / 4), 2) if bucket < LAST_BUCKET else None,
                    "messages": buckets[bucket],
                    "cumulative_share": rate(until, sum(buckets.values())),
                }
            )
    return rows


def engagement_maturity(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row an age: the share of the engagement that was there at it, of the 90 days of mail up to 14 days before the end."""
    last = request.end - timedelta(days=14)
    old = [message for message in _sent(request, mail) if last - timedelta(days=89) <= _day(message) <= last]
    by_kind = _delays(old)
    rows: list[Row] = []
    for hours in (1, 3, 6, 12, 24, 48, 72, 120, 168, 336):
        row: Row = {"age_hours": hours}
        for kind in DELAYS[1:]:
            buckets = by_kind.get(kind, Counter())
            number = sum(buckets.values())
            # the part of each bucket that is before this age
            there = sum(
                messages * max(0.0, min(1.0, 4 * math.log(hours * 3600) / math.log(2) - (bucket - 1)))
                for bucket, messages in buckets.items()
            )
            row[f"{kind}_share"] = _to_places(100 * there / number, 1) if number else None
            row[f"emails_{kind}"] = number
        rows.append(row)
    return rows


# from 97 days on
LAST_BUCKET = 93


def _delays(messages: Iterable[Message]) -> dict[str, Counter[int]]:
    """The numbers of messages in each bucket, by the kind of delay, in the order of kinds."""
    buckets: dict[str, Counter[int]] = {kind: Counter() for kind in DELAYS}
    for message in messages:
        for kind, bucket in delays(message).items():
            buckets[kind][bucket] += 1
    return {kind: counts for kind, counts in buckets.items() if counts}


def _delay_at(place: int, buckets: Counter[int]) -> float:
    """The seconds of the message at this place (from 1), as if those of a bucket were spread evenly over it, by logarithms."""
    before = 0
    for bucket in sorted(buckets):
        if place <= before + buckets[bucket]:
            part = (place - before - 0.5) / buckets[bucket]
            if bucket == 0:
                return part
            return float(2 ** ((bucket - 1 + (0 if bucket == LAST_BUCKET else part)) / 4))
        before += buckets[bucket]
    raise ValueError(place)


def _to_places(number: float, places: int) -> Decimal:
    """Rounded half up from 15 digits, as PostgreSQL makes a numeric of a double."""
    return Decimal(f"{number:.15g}").quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


# ---- exports


def messages(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """Every message sent in the window, of the requested campaigns, or with any campaign or none."""
    sent = _sent(request, mail)
    names = _all_campaigns(sent, app)
    return [
        {
            "message_id": message.message_id,
            "campaign_id": message.campaign_id,
            "campaign_name": names.get(message.campaign_id),
            "mailbox_id": message.mailbox_id,
            "domain_id": message.domain_id,
            "recipient_domain": message.recipient_domain,
            "sent_at": message.sent_at,
            "is_hard_bounced": message.is_hard_bounced,
            "bounce_reason": LABELS[message.bounce_reason] if message.bounce_reason else None,
            **{
                f"is_{count}": count in message.counts
                for count in (
                    *("delivered", "bounced", "opened", "clicked", "replied", "complained", "unsubscribed"),
                    *("human_opened", "human_clicked"),
                )
            },
        }
        for message in _inside(request, sent)
        if _is_exported(request, message.campaign_id)
    ]


def export_campaigns(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """The requested campaigns that exist, or all campaigns, by id."""
    names = _all_campaigns(_sent(request, mail), app)
    return [
        {"campaign_id": campaign_id, "campaign_name": names[campaign_id]}
        for campaign_id in sorted(names)
        if _is_exported(request, campaign_id)
    ]


def export_size(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """How many campaigns and messages the two above have."""
    return [
        {
            "campaigns": len(export_campaigns(request, mail, app, now)),
            "messages": len(messages(request, mail, app, now)),
        }
    ]


def _is_exported(request: Request, campaign_id: str) -> bool:
    return request.campaign_id in (None, campaign_id) and (not request.campaign_ids or campaign_id in request.campaign_ids)


# ---- which mail


def _sent(request: Request, mail: Iterable[Message]) -> list[Message]:
    return [message for message in mail if message.workspace_id == request.workspace_id and message.sent_at is not None]


def _sent_at(message: Message) -> datetime:
    assert message.sent_at is not None
    return message.sent_at


def _day(message: Message) -> date:
    """The day of sending in UTC."""
    return _sent_at(message).astimezone(UTC).date()


def _inside(request: Request, sent: Iterable[Message]) -> list[Message]:
    return [message for message in sent if request.start <= _day(message) <= request.end]


def _of_campaign(request: Request, sent: Iterable[Message]) -> list[Message]:
    return [message for message in sent if request.campaign_id in (None, message.campaign_id)]


def _of_domain(request: Request, sent: Iterable[Message], app: App) -> list[Message]:
    return [message for message in sent if request.domain_id in (None, domain_of(message, app))]


def _filtered(request: Request, sent: Iterable[Message], app: App) -> list[Message]:
    return _of_domain(request, _of_campaign(request, sent), app)


def domain_of(message: Message, app: App) -> str:
    """The domain of the message's mailbox, else the message's own."""
    of_mailbox = {mailbox.mailbox_id: mailbox.domain_id for mailbox in app.mailboxes}
    return of_mailbox.get(message.mailbox_id) or message.domain_id


# ---- against the period before


def campaign_previous_period(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """The numbers of each campaign in as many days as the window has, directly before it."""
    return _previous(campaign_performance, request, mail, app, now, leave_out=("campaign_name",))


def campaign_change(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """What changed of each of them."""
    return _changed(campaign_performance, request, mail, app, now, leave_out=("campaign_name",))


def overview_previous_period(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row; the numbers of campaigns are of no window."""
    return _previous(workspace_overview, request, mail, app, now, leave_out=("total_campaigns", "active_campaigns"))


def overview_change(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row."""
    return _changed(workspace_overview, request, mail, app, now, leave_out=("total_campaigns", "active_campaigns"))


def deliverability_previous_period(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row."""
    return _previous(deliverability, request, mail, app, now)


def deliverability_change(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row."""
    return _changed(deliverability, request, mail, app, now)


def _previous(
    mart: Mart, request: Request, mail: Iterable[Message], app: App, now: datetime, leave_out: Sequence[str] = ()
) -> list[Row]:
    days = (request.end - request.start).days + 1
    before = replace(request, start=request.start - timedelta(days=days), end=request.start - timedelta(days=1))
    return [
        {"start_date": before.start, "end_date": before.end, **{name: row[name] for name in row if name not in leave_out}}
        for row in mart(before, mail, app, now)
    ]


def _changed(
    mart: Mart, request: Request, mail: Iterable[Message], app: App, now: datetime, leave_out: Sequence[str] = ()
) -> list[Row]:
    mail = list(mail)
    before = _previous(mart, request, mail, app, now, leave_out)
    return [
        {name: _change(name, row[name], old[name]) for name in row if name not in leave_out}
        for row, old in zip(mart(request, mail, app, now), before, strict=True)
    ]


def _change(name: str, now: Any, before: Any) -> Any:
    """Of a count in per cent, of a rate or score the difference; ids stay."""
    if isinstance(now, str):
        return now
    if now is None or before is None:
        return None
    if isinstance(now, Decimal) or name == "health_score":
        return now - before
    return rounded(Fraction(100 * (now - before), before), 2) if before else None


# ---- lists


def campaign_list(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a campaign of the requested status; with a requested domain, those that sent its mail in the window."""
    sent = _sent(request, mail)
    of_campaign = _by(_of_domain(request, _inside(request, sent), app), lambda message: message.campaign_id)
    statuses = {campaign.campaign_id: campaign.status for campaign in app.campaigns}
    return [
        {
            "campaign_id": campaign_id,
            "campaign_name": name,
            "campaign_status": statuses.get(campaign_id),
            **_listed(of_campaign[campaign_id]),
        }
        for campaign_id, name in _all_campaigns(sent, app).items()
        if request.status in (None, statuses.get(campaign_id)) and (request.domain_id is None or of_campaign[campaign_id])
    ]


def campaign_order(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """The same, without the status."""
    rows = campaign_list(request, mail, app, now)
    return [{name: value for name, value in row.items() if name != "campaign_status"} for row in rows]


def mailbox_list(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a mailbox; with a campaign, those that it sent from; with a domain, its own and those that sent its mail."""
    sent = _sent(request, mail)
    of_mailbox = _by(_filtered(request, _inside(request, sent), app), lambda message: message.mailbox_id)
    domains = _mailbox_domains(sent, app)
    return [
        {
            "mailbox_id": mailbox_id,
            "email": mailbox_id,
            "mailbox_provider": None,
            "mailbox_status": None,
            "domain_id": domain_id,
            **_listed(of_mailbox[mailbox_id]),
        }
        for mailbox_id, domain_id in domains.items()
        if of_mailbox[mailbox_id] or (request.campaign_id is None and request.domain_id in (None, domain_id))
    ]


def domain_list(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a sending domain; with a campaign, those that it sent from."""
    sent = _sent(request, mail)
    of_domain = _by(_of_campaign(request, _inside(request, sent)), lambda message: domain_of(message, app))
    own = Counter(_mailbox_domains(sent, app).values())
    names = {domain_id: domain_id for domain_id in {*own, *(message.domain_id for message in sent)} if domain_id}
    names |= {domain_id: f"{domain_id}.example" for domain_id in app.domains}
    return [
        {"domain_id": domain_id, "domain": name, "mailboxes": own[domain_id], **_listed(of_domain[domain_id])}
        for domain_id, name in names.items()
        if request.campaign_id is None or of_domain[domain_id]
    ]


def link_list(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a link that was clicked in the mail of the window, of all campaigns or the requested one."""
    clicked = [message for message in _of_campaign(request, _inside(request, _sent(request, mail))) if message.links]
    all_clicks = sum(clicks for message in clicked for clicks, _ in message.links.values())
    rows: list[Row] = []
    for link in {link for message in clicked for link in message.links if link}:
        of_link = [message for message in clicked if link in message.links]
        clicks, human_clicks = (sum(message.links[link][part] for message in of_link) for part in (0, 1))
        rows.append(
            {
                "link": link,
                "campaigns": len({message.campaign_id for message in of_link if message.campaign_id}),
                "last_sent_on": max(map(_day, of_link)),
                "emails_clicked": len(of_link),
                "human_emails_clicked": sum(message.links[link][1] > 0 for message in of_link),
                "clicks": clicks,
                "human_clicks": human_clicks,
                "share_of_clicks": rate(clicks, all_clicks),
            }
        )
    return rows


def mailbox_health(request: Request, mail: Iterable[Message], app: App, now: datetime) -> list[Row]:
    """One row a mailbox with a score on the window's last day: what its four factors measured and cost, in per cent."""
    sent = _sent(request, mail)
    domains = _mailbox_domains(sent, app)
    rows = []
    for mailbox_id, days in _mailbox_days(request, sent, app).items():
        score, before = (mailbox_score(days, day) for day in (request.end, request.start))
        if score is None:
            continue
        month = _days_back(days, request.end, 29, 0)
        week, week_before = (_days_back(days, request.end, *back)["sent"] for back in ((6, 0), (13, 7)))
        drop = _share(week_before - week, week_before) if week_before >= MIN_SENT_FOR_A_DROP else Fraction(0)
        factors = {
            "hard_bounce": ("hard_bounce_rate", _share(month["hard_bounced"], month["sent"])),
            "spam_complaint": ("spam_complaint_rate", _share(month["complained"], month["sent"])),
            "unsubscribe": ("unsubscribe_rate", _share(month["unsubscribed"], month["delivered"])),
            "drop_of_sent": ("drop_of_sent", drop),
        }
        rows.append(
            {
                "mailbox_id": mailbox_id,
                "email": mailbox_id,
                "domain_id": domains[mailbox_id],
                "health_score": int(rounded(score, 0)),
                "health_score_change": None if before is None else int(rounded(score, 0)) - int(rounded(before, 0)),
                "sent_last_30_days": month["sent"],
                "sent_per_day": rounded(Fraction(week, 7), 1),
                **{factor: rounded(100 * max(value, Fraction(0)), 2) for factor, value in factors.values()},
                **{f"{name}_cost": rounded(100 * FACTORS[factor].lost(value), 2) for name, (factor, value) in factors.items()},
            }
        )
    return rows


def _by(messages: Iterable[Message], key: Callable[[Message], Key]) -> defaultdict[Key, list[Message]]:
    found: defaultdict[Key, list[Message]] = defaultdict(list)
    for message in messages:
        found[key(message)].append(message)
    return found


def _listed(messages: Sequence[Message]) -> Row:
    """The numbers of a row of a list."""
    counts = _total(messages)
    return {
        "last_sent_on": max(map(_day, messages), default=None),
        **_summary(counts),
        "hard_bounces": sum(message.is_hard_bounced for message in messages),
        **_rates(counts, RATES),
    }


def _mailbox_domains(sent: Iterable[Message], app: App) -> dict[str, str | None]:
    """The domain of every mailbox that the app has or that ever sent, by id."""
    mailboxes: dict[str, str | None] = {message.mailbox_id: None for message in sent if message.mailbox_id}
    return mailboxes | {mailbox.mailbox_id: mailbox.domain_id or None for mailbox in app.mailboxes}


# ---- which campaigns


def _all_campaigns(sent: Iterable[Message], app: App) -> dict[str, str]:
    """The name of every campaign that the app has or that ever sent, by id."""
    names = {message.campaign_id: message.campaign_id for message in sent if message.campaign_id}
    return names | {campaign.campaign_id: campaign.name or campaign.campaign_id for campaign in app.campaigns}


def _campaigns(request: Request, sent: Iterable[Message], app: App) -> dict[str, str]:
    names = _all_campaigns(sent, app)
    return {campaign: name for campaign, name in names.items() if request.campaign_id in (None, campaign)}


def _compared(request: Request, sent: Iterable[Message], app: App) -> dict[str, str]:
    names = _all_campaigns(sent, app)
    return {campaign: names[campaign] for campaign in request.campaign_ids or sorted(names) if campaign in names}


# ---- which days


def _days(request: Request) -> list[date]:
    return [request.start + timedelta(days=number) for number in range((request.end - request.start).days + 1)]


def _bucket(request: Request, day: date) -> date:
    """The first day inside the window of the day, ISO week or month."""
    first = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[request.group_by]
    return max(first, request.start)


# ---- numbers


def rounded(value: Fraction, places: int) -> Decimal:
    """Half away from zero, as PostgreSQL's numeric; 0 places give an integer."""
    units = math.floor(abs(value) * 10**places + Fraction(1, 2))
    return Decimal(units if value >= 0 else -units).scaleb(-places)


def _share(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)


def _total(sent: Iterable[Message]) -> Counter[str]:
    return _counts_by(sent, lambda message: "")[""]


def _counts_by(sent: Iterable[Message], key: Callable[[Message], Key]) -> defaultdict[Key, Counter[str]]:
    counts: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for message in sent:
        counts[key(message)].update(message.counts)
        counts[key(message)].update(message.sums)
        counts[key(message)]["hard_bounced"] += message.is_hard_bounced
        counts[key(message)]["deferred"] += "first_deferred_at" in message.first_times
    return counts


def _summary(counts: Mapping[str, int]) -> Row:
    return {
        "emails_sent": counts["sent"],
        "emails_delivered": counts["delivered"],
        "emails_bounced": counts["bounced"],
        "emails_opened": counts["opened"],
        "emails_clicked": counts["clicked"],
        "emails_replied": counts["replied"],
        "spam_complaints": counts["complained"],
        "unsubscribes": counts["unsubscribed"],
    }


def _human(counts: Mapping[str, int]) -> Row:
    """Of messages with an open or click that is not marked as a machine's; and how many of the events say it at all."""
    events = counts["opens_and_clicks"]
    return {
        "human_emails_opened": counts["human_opened"],
        "human_emails_clicked": counts["human_clicked"],
        **_rates(counts, HUMAN_RATES),
        "human_coverage": rate(counts["classified_opens_and_clicks"], events) if events else None,
    }


def _rates(counts: Mapping[str, int], rates: Mapping[str, tuple[str, str]]) -> Row:
    return {name: rate(counts[part], counts[whole]) for name, (part, whole) in rates.items()}


# every mart of mail, by its name; data_quality is of events (reference.rejected), freshness of builds
MARTS: dict[str, Mart] = {
    mart.__name__: mart
    for mart in (
        campaign_performance,
        campaign_series,
        campaign_steps,
        campaign_links,
        campaign_link_totals,
        comparison,
        significance,
        rate_intervals,
        sample_ratio,
        unknown_campaigns,
        workspace_overview,
        workspace_series,
        top_campaigns,
        deliverability,
        top_bounce_reasons,
        reputation_trend,
        blacklist_status,
        provider_performance,
        provider_limits,
        unknown_domains,
        delay_percentiles,
        delay_histogram,
        engagement_maturity,
        heatmap_timezone,
        engagement_heatmap,
        optimal_send_time,
        messages,
        export_campaigns,
        export_size,
        campaign_list,
        campaign_order,
        mailbox_list,
        domain_list,
        link_list,
        mailbox_health,
        campaign_previous_period,
        campaign_change,
        overview_previous_period,
        overview_change,
        deliverability_previous_period,
        deliverability_change,
        campaign_local_series,
        workspace_local_series,
        local_reputation_trend,
    )
}
