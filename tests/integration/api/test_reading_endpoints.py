"""The other reading endpoints and the comparison: the specification's shapes, and errors that name the parameter."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from werkzeug.test import TestResponse

from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE

HEATMAP = f"{WORKSPACE}/analytics/engagement-heatmap"
DELIVERABILITY = f"{WORKSPACE}/analytics/deliverability"
COMPARE = f"{WORKSPACE}/analytics/compare"


def post(caller: Caller, path: str, body: Any = None, **options: Any) -> TestResponse:
    content = {"json": body} if body is not None else {}
    return caller.client.post(
        f"/api/v1/workspaces/{path}", headers={"Authorization": f"Bearer {caller.key}"}, **content, **options
    )


def test_overview_has_the_specifications_shape(caller: Caller) -> None:
    data = caller.get(f"{WORKSPACE}/analytics/overview").get_json()["data"]
    assert list(data) == [
        "workspace_id",
        "time_range",
        "summary",
        "rates",
        "engagement_by_human",
        "top_campaigns",
    ]
    assert data["workspace_id"] == WORKSPACE
    assert data["summary"]["total_campaigns"] == 3
    assert data["summary"]["active_campaigns"] == 2
    # the example's, and one message of a campaign that has mail but no row in raw.campaigns
    assert data["summary"]["emails_sent"] == 5001
    assert data["rates"]["open_rate"] == 30.0
    assert data["engagement_by_human"]["coverage"] == 21.57
    assert data["top_campaigns"][0]["campaign_id"] == CAMPAIGN
    assert set(data["top_campaigns"][0]) == {"campaign_id", "campaign_name", "open_rate", "reply_rate"}


def test_deliverability_has_the_specifications_shape(caller: Caller) -> None:
    data = caller.get(DELIVERABILITY).get_json()["data"]
    assert data["workspace_id"] == WORKSPACE
    assert data["overall"].keys() == {"estimated_inbox_placement_rate", "spam_rate", "bounce_rate", "health_score"}
    assert data["overall"]["bounce_rate"] == 2.0
    bounces = data["bounce_analysis"]
    assert bounces["hard_bounces"] + bounces["soft_bounces"] == 100
    assert sum(reason["count"] for reason in bounces["top_bounce_reasons"]) == 100
    assert data["blacklist_status"] == {"any_ip_blacklisted": False, "ips_checked": 0, "last_check": None}
    of_campaign = caller.get(DELIVERABILITY, campaignId="cmp_of_mail_alone").get_json()["data"]
    assert of_campaign["bounce_analysis"]["hard_bounces"] == 0


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"campaignId": "cmp_theirs"}, 404, "CAMPAIGN_NOT_FOUND"),
        ({"domainId": "nobody's"}, 404, "DOMAIN_NOT_FOUND"),
        ({"timeRange": "custom"}, 422, "VALIDATION_ERROR"),
        ({"startDate": "2025-01-01"}, 422, "VALIDATION_ERROR"),
        ({"campaignId": ""}, 422, "VALIDATION_ERROR"),
        ({"campaignId": "a\0b"}, 422, "VALIDATION_ERROR"),
    ],
)
def test_invalid_deliverability_filters_are_rejected(caller: Caller, query: dict[str, str], status: int, code: str) -> None:
    response = caller.get(DELIVERABILITY, **query)
    assert (response.status_code, response.get_json()["error"]["code"]) == (status, code)


def test_providers_have_limits_and_differences(caller: Caller) -> None:
    data = caller.get(f"{WORKSPACE}/analytics/providers").get_json()["data"]
    assert list(data) == ["time_range", "providers", "limits"]
    (provider,) = data["providers"]
    # the example names no recipients: one message of 5,000 is no difference from any other
    assert (provider["recipient_provider"], provider["difference_from_others"]) == ("unknown", None)
    assert provider["summary"]["emails_sent"] == 5001
    # each message of the example was delivered after a minute
    assert 60 / 1.19 < provider["delivery_seconds"]["p50"] < 60 * 1.19
    # 5 complaints of 5,001 messages are less than 0.1 %
    assert (provider["status"], provider["limits"]) == ("ok", {"spam_rate": "ok", "hard_bounce_rate": "ok"})
    assert [(limit["recipient_provider"], limit["metric"], limit["critical_at"]) for limit in data["limits"]] == [
        ("google", "spam_rate", 0.3),
        (None, "hard_bounce_rate", 10),
        (None, "spam_rate", 0.5),
    ]
    of_campaign = caller.get(f"{WORKSPACE}/analytics/providers", campaignId="cmp_of_mail_alone").get_json()["data"]
    assert [(row["status"], row["delivery_seconds"]) for row in of_campaign["providers"]] == [("too_few", None)]
    unknown = caller.get(f"{WORKSPACE}/analytics/providers", campaignId="cmp_theirs")
    assert (unknown.status_code, unknown.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")


def test_steps_of_a_campaign(caller: Caller) -> None:
    (step,) = caller.get(f"{WORKSPACE}/campaigns/{CAMPAIGN}/steps").get_json()["data"]["steps"]
    # the example names no steps
    assert (step["sequence_id"], step["step"], step["variant"]) == (None, None, None)
    assert (step["summary"]["emails_sent"], step["rates"]["open_rate"]) == (5000, 30.0)
    assert step["engagement_by_human"]["emails_opened"] == 1100
    assert caller.get(f"{WORKSPACE}/campaigns/cmp_idle/steps").get_json()["data"]["steps"] == []
    unknown = caller.get(f"{WORKSPACE}/campaigns/cmp_theirs/steps")
    assert (unknown.status_code, unknown.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")


def test_links_of_a_campaign(caller: Caller) -> None:
    data = caller.get(f"{WORKSPACE}/campaigns/{CAMPAIGN}/links").get_json()["data"]
    assert list(data) == ["campaign_id", "campaign_name", "time_range", "summary", "links"]
    assert data["summary"] == {
        "emails_delivered": 4900,
        "emails_clicked": 245,
        "human_emails_clicked": 245,
        "links": 1,
        "clicks": 245,
        "human_clicks": 245,
    }
    # the example's clicks name no URL
    (link,) = data["links"]
    assert (link["link"], link["emails_clicked"], link["share_of_clicks"]) == (None, 245, 100.0)
    unknown = caller.get(f"{WORKSPACE}/campaigns/cmp_theirs/links")
    assert (unknown.status_code, unknown.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")


def test_timing_of_a_campaign_and_of_all(caller: Caller) -> None:
    data = caller.get(f"{WORKSPACE}/analytics/timing", campaignId=CAMPAIGN).get_json()["data"]
    assert list(data) == ["time_range", "percentiles", "histogram", "maturity"]
    delivered, opened, clicked, replied = data["percentiles"]
    assert [row["messages"] for row in data["percentiles"]] == [4900, 1470, 245, 98]
    # each event of the example is a minute after the one before: off by less than a bucket's width
    for row, seconds in ((delivered, 60), (opened, 120), (clicked, 180), (replied, 240)):
        assert all(seconds / 1.19 < row[name] < seconds * 1.19 for name in ("p50_seconds", "p90_seconds", "p95_seconds")), row
    assert sum(row["messages"] for row in data["histogram"] if row["delay"] == "opened") == 1470
    # the example's mail is ten days old: too young to be final
    assert [row["opened_share"] for row in data["maturity"]] == [None] * 10
    of_all = caller.get(f"{WORKSPACE}/analytics/timing").get_json()["data"]
    assert of_all["percentiles"] == data["percentiles"]
    unknown = caller.get(f"{WORKSPACE}/analytics/timing", campaignId="cmp_theirs")
    assert (unknown.status_code, unknown.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")


def test_heatmap_has_28_or_168_cells(caller: Caller) -> None:
    data = caller.get(HEATMAP).get_json()["data"]
    assert data["timezone"] == "UTC"
    assert len(data["heatmap"]) == 28
    assert data["heatmap"][0].keys() == {
        "day_of_week",
        "time_period",
        "emails_sent",
        "emails_opened",
        "open_rate",
        "engagement_score",
    }
    assert data["heatmap"][0]["day_of_week"] == "Monday"
    assert sum(cell["emails_sent"] for cell in data["heatmap"]) == 5001
    best = data["optimal_send_time"]
    assert list(best) == ["day_of_week", "hour", "engagement_score", "emails_sent", "estimated_score", "low", "high", "lift"]
    # all of the example's opens are of mail that was sent before 10 o'clock
    assert (best["hour"], best["emails_sent"]) == (9, 3600)
    assert data["optimal_send_time_reason"] is None

    hours = caller.get(HEATMAP, granularity="hour", timezone="Asia/Kathmandu").get_json()["data"]
    assert hours["timezone"] == "Asia/Kathmandu"
    assert len(hours["heatmap"]) == 168
    assert [cell["hour"] for cell in hours["heatmap"][:24]] == list(range(24))
    assert "time_period" not in hours["heatmap"][0]

    nothing = caller.get(HEATMAP, campaignId="cmp_idle").get_json()["data"]
    assert nothing["optimal_send_time"] is None
    assert nothing["optimal_send_time_reason"] == "TOO_LITTLE_DATA"
    assert {cell["open_rate"] for cell in nothing["heatmap"]} == {0.0}


# localtime and posixrules are files in the zone folder of some machines; Factory means that no zone is set
@pytest.mark.parametrize(
    "zone",
    [
        *("Mars/Base", "PST", "UTC+3", "europe/berlin", "", "../etc/passwd", "Europe/Berlin\0"),
        *("localtime", "posixrules", "Factory"),
    ],
)
def test_unknown_time_zones_are_rejected(caller: Caller, zone: str) -> None:
    response = caller.get(HEATMAP, timezone=zone)
    assert response.status_code == 422
    assert set(response.get_json()["error"]["details"]) == {"timezone"}


def test_time_zone_that_only_postgresql_does_not_know_is_rejected(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.contract.parameters.TIME_ZONES", frozenset({"Europe/Atlantis", "UTC"}))
    response = caller.get(HEATMAP, timezone="Europe/Atlantis")
    assert response.status_code == 422
    assert set(response.get_json()["error"]["details"]) == {"timezone"}
    assert caller.get(HEATMAP, timezone="UTC").status_code == 200


def test_comparison_keeps_the_requested_order(caller: Caller) -> None:
    requested = ["cmp_of_mail_alone", CAMPAIGN, "cmp_idle"]
    data = post(caller, COMPARE, {"campaign_ids": requested, "metrics": ["delivery_rate", "bounce_rate"]}).get_json()["data"]
    assert [row["campaign_id"] for row in data["comparison"]] == requested
    assert data["comparison"][1]["metrics"] == {"delivery_rate": 98.0, "bounce_rate": 2.0}
    assert [row["metric"] for row in data["statistical_significance"]] == ["delivery_rate", "bounce_rate"]
    # one message against 5,000 is too little data
    assert data["statistical_significance"][0] == {
        "metric": "delivery_rate",
        "winner": None,
        "p_value": None,
        "is_significant": False,
        "leading": CAMPAIGN,
        "runner_up": "cmp_of_mail_alone",
        # Newcombe's interval of 4,900 of 5,000 and 0 of 1
        "lead": {"difference": 98.0, "low": 18.65, "high": 98.35},
        "needed_sample_size": 3,
    }
    assert data["confidence_intervals"][1] == {
        "campaign_id": CAMPAIGN,
        "metric": "delivery_rate",
        "successes": 4900,
        "trials": 5000,
        "low": 97.57,
        "high": 98.35,
    }
    assert data["sample_ratio"] is None
    by_default = post(caller, COMPARE, {"campaign_ids": requested}).get_json()["data"]
    assert list(by_default["comparison"][0]["metrics"]) == ["delivery_rate", "open_rate", "click_rate", "reply_rate"]
    assert by_default["time_range"]["period"] == "30d"


def test_a_split_that_was_not_as_planned(caller: Caller) -> None:
    body = {"campaign_ids": [CAMPAIGN, "cmp_of_mail_alone"], "expected_shares": [1, 1]}
    assert post(caller, COMPARE, body).get_json()["data"]["sample_ratio"] == {"p_value": pytest.approx(0), "is_mismatch": True}
    as_sent = {**body, "expected_shares": [5000, 1]}
    assert post(caller, COMPARE, as_sent).get_json()["data"]["sample_ratio"] == {"p_value": None, "is_mismatch": False}


@pytest.mark.parametrize(
    ("body", "status", "code", "parameters"),
    [
        ({}, 422, "VALIDATION_ERROR", {"campaign_ids"}),
        ([], 422, "VALIDATION_ERROR", {"body"}),
        ({"campaign_ids": [CAMPAIGN]}, 422, "VALIDATION_ERROR", {"campaign_ids"}),
        ({"campaign_ids": [CAMPAIGN, CAMPAIGN]}, 422, "VALIDATION_ERROR", {"campaign_ids"}),
        ({"campaign_ids": [f"c{n}" for n in range(11)]}, 422, "VALIDATION_ERROR", {"campaign_ids"}),
        ({"campaign_ids": [CAMPAIGN, 7]}, 422, "VALIDATION_ERROR", {"campaign_ids"}),
        ({"campaign_ids": [CAMPAIGN, "a\0"]}, 422, "VALIDATION_ERROR", {"campaign_ids"}),
        ({"campaign_ids": [CAMPAIGN, "\ud800"]}, 422, "VALIDATION_ERROR", {"campaign_ids"}),
        ({"campaign_ids": "ab"}, 422, "VALIDATION_ERROR", {"campaign_ids"}),
        ({"campaign_ids": [CAMPAIGN, "cmp_theirs"]}, 404, "CAMPAIGN_NOT_FOUND", set()),
        ({"campaign_ids": [CAMPAIGN, "cmp_idle"], "metrics": ["luck"]}, 422, "VALIDATION_ERROR", {"metrics"}),
        ({"campaign_ids": [CAMPAIGN, "cmp_idle"], "metrics": []}, 422, "VALIDATION_ERROR", {"metrics"}),
        ({"campaign_ids": [CAMPAIGN, "cmp_idle"], "expected_shares": [1]}, 422, "VALIDATION_ERROR", {"expected_shares"}),
        ({"campaign_ids": [CAMPAIGN, "cmp_idle"], "expected_shares": [1, 1, 1]}, 422, "VALIDATION_ERROR", {"expected_shares"}),
        ({"campaign_ids": [CAMPAIGN, "cmp_idle"], "expected_shares": [1, 0]}, 422, "VALIDATION_ERROR", {"expected_shares"}),
        ({"campaign_ids": [CAMPAIGN, "cmp_idle"], "expected_shares": [1, "half"]}, 422, "VALIDATION_ERROR", {"expected_shares"}),
        ({"campaign_ids": [CAMPAIGN, "cmp_idle"], "colour": 1}, 422, "VALIDATION_ERROR", {"colour"}),
        ({"campaign_ids": [CAMPAIGN, "cmp_idle"], "start_date": "2025-01-01"}, 422, "VALIDATION_ERROR", {"start_date"}),
        (
            {
                "campaign_ids": [CAMPAIGN, "cmp_idle"],
                "time_range": "custom",
                "start_date": "2025-01-02",
                "end_date": "2025-01-01",
            },
            400,
            "INVALID_TIME_RANGE",
            {"start_date", "end_date"},
        ),
    ],
)
def test_comparison_errors_name_the_parameters(caller: Caller, body: Any, status: int, code: str, parameters: set[str]) -> None:
    response = post(caller, COMPARE, body)
    error = response.get_json()["error"]
    assert (response.status_code, error["code"], set(error.get("details", {}))) == (status, code, parameters)


@pytest.mark.parametrize(
    ("sent", "content_type", "status", "code", "name"),
    [
        (b"{", "application/json", 400, "MALFORMED_REQUEST", "body"),
        (b'{"a": NaN}', "application/json", 400, "MALFORMED_REQUEST", "body"),
        (b"\xff", "application/json", 400, "MALFORMED_REQUEST", "body"),
        (b"[" * 60_000, "application/json", 400, "MALFORMED_REQUEST", "body"),
        (b"", "application/json", 400, "MALFORMED_REQUEST", "body"),
        # half of a surrogate pair: a name that no response could contain
        (b'{"\\ud800": 1}', "application/json", 400, "MALFORMED_REQUEST", "body"),
        (b'{"metrics": 1, "metrics": 2}', "application/json", 422, "VALIDATION_ERROR", "metrics"),
        (b"{}", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type"),
        (b" " * 70_000, "application/json", 413, "CONTENT_TOO_LARGE", "body"),
    ],
)
def test_invalid_bodies_are_rejected(caller: Caller, sent: bytes, content_type: str, status: int, code: str, name: str) -> None:
    response = post(caller, COMPARE, data=sent, content_type=content_type)
    error = response.get_json()["error"]
    assert (response.status_code, error["code"], list(error["details"])) == (status, code, [name])


def test_malformed_json_is_located(caller: Caller) -> None:
    response = post(caller, COMPARE, data=b'{\n  "metrics": }', content_type="application/json")
    assert response.get_json()["error"]["details"] == {"body": ["Expecting value: line 2, column 14."]}


@pytest.mark.parametrize(
    ("sent", "status"), [(b'{"campaign_ids": ["%s", "cmp_idle"]}' % CAMPAIGN.encode(), 200), (b" " * 70_000, 413)]
)
def test_chunked_bodies_are_limited_too(running: str, key: str, sent: bytes, status: int) -> None:
    # there is no Content-Length
    connection = http.client.HTTPConnection(urlsplit(running).netloc, timeout=30)
    chunks = (sent[place : place + 10_000] for place in range(0, len(sent), 10_000))
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", f"/api/v1/workspaces/{COMPARE}", chunks, headers, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, orjson.loads(response.read())["success"]) == (status, status == 200)
    connection.close()


def test_data_quality_without_problems(caller: Caller) -> None:
    assert caller.get(f"{WORKSPACE}/analytics/data-quality").get_json()["data"] == {"problems": [], "left_out": []}


@pytest.mark.parametrize("path", ["overview", "deliverability", "engagement-heatmap", "data-quality"])
def test_other_workspace_is_forbidden(caller: Caller, path: str) -> None:
    assert caller.get(f"ws_other/analytics/{path}").status_code == 403


def test_campaigns_of_another_workspace_cannot_be_compared(caller: Caller) -> None:
    assert post(caller, "ws_other/analytics/compare", {"campaign_ids": ["a", "b"]}).status_code == 403
