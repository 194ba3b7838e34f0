"""POST /analytics/query over the specification's example: numbers, intervals, pages, and errors that say what could be asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from api.analytics.query.cursor import encode_cursor
from api.analytics.query.plan import choose_fact
from api.analytics.query.request import resolve_query
from api.analytics.query.statement import rows_statement
from api.contract.publication import read_publication
from api.contract.semantic_layer import Fact, Metric, SemanticLayer
from api.db.connection import connect
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, DAYS_AGO, WORKSPACE
from tests.integration.api.test_reading_endpoints import post

QUERY = f"{WORKSPACE}/analytics/query"


FORGED = {"metrics": ["sent"], "dimensions": ["campaign", "weekday"]}
# with its defaults, as a cursor's hash has it
FORGED_BODY = {**FORGED, "filters": [], "time_range": "30d", "timezone": "UTC", "basis": "sent", "order_by": []}


def query(caller: Caller, path: str = QUERY, **body: Any) -> dict[str, Any]:
    response = post(caller, path, body)
    assert response.status_code == 200, response.get_json()
    content: dict[str, Any] = response.get_json()
    return content


def refusal(caller: Caller, **body: Any) -> dict[str, list[str]]:
    response = post(caller, QUERY, body)
    assert response.status_code == 422, response.get_json()
    details: dict[str, list[str]] = response.get_json()["error"]["details"]
    return details


def listed_rows(caller: Caller, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = caller.get(f"{WORKSPACE}/{path}").get_json()["data"][path]
    return found


def test_one_row_without_dimensions_is_the_total(caller: Caller) -> None:
    content = query(caller, metrics=["sent", "open_rate", "soft_bounced", "engagement_score"])
    (row,) = content["data"]["rows"]
    assert row["dimensions"] == {}
    assert row["metrics"] == content["data"]["totals"]
    # the example's messages, and one of a campaign that only mail knows
    assert row["metrics"]["sent"] == {"value": 5001}
    assert row["metrics"]["open_rate"]["value"] == 30.0
    assert content["meta"]["definitions"]["open_rate"] == {
        "label": "Open rate",
        "description": "Messages opened, in per cent of those delivered.",
        "unit": "percent",
        "formula": "opened / delivered",
    }
    assert content["meta"]["next_cursor"] is None
    assert content["data"]["time_range"]["period"] == "30d"


@pytest.mark.parametrize(("rate", "successes", "trials"), [("open_rate", 1470, 4900), ("spam_rate", 5, 5000)])
def test_a_rate_has_its_wilson_interval(caller: Caller, rate: str, successes: int, trials: int) -> None:
    # it takes a second to import, in each process that collects the tests
    from scipy.stats import binomtest

    campaign = [{"dimension": "campaign", "values": [CAMPAIGN]}]
    value = query(caller, metrics=[rate], filters=campaign)["data"]["totals"][rate]
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    assert value["value"] == round(100 * successes / trials, 2)
    assert (value["low"], value["high"]) == pytest.approx((100 * interval.low, 100 * interval.high), abs=0.0051)


def test_rows_by_campaign_with_filters(caller: Caller) -> None:
    by_campaign = query(caller, metrics=["sent"], dimensions=["campaign"])["data"]["rows"]
    assert [(row["dimensions"]["campaign"], row["metrics"]["sent"]["value"]) for row in by_campaign] == [
        (CAMPAIGN, 5000),
        ("cmp_of_mail_alone", 1),
    ]
    without = [{"dimension": "campaign", "operator": "not_in", "values": [CAMPAIGN, "nobody"]}]
    content = query(caller, metrics=["sent"], dimensions=["campaign", "mailbox"], filters=without)["data"]
    assert content["rows"] == [
        {"dimensions": {"campaign": "cmp_of_mail_alone", "mailbox": ""}, "metrics": {"sent": {"value": 1}}},
    ]
    assert content["totals"]["sent"]["value"] == 1
    nothing = query(
        caller,
        metrics=["sent", "open_rate"],
        dimensions=["campaign"],
        filters=[
            {"dimension": "campaign", "operator": "in", "values": ["'; drop table x; --"]},
        ],
    )["data"]
    assert nothing["rows"] == []
    assert nothing["totals"] == {"sent": {"value": 0}, "open_rate": {"value": 0, "low": None, "high": None}}


def test_display_names_of_ids(caller: Caller) -> None:
    body: dict[str, Any] = {"metrics": ["sent"], "dimensions": ["campaign", "mailbox", "weekday"], "time_range": "90d"}
    plain = query(caller, **body)
    named = query(caller, **body, names=True)
    assert named["data"] == plain["data"]
    assert all("names" not in definition for definition in plain["meta"]["definitions"].values())
    listed = {
        "campaign": {row["campaign_id"]: row["campaign_name"] for row in listed_rows(caller, "campaigns")},
        "mailbox": {row["mailbox_id"]: row["email"] for row in listed_rows(caller, "mailboxes")},
    }
    for dimension, names in listed.items():
        values = {row["dimensions"][dimension] for row in plain["data"]["rows"]}
        assert named["meta"]["definitions"][dimension]["names"] == {value: names[value] for value in values if value}
    assert "names" not in named["meta"]["definitions"]["weekday"]
    # of this page only
    first = query(caller, **{**body, "dimensions": ["campaign"], "limit": 1}, names=True)
    assert len(first["meta"]["definitions"]["campaign"]["names"]) == 1
    reasons = query(caller, metrics=["bounced"], dimensions=["bounce_reason"], time_range="90d", names=True)
    assert all(name != value for value, name in reasons["meta"]["definitions"]["bounce_reason"]["names"].items())
    assert refusal(caller, **body, names="yes") == {"names": ["Not a valid boolean."]}


def test_another_tenants_rows_are_invisible(caller: Caller, other_caller: Caller) -> None:
    theirs = query(other_caller, f"{OTHER_WORKSPACE}/analytics/query", metrics=["sent"], dimensions=["campaign"])["data"]
    assert theirs["totals"]["sent"]["value"] == 10
    assert post(caller, f"{OTHER_WORKSPACE}/analytics/query", {"metrics": ["sent"]}).status_code == 403
    assert post(Caller(caller.client, ""), QUERY, {"metrics": ["sent"]}).status_code == 401


def test_a_series_without_dimensions_is_complete(caller: Caller) -> None:
    rows = query(caller, metrics=["sent", "delivered"], granularity="day")["data"]["rows"]
    today = datetime.now(UTC).date()
    assert [row["time"] for row in rows] == [(today - timedelta(days=30 - number)).isoformat() for number in range(31)]
    of_day = {row["time"]: row["metrics"]["sent"]["value"] for row in rows}
    assert of_day[(today - timedelta(days=DAYS_AGO)).isoformat()] == 5000
    assert sum(of_day.values()) == 5001


def test_compare_with_the_period_before(caller: Caller) -> None:
    today = datetime.now(UTC).date()
    # seven days around those of the example, and seven without mail
    first = today - timedelta(days=DAYS_AGO + 7)
    window = {"time_range": "custom", "start_date": str(first), "end_date": str(first + timedelta(days=6))}
    content = query(caller, metrics=["sent", "open_rate"], compare="previous_period", **window)
    assert content["data"]["totals"]["sent"] == {"value": 0, "previous": 0, "change": None}
    assert content["meta"]["compare"]["start"] == f"{first - timedelta(days=7)}T00:00:00Z"
    window = {"time_range": "custom", "start_date": str(first + timedelta(days=7)), "end_date": str(first + timedelta(days=13))}
    now = query(caller, metrics=["sent", "open_rate"], dimensions=["campaign"], compare="previous_period", **window)["data"]
    assert now["rows"][0]["metrics"]["sent"] == {"value": 5000, "previous": 0, "change": None}
    window = {"time_range": "custom", "start_date": str(first + timedelta(days=14)), "end_date": str(first + timedelta(days=20))}
    later = query(caller, metrics=["sent", "open_rate"], granularity="day", compare="previous_period", **window)["data"]
    assert later["totals"]["sent"]["previous"] == 5000
    assert later["totals"]["open_rate"]["change"] == later["totals"]["open_rate"]["value"] - 30.0
    # the example's day, a week later
    assert later["rows"][0]["metrics"]["sent"]["previous"] == 5000


def test_pages_are_the_whole(caller: Caller) -> None:
    order: list[dict[str, Any]]
    for order in (
        [],
        [{"field": "open_rate", "direction": "desc"}],
        [{"field": "human_coverage", "direction": "desc"}],
        [{"field": "weekday", "direction": "desc"}, {"field": "sent"}],
    ):
        body: dict[str, Any] = {
            "metrics": ["sent", "open_rate", "human_coverage"],
            "dimensions": ["campaign", "weekday"],
            "granularity": "day",
            "order_by": order,
        }
        whole = query(caller, **body, limit=1000)["data"]
        pages: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = query(caller, **body, limit=1, **cursor)
            assert page["data"]["totals"] == whole["totals"]
            pages += page["data"]["rows"]
            if page["meta"]["next_cursor"] is None:
                break
            cursor = {"cursor": page["meta"]["next_cursor"]}
        assert pages == whole["rows"]
        assert len(pages) >= 2
    assert list(refusal(caller, metrics=["sent"], dimensions=["campaign"], **cursor)) == ["cursor"]
    for values in ([1e300, "", 0], [True, "", 0], ["x", "", 0], [1, "a\0", 0], [1, 2, 3], [1, "", 2**40]):
        assert list(refusal(caller, **FORGED, cursor=encode_cursor(FORGED_BODY, values))) == ["cursor"]
    whole_cursor = cursor["cursor"]
    changed = [
        whole_cursor[:20] + ("A" if whole_cursor[20] != "A" else "B") + whole_cursor[21:],
        whole_cursor[:-2],
        whole_cursor + "A",
    ]
    for wrong in ("x", "!", "W10", "bm90aGluZw", "ä", *changed):
        response = post(caller, QUERY, {**body, "cursor": wrong})
        error = response.get_json()["error"]
        assert (response.status_code, error["code"]) == (422, "INVALID_CURSOR")
        assert error["details"] == {"cursor": ["Must be the next_cursor of another page, unchanged."]}
    assert refusal(caller, **{**body, "metrics": ["sent"], "order_by": []}, cursor=whole_cursor) == {
        "cursor": ["Is of another query: except for limit and names, send the body of the first page."]
    }


def test_unknown_names_say_what_is_meant(caller: Caller) -> None:
    assert refusal(caller, metrics=["open_rat"]) == {"metrics": ["0: Unknown metric open_rat. Did you mean open_rate?"]}
    assert refusal(caller, metrics=["sent"], dimensions=["Campaign"]) == {
        "dimensions": ["0: Unknown dimension Campaign. Did you mean campaign?"]
    }
    assert refusal(caller, metrics=["sent"], filters=[{"dimension": "mail_box", "values": ["x"]}]) == {
        "filters": ["0: dimension: Unknown dimension mail_box. Did you mean mailbox?"]
    }
    assert refusal(caller, metrics=["sent"], order_by=[{"field": "snet"}]) == {
        "order_by": ["0: field: Unknown field snet. Did you mean sent?"]
    }
    assert refusal(caller, metrics=["sent"], order_by=[{"field": "open_rate"}]) == {
        "order_by": ["0: field: open_rate is not in the rows. Add it to metrics or dimensions, or order by something else."]
    }
    assert refusal(caller, metrics=["sent"], granularty="day") == {"granularty": ["Unknown field. Did you mean granularity?"]}
    assert refusal(caller, metrics=["\ud800"])["metrics"][0].startswith("0: Unknown metric ?. Known: ")
    assert refusal(caller, metrics=["sent"], filters=[{"dimension": "weekday", "values": ["Monday"]}]) == {
        "filters": ["0: values: weekday is a whole number, and 'Monday' is not."]
    }


def test_what_no_fact_can_answer_says_what_could_be(caller: Caller) -> None:
    assert refusal(caller, metrics=["bounce_rate"], dimensions=["bounce_reason"]) == {
        "metrics": [
            (
                "bounce_rate is not known by bounce_reason. It is known by campaign, domain, hour_of_day, mailbox,"
                " recipient_domain, recipient_provider, sequence, step, variant and weekday."
            )
        ]
    }
    assert refusal(caller, metrics=["sent", "deferred"], timezone="Europe/Berlin", time_range="90d") == {
        "metrics": ["deferred is not known in the time zone Europe/Berlin, only by days, weeks and months of UTC."]
    }
    assert refusal(caller, metrics=["bounced"], dimensions=["recipient_domain"], timezone="Asia/Kolkata") == {
        "metrics": [
            (
                "bounced by recipient_domain is not known in the time zone Asia/Kolkata, only by days, weeks and months of UTC."
                " bounced is known in the time zone Asia/Kolkata by bounce_reason, campaign, domain, hour_of_day, mailbox and"
                " weekday."
            )
        ]
    }
    assert refusal(caller, metrics=["sent"], dimensions=["recipient_domain", "mailbox"]) == {
        "metrics": [
            (
                "sent is not known by mailbox and recipient_domain at once. It is known by campaign, domain, hour_of_day,"
                " mailbox, recipient_domain, recipient_provider, sequence, step, variant and weekday."
            )
        ]
    }
    assert refusal(caller, metrics=["opened"], dimensions=["mailbox"], granularity="hour") == {
        "metrics": [
            (
                "opened by mailbox is not known by the hour, only by days, weeks and months of UTC."
                " opened is known by the hour by campaign, hour_of_day and weekday."
            )
        ]
    }
    assert refusal(caller, metrics=["events"]) == {
        "metrics": ["events is only known by the day of the event: set basis to event."]
    }
    assert refusal(caller, metrics=["opens_and_clicks"], basis="event") == {
        "metrics": ["opens_and_clicks is only known by the day of sending: set basis to sent."]
    }
    assert refusal(caller, metrics=["opened"], dimensions=["recipient_provider"], basis="event") == {
        "metrics": ["opened is not known by recipient_provider. It is known by campaign, domain, mailbox and weekday."]
    }


def test_by_recipient_domain(caller: Caller) -> None:
    body: dict[str, Any] = {"metrics": ["sent", "delivered", "bounce_rate"], "dimensions": ["recipient_domain"]}
    content = query(caller, **body)["data"]
    assert content["totals"] == query(caller, metrics=body["metrics"])["data"]["totals"]
    assert sum(row["metrics"]["sent"]["value"] for row in content["rows"]) == content["totals"]["sent"]["value"]
    (first, *_) = content["rows"]
    of_first = {"dimension": "recipient_domain", "values": list(first["dimensions"].values())}
    only = query(caller, metrics=["sent"], filters=[of_first])
    assert only["data"]["totals"]["sent"] == first["metrics"]["sent"]
    of_others = {**of_first, "operator": "not_in"}
    others = query(caller, metrics=["sent"], filters=[of_others])["data"]["totals"]
    assert others["sent"]["value"] == content["totals"]["sent"]["value"] - first["metrics"]["sent"]["value"]
    assert refusal(caller, metrics=["sent"], dimensions=["recipient_domian"]) == {
        "dimensions": ["0: Unknown dimension recipient_domian. Did you mean recipient_domain?"]
    }


@pytest.mark.parametrize("dimensions", [["campaign"], ["mailbox", "domain"]])
def test_days_of_a_time_zone(caller: Caller, dimensions: list[str]) -> None:
    # sent from 9:00 to 10:23 in UTC: eleven hours behind, it is the evening of the day before
    body: dict[str, Any] = {
        "metrics": ["sent", "bounced", "hard_bounced", "complained", "unsubscribed", "spam_rate"],
        "dimensions": dimensions,
        "granularity": "day",
    }
    today = datetime.now(UTC).date()
    around_the_example = {
        "time_range": "custom",
        "start_date": (today - timedelta(days=DAYS_AGO + 3)).isoformat(),
        "end_date": (today - timedelta(days=DAYS_AGO - 3)).isoformat(),
    }
    days_of = {}
    for zone in ("UTC", "Pacific/Pago_Pago"):
        rows = query(caller, **body, timezone=zone, **around_the_example)["data"]["rows"]
        days_of[zone] = {(row["time"], *row["dimensions"].values()): row["metrics"] for row in rows}
    moved = {
        ((date.fromisoformat(day) - timedelta(days=1)).isoformat(), *values): metrics
        for (day, *values), metrics in days_of["UTC"].items()
    }
    assert days_of["Pacific/Pago_Pago"] == moved
    assert sum(metrics["bounced"]["value"] for metrics in moved.values()) == 100


def test_events_by_the_day_of_the_event(caller: Caller) -> None:
    rows = query(caller, metrics=["events"], dimensions=["event_type"], basis="event")["data"]["rows"]
    counts = {row["dimensions"]["event_type"]: row["metrics"]["events"]["value"] for row in rows}
    assert counts["sent"] == 5001
    assert counts["opened"] == 1470


def test_mail_by_the_day_of_the_event(caller: Caller) -> None:
    body: dict[str, Any] = {"metrics": ["sent", "delivered", "opened", "replied"], "dimensions": ["campaign"]}
    (by_sending, *_) = query(caller, **body)["data"]["rows"]
    by_event = query(caller, **body, basis="event")["data"]["rows"]
    assert by_sending == by_event[0]
    with_days = query(caller, **body, basis="event", granularity="day", time_range="90d")["data"]["rows"]
    assert sum(row["metrics"]["opened"]["value"] for row in with_days) == 1470


def test_hours_in_a_time_zone(caller: Caller) -> None:
    content = query(caller, metrics=["sent"], dimensions=["campaign"], granularity="hour", timezone="Asia/Kathmandu")["data"]
    times = {row["time"][10:] for row in content["rows"] if row["dimensions"]["campaign"] == CAMPAIGN}
    # 9:00 to 10:23 UTC
    assert times == {"T14:00:00+05:45", "T15:00:00+05:45", "T16:00:00+05:45"}
    assert content["time_range"]["start"].endswith("T00:00:00+05:45")


def test_documented(caller: Caller) -> None:
    document = caller.client.get("/openapi.json").get_json()
    operation = document["paths"]["/api/v1/workspaces/{workspaceId}/analytics/query"]["post"]
    assert operation["operationId"] == "queryMetrics"
    metric = document["components"]["schemas"]["QueryMetric"]
    assert metric["x-enum-descriptions"][metric["enum"].index("open_rate")] == "Messages opened, in per cent of those delivered."
    assert "campaign" in document["components"]["schemas"]["QueryDimension"]["enum"]


def test_dates_that_no_zone_has_are_refused(caller: Caller) -> None:
    for start, end in (("0001-01-01", "0001-02-01"), ("9999-12-01", "9999-12-31")):
        window = {"time_range": "custom", "start_date": start, "end_date": end}
        response = post(caller, QUERY, {"metrics": ["sent"], "compare": "previous_year", **window})
        assert response.status_code == 400
        assert response.get_json()["error"]["code"] == "INVALID_TIME_RANGE"


def test_the_order_of_metrics_makes_no_new_statement() -> None:
    metrics = [
        Metric("a", "A", "A.", columns=("x",), sql='"x"', change_sql="0"),
        Metric("b", "B", "B.", columns=("x", "y"), sql='"x" / nullif("y", 0)', change_sql="0"),
    ]
    layer = SemanticLayer(None, {metric.name: metric for metric in metrics})
    fact = Fact("f", "f", "f", "sent", 1, None, frozenset(), frozenset({"x", "y"}))
    body = {"dimensions": [], "filters": [], "time_range": "30d", "timezone": "UTC", "basis": "sent", "limit": 10}
    order = [{"field": "a", "direction": "asc"}]
    texts = {
        rows_statement(layer, resolve_query(layer, {**body, "metrics": names, "order_by": order}, date(2026, 1, 1)), fact)
        for names in (["a", "b"], ["b", "a"])
    }
    assert len(texts) == 1
    # what a page is not sorted by is computed for its rows, and not for all
    page = texts.pop().split("page as (")[1].split("\n)")[0]
    assert '"current x"' in page
    assert '"current y"' not in page


def test_all_mail_is_read_from_a_row_a_day(warehouse_settings: Settings) -> None:
    with connect(warehouse_settings, "mailmart_owner") as connection:
        publication = read_publication(connection, warehouse_settings.target)
    assert publication is not None
    layer = publication.contract.semantic_layer
    body = {**FORGED_BODY, "metrics": ["sent", "bounce_rate", "human_coverage"], "dimensions": ["campaign"], "limit": 10}
    query = resolve_query(layer, body, date(2026, 1, 1))
    assert choose_fact(layer, query).name == "campaign_days"
    assert choose_fact(layer, query, of_rows=False).name == "workspace_days"
    assert choose_fact(layer, replace(query, dimensions=(), granularity="day")).name == "workspace_days"
