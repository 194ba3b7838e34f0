"""The answer to a query once more, in plain Python over messages and events: slow, obvious, and from the definitions alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from tests.integration.warehouse.events import App, Event
from tests.integration.warehouse.reference import KNOWN_TYPES, Message, bare_domain, times_of_counts
from tests.integration.warehouse.reference_marts import domain_of, rounded, wilson_lower_bound

Value = dict[str, Any]
Row = dict[str, Any]
Counts = Mapping[str, int]

# numerator and denominator, of counts
RATES: dict[str, tuple[Callable[[Counts], int], Callable[[Counts], int]]] = {
    "delivery_rate": (lambda n: n["delivered"], lambda n: n["sent"]),
    "bounce_rate": (lambda n: n["bounced"], lambda n: n["sent"]),
    "hard_bounce_rate": (lambda n: n["hard_bounced"], lambda n: n["sent"]),
    "soft_bounce_rate": (lambda n: n["bounced"] - n["hard_bounced"], lambda n: n["sent"]),
    "spam_rate": (lambda n: n["complained"], lambda n: n["sent"]),
    "open_rate": (lambda n: n["opened"], lambda n: n["delivered"]),
    "click_rate": (lambda n: n["clicked"], lambda n: n["delivered"]),
    "click_to_open_rate": (lambda n: n["clicked"], lambda n: n["opened"]),
    "reply_rate": (lambda n: n["replied"], lambda n: n["delivered"]),
    "unsubscribe_rate": (lambda n: n["unsubscribed"], lambda n: n["delivered"]),
    "human_open_rate": (lambda n: n["human_opened"], lambda n: n["delivered"]),
    "human_click_rate": (lambda n: n["human_clicked"], lambda n: n["delivered"]),
    "estimated_inbox_placement_rate": (lambda n: n["sent"] - n["bounced"] - n["complained"], lambda n: n["sent"]),
    "human_coverage": (lambda n: n["classified_opens_and_clicks"], lambda n: n["opens_and_clicks"]),
}
DERIVED: dict[str, Callable[[Counts], int]] = {
    "soft_bounced": lambda n: n["bounced"] - n["hard_bounced"],
    "neither_bounced_nor_complained": lambda n: n["sent"] - n["bounced"] - n["complained"],
}


@dataclass(frozen=True)
class Counted:
    """What is counted at a time: a message with its counts, or an event."""

    at: datetime
    dimensions: Mapping[str, str]
    counts: Counts


def counted_messages(messages: Iterable[Message], app: App) -> list[Counted]:
    """The messages that were sent."""
    return [
        Counted(
            message.sent_at,
            {
                "campaign": message.campaign_id,
                "mailbox": message.mailbox_id,
                "domain": domain_of(message, app),
                "recipient_provider": message.recipient_provider,
                "recipient_domain": bare_domain(message.recipient_domain),
                "sequence": message.sequence_id or "",
                "step": message.step or "",
                "variant": message.variant or "",
                # only what bounced has a reason, and is in rows by reason
                **({"bounce_reason": message.bounce_reason} if message.bounce_reason else {}),
            },
            Counter(message.counts)
            + Counter({"hard_bounced": int(message.is_hard_bounced), "deferred": int("first_deferred_at" in message.first_times)})
            + Counter(message.sums),
        )
        for message in messages
        if message.sent_at is not None
    ]


def counted_messages_by_event(messages: Iterable[Message], app: App) -> list[Counted]:
    """Each count of the messages that were sent, at the time of the event that makes them count."""
    return [
        Counted(
            at,
            {"campaign": message.campaign_id, "mailbox": message.mailbox_id, "domain": domain_of(message, app)},
            {count: 1},
        )
        for message in messages
        if message.sent_at is not None
        for count, at in times_of_counts(message).items()
    ]


def counted_clicks(messages: Iterable[Message]) -> list[Counted]:
    """The clicks on each link of the messages that were sent, at the time of sending."""
    return [
        Counted(
            message.sent_at,
            {"campaign": message.campaign_id, "link": link},
            {"clicks": clicks, "human_clicks": human_clicks},
        )
        for message in messages
        if message.sent_at is not None
        for link, (clicks, human_clicks) in message.links.items()
    ]


def counted_events(events: Iterable[Event]) -> list[Counted]:
    """Events of known types; all are native ones."""
    return [
        Counted(event.occurred_at, {"provider": "native", "event_type": event.event_type or ""}, {"events": 1})
        for event in events
        if event.occurred_at is not None and event.event_type in KNOWN_TYPES
    ]


def as_json(value: Any) -> Any:
    """Numbers as a response has them."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return {name: as_json(item) for name, item in value.items()} if isinstance(value, dict) else value


def answer(body: Mapping[str, Any], counted: Iterable[Counted], first: date, last: date) -> tuple[list[Row], dict[str, Value]]:
    """All rows of a query over a window, in their order, and the totals."""
    zone = ZoneInfo(body.get("timezone", "UTC"))
    shift = _shift(body.get("compare"), first, last)
    granularity = body.get("granularity", "")
    groups: dict[tuple[Any, ...], dict[str, Counter[str]]] = {}
    if granularity and not body["dimensions"]:
        groups = {(bucket,): _periods() for bucket in _buckets(granularity, zone, first, last)}
    totals = _periods()
    used = {*body["dimensions"], *(condition["dimension"] for condition in body.get("filters", []))}
    for item in counted:
        local = item.at.astimezone(zone)
        for period, days in (("current", 0), ("previous", shift)):
            if period == "previous" and not shift:
                continue
            day = local.date() + timedelta(days=days)
            if not first <= day <= last:
                continue
            moved = local if period == "current" else _resolve(local.replace(tzinfo=None) + timedelta(days=days), zone)
            values = {**item.dimensions, "weekday": day.isoweekday(), "hour_of_day": local.hour}
            if not used <= values.keys():
                continue
            if not all(_is_counted(values, condition) for condition in body.get("filters", [])):
                continue
            bucket = (_bucket(granularity, moved, day, first),) if granularity else ()
            key = (*bucket, *(values[name] for name in body["dimensions"]))
            groups.setdefault(key, _periods())[period].update(item.counts)
            totals[period].update(item.counts)
    if not granularity and not body["dimensions"]:
        groups.setdefault((), _periods())
    rows = [(key, _values(body["metrics"], periods, is_compared=bool(shift))) for key, periods in groups.items()]
    names = [*(["time"] if granularity else []), *body["dimensions"]]
    for order in reversed(_order(body, names)):
        field = order["field"]
        rows.sort(key=partial(_sort_key, field, names), reverse=order.get("direction") == "desc")
        # null is last, in both directions
        rows.sort(key=partial(_is_null, field, names))
    return (
        [_row(names, key, metrics, zone) for key, metrics in rows],
        _values(body["metrics"], totals, is_compared=bool(shift)),
    )


def _order(body: Mapping[str, Any], names: list[str]) -> list[dict[str, str]]:
    order = list(body.get("order_by", []))
    if not order and "granularity" not in body:
        order = [{"field": body["metrics"][0], "direction": "desc"}]
    return order + [{"field": name} for name in names if name not in [item["field"] for item in order]]


def _sort_key(field: str, names: list[str], row: tuple[tuple[Any, ...], dict[str, Value]]) -> Any:
    if field in names:
        return row[0][names.index(field)]
    value = row[1][field]["value"]
    return Decimal(0) if value is None else value


def _is_null(field: str, names: list[str], row: tuple[tuple[Any, ...], dict[str, Value]]) -> bool:
    return field not in names and row[1][field]["value"] is None


def _row(names: list[str], key: tuple[Any, ...], metrics: dict[str, Value], zone: ZoneInfo) -> Row:
    values = dict(zip(names, key, strict=True))
    moment = values.pop("time", None)
    text = moment.astimezone(zone).isoformat() if isinstance(moment, datetime) else moment and moment.isoformat()
    return {
        **({"time": text} if text else {}),
        "dimensions": {name: str(value) for name, value in values.items()},
        "metrics": metrics,
    }


def _periods() -> dict[str, Counter[str]]:
    return {"current": Counter(), "previous": Counter()}


def _is_counted(values: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    is_named = str(values[condition["dimension"]]) in condition["values"]
    return is_named if condition.get("operator", "in") == "in" else not is_named


def _shift(compare: str | None, first: date, last: date) -> int:
    if compare == "previous_year":
        return 364
    days = (last - first).days + 1
    while days % 7:
        days += 1
    return days if compare else 0


def _bucket(granularity: str, moment: datetime, day: date, first: date) -> date:
    if granularity == "hour":
        return _hour(moment)
    return max(_first_day(granularity, day), first)


def _first_day(granularity: str, day: date) -> date:
    return {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[granularity]


def _hour(local: datetime) -> datetime:
    """The first moment of the local hour: an instant, because the hour comes twice when clocks are set back."""
    return local.astimezone(UTC) - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def _buckets(granularity: str, zone: ZoneInfo, first: date, last: date) -> list[date]:
    if granularity != "hour":
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return list(dict.fromkeys(max(_first_day(granularity, day), first) for day in days))
    moment = _resolve(datetime.combine(first, time(0)), zone).astimezone(UTC)
    end = _resolve(datetime.combine(last + timedelta(days=1), time(0)), zone)
    hours: dict[datetime, None] = {}
    while moment < end:
        hours[_hour(moment.astimezone(zone))] = None
        moment += timedelta(minutes=15)
    return list(hours)


def _resolve(local: datetime, zone: ZoneInfo) -> datetime:
    """PostgreSQL's reading of a local time: one that comes twice is the second, one that is skipped counts from before."""
    readings = [local.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    offsets = [reading.utcoffset() or timedelta(0) for reading in readings]
    return (readings[1] if offsets[0] > offsets[1] else readings[0]).astimezone(UTC).astimezone(zone)


def _values(metrics: Iterable[str], periods: Mapping[str, Counts], *, is_compared: bool) -> dict[str, Value]:
    result: dict[str, Value] = {}
    for metric in metrics:
        value = _value(metric, periods["current"])
        result[metric] = {"value": value, **_interval(metric, periods["current"])}
        if is_compared:
            previous = _value(metric, periods["previous"])
            result[metric] |= {"previous": previous, "change": _change(metric, value, previous)}
    return result


def _value(metric: str, counts: Counts) -> Decimal | int | None:
    if metric in RATES:
        numerator, denominator = (part(counts) for part in RATES[metric])
        if not denominator:
            return None if metric == "human_coverage" else Decimal(0)
        return rounded(Fraction(100 * numerator, denominator), 2)
    if metric == "engagement_score":
        engaged = 30 * counts["opened"] + 40 * counts["clicked"] + 30 * counts["replied"]
        return rounded(Fraction(engaged, counts["sent"]), 2) if counts["sent"] else Decimal(0)
    return DERIVED[metric](counts) if metric in DERIVED else counts[metric]


def _interval(metric: str, counts: Counts) -> Value:
    if metric not in RATES:
        return {}
    successes, trials = (part(counts) for part in RATES[metric])
    # on a day of events, what is counted above is no part of what is counted below
    if not trials or not 0 <= successes <= trials:
        return {"low": None, "high": None}
    low, high = wilson_lower_bound(successes, trials), 1 - wilson_lower_bound(trials - successes, trials)
    return {"low": _per_cent(low), "high": _per_cent(high)}


def _per_cent(share: Decimal) -> Decimal:
    return (100 * share).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _change(metric: str, value: Decimal | int | None, previous: Decimal | int | None) -> Decimal | None:
    if value is None or previous is None:
        return None
    if metric in RATES:
        return Decimal(value) - Decimal(previous)
    if not previous:
        return None
    return rounded(Fraction(100 * (Fraction(value) - Fraction(previous))) / abs(Fraction(previous)), 2)
