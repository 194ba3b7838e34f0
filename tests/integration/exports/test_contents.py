"""Exported files contain what the API returns, for each type and format."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import openpyxl
import orjson
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from api.db.connection import connect
from api.exports.formats.base import JSON_OPTIONS, date_as_text, time_as_text
from tests.integration.exports.conftest import EMPTY_WORKSPACE, NAMES, Exporter

WINDOW = {
    "time_range": "custom",
    "start_date": (datetime.now(UTC) - timedelta(days=15)).date().isoformat(),
    "end_date": (datetime.now(UTC) - timedelta(days=2)).date().isoformat(),
}
QUERY = {"timeRange": "custom", "startDate": WINDOW["start_date"], "endDate": WINDOW["end_date"]}


def endpoint_data(exporter: Exporter, path: str, **query: Any) -> dict[str, Any]:
    """The data of an endpoint's response."""
    response = exporter.client.get(
        f"/api/v1/workspaces/{exporter.workspace_id}/{path}",
        query_string=query,
        headers={"Authorization": f"Bearer {exporter.key}"},
    )
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.get_json()["data"]
    return data


def as_json(exporter: Exporter, **body: Any) -> list[dict[str, Any]]:
    """The objects of a JSON export."""
    file = json.loads(exporter.download(format="json", **body))
    assert file["workspace_id"] == exporter.workspace_id
    assert file["export_type"] == body["export_type"]
    assert datetime.fromisoformat(file["data_as_of"]).tzinfo is not None
    objects: list[dict[str, Any]] = file["data"]
    return objects


def as_csv(exporter: Exporter, **body: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(exporter.download(format="csv", **body).decode(), newline="")))


def as_ndjson(exporter: Exporter, **body: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exporter.download(format="ndjson", **body).splitlines()]


def as_parquet(exporter: Exporter, **body: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(exporter.download(format="parquet", **body))).to_pylist()
    return rows


def as_sheets(exporter: Exporter, **body: Any) -> dict[str, list[dict[str, Any]]]:
    workbook = openpyxl.load_workbook(io.BytesIO(exporter.download(format="xlsx", **body)))
    sheets = {}
    for sheet in workbook:
        header, *rows = sheet.iter_rows(values_only=True)
        sheets[sheet.title] = [dict(zip(header, row, strict=True)) for row in rows]
    return sheets


def escaped(text: str) -> str:
    """A text as CSV contains it: formulas start with an apostrophe."""
    return f"'{text}" if text[0] in "=+-@" else text


def flat(data: dict[str, Any]) -> dict[str, Any]:
    """The endpoint's response for a campaign as a flat row, with the column names of the mart."""
    human = {f"human_{name.replace('emails_', 'emails_')}": value for name, value in data["engagement_by_human"].items()}
    return {
        "campaign_id": data["campaign_id"],
        "campaign_name": data["campaign_name"],
        **data["summary"],
        **data["rates"],
        **human,
    }


@pytest.fixture(scope="module")
def campaigns(exporter: Exporter) -> dict[str, dict[str, Any]]:
    """The endpoint's data for each campaign."""
    return {name: endpoint_data(exporter, f"campaigns/{name}/analytics", **QUERY) for name in sorted(NAMES)}


def test_a_json_export_of_campaigns_equals_the_endpoint(exporter: Exporter, campaigns: dict[str, dict[str, Any]]) -> None:
    actual = as_json(exporter, export_type="campaign_performance", include_time_series=True, **WINDOW)
    assert actual == list(campaigns.values())
    bare = as_json(exporter, export_type="campaign_performance", **WINDOW)
    assert bare == [{name: part for name, part in data.items() if name != "time_series"} for data in campaigns.values()]


def test_campaigns_in_every_format(exporter: Exporter, campaigns: dict[str, dict[str, Any]]) -> None:
    body = {"export_type": "campaign_performance", **WINDOW}
    expected = [flat(data) for data in campaigns.values()]
    assert [row["campaign_name"] for row in expected] == [NAMES[name] for name in sorted(NAMES)]
    assert as_ndjson(exporter, **body) == expected
    assert as_parquet(exporter, **body) == expected
    assert as_sheets(exporter, **body) == {"campaign_performance": expected}
    for row, wanted in zip(as_csv(exporter, **body), expected, strict=True):
        assert row.pop("campaign_name") == escaped(wanted["campaign_name"])
        assert row.pop("campaign_id") == wanted["campaign_id"]
        assert {name: float(text) if text else None for name, text in row.items()} == {name: wanted[name] for name in row}
        assert len(row) == len(wanted) - 2


def test_time_series_in_every_format(exporter: Exporter, campaigns: dict[str, dict[str, Any]]) -> None:
    named = ["cmp_rtl", "cmp_formula"]
    body = {"export_type": "campaign_performance", "include_time_series": True, "campaign_ids": named, **WINDOW}
    expected = [
        {"campaign_id": name, "campaign_name": NAMES[name], **point} for name in named for point in campaigns[name]["time_series"]
    ]
    assert len(expected) == 28
    dated = [{**row, "date": date.fromisoformat(row["date"])} for row in expected]
    assert as_ndjson(exporter, **body) == expected
    assert as_parquet(exporter, **body) == dated
    sheets = as_sheets(exporter, **body)
    assert list(sheets) == ["campaign_performance", "campaign_series"]
    assert sheets["campaign_performance"] == [flat(campaigns[name]) for name in named]
    assert [{**row, "date": row["date"].date()} for row in sheets["campaign_series"]] == dated
    texts = [{name: str(value) for name, value in row.items()} for row in expected]
    assert as_csv(exporter, **body) == [{**row, "campaign_name": escaped(row["campaign_name"])} for row in texts]
    weekly = as_ndjson(exporter, **body, group_by="week")
    assert [row["sent"] for row in weekly if row["campaign_id"] == "cmp_rtl"] == [
        point["sent"] for point in endpoint_data(exporter, "campaigns/cmp_rtl/analytics", **QUERY, groupBy="week")["time_series"]
    ]


def test_workspace_overview(exporter: Exporter) -> None:
    data = endpoint_data(exporter, "analytics/overview", **QUERY)
    body = {"export_type": "workspace_overview", **WINDOW}
    assert as_json(exporter, **body) == [data]
    sheets = as_sheets(exporter, **body)
    assert sheets["top_campaigns"] == data["top_campaigns"]
    (row,) = sheets["workspace_overview"]
    assert row["emails_sent"] == data["summary"]["emails_sent"]
    assert as_ndjson(exporter, **body) == [row]


def test_deliverability_of_the_workspace_and_of_campaigns(exporter: Exporter) -> None:
    data = endpoint_data(exporter, "analytics/deliverability", timeRange="30d")
    assert as_json(exporter, export_type="deliverability") == [data]
    named = ["cmp_plain", "cmp_rtl"]
    of_each = [endpoint_data(exporter, "analytics/deliverability", timeRange="30d", campaignId=name) for name in named]
    actual = as_json(exporter, export_type="deliverability", campaign_ids=named)
    assert [{key: part for key, part in item.items() if not key.startswith("campaign_")} for item in actual] == of_each
    assert [item["campaign_id"] for item in actual] == named
    sheets = as_sheets(exporter, export_type="deliverability", campaign_ids=named)
    assert list(sheets) == ["deliverability", "top_bounce_reasons", "reputation_trend", "blacklist_status"]
    assert [row["reason"] for row in sheets["top_bounce_reasons"]] == [
        reason["reason"] for item in of_each for reason in item["bounce_analysis"]["top_bounce_reasons"]
    ]
    of_domain = endpoint_data(exporter, "analytics/deliverability", timeRange="30d", domainId="-dom")
    assert as_json(exporter, export_type="deliverability", domain_id="-dom") == [of_domain]


def test_engagement_heatmap(exporter: Exporter) -> None:
    query = {"timeRange": "90d", "timezone": "Asia/Kathmandu", "granularity": "hour"}
    data = endpoint_data(exporter, "analytics/engagement-heatmap", **query)
    body = {"export_type": "engagement_heatmap", "time_range": "90d", "timezone": "Asia/Kathmandu", "granularity": "hour"}
    (actual,) = as_json(exporter, **body)
    assert actual.pop("time_range")["period"] == "90d"
    assert actual == {key: part for key, part in data.items() if key != "time_range"}
    cells = as_ndjson(exporter, **body)
    assert cells == data["heatmap"]
    assert len(cells) == 168
    (row,) = as_sheets(exporter, **body)["optimal_send_time"]
    assert row["optimal_send_time_reason"] == data["optimal_send_time_reason"]
    assert row["hour"] == (data["optimal_send_time"] or {"hour": None})["hour"]
    assert len(as_csv(exporter, export_type="engagement_heatmap")) == 28


def test_campaign_comparison(exporter: Exporter) -> None:
    named = ["cmp_rtl", "cmp_plain", "cmp_idle"]
    compared = exporter.call("POST", "compare", json={"campaign_ids": named, "metrics": ["bounce_rate", "open_rate"]})
    data = compared.get_json()["data"]
    body = {"export_type": "campaign_comparison", "campaign_ids": named, "metrics": ["bounce_rate", "open_rate"]}
    (actual,) = as_json(exporter, **body)
    assert actual == data
    rows = as_ndjson(exporter, **body)
    assert [row["campaign_id"] for row in rows] == named
    assert rows[0].keys() == {"campaign_id", "campaign_name", "bounce_rate", "open_rate"}


def test_campaign_comparison_with_planned_shares(exporter: Exporter) -> None:
    compared = {"campaign_ids": ["cmp_rtl", "cmp_plain"], "expected_shares": [1, 2]}
    data = exporter.call("POST", "compare", json=compared).get_json()["data"]
    assert data["sample_ratio"] is not None
    (actual,) = as_json(exporter, export_type="campaign_comparison", **compared)
    assert actual == data


def test_counts_of_messages_equal_the_endpoints(exporter: Exporter, campaigns: dict[str, dict[str, Any]]) -> None:
    body = {"export_type": "messages", **WINDOW}
    rows = as_ndjson(exporter, **body)
    overview = endpoint_data(exporter, "analytics/overview", **QUERY)
    assert len(rows) == overview["summary"]["emails_sent"]
    assert len({row["message_id"] for row in rows}) == len(rows)
    for name, data in campaigns.items():
        own_rows = [row for row in rows if row["campaign_id"] == name]
        summary = data["summary"]
        assert len(own_rows) == summary["emails_sent"]
        for flag in ("delivered", "bounced", "opened", "clicked", "replied"):
            assert sum(row[f"is_{flag}"] for row in own_rows) == summary[f"emails_{flag}"], (name, flag)
    assert {row["campaign_name"] for row in rows if row["campaign_id"] == ""} == {None}
    assert {row["bounce_reason"] for row in rows} == {None, "Invalid recipient", "Mailbox full", "Delivery timed out"}
    assert as_json(exporter, **body) == rows
    for row, text in zip(sorted(rows, key=by_id), sorted(as_csv(exporter, **body), key=by_id), strict=True):
        assert text["domain_id"] == ("'-dom" if row["domain_id"] else "")
        assert text["is_opened"] == str(row["is_opened"]).lower()
        assert {name: text[name] for name in row if name.endswith("_at")} == {
            name: row[name] or "" for name in row if name.endswith("_at")
        }
        assert text["bounce_reason"] == (row["bounce_reason"] or "")
    for row, other in zip(sorted(rows, key=by_id), sorted(as_parquet(exporter, **body), key=by_id), strict=True):
        assert {
            name: value and datetime.fromisoformat(value) if name.endswith("_at") else value for name, value in row.items()
        } == {name: other[name] for name in row}
    sheet = as_sheets(exporter, **body)["messages"]
    assert [row["message_id"] for row in sorted(sheet, key=by_id)] == [row["message_id"] for row in sorted(rows, key=by_id)]
    for row, cells in zip(sorted(rows, key=by_id), sorted(sheet, key=by_id), strict=True):
        # spreadsheets have no time zones, and milliseconds
        difference = cells["sent_at"].replace(tzinfo=UTC) - datetime.fromisoformat(row["sent_at"])
        assert abs(difference) <= timedelta(milliseconds=1)
    some = as_ndjson(exporter, campaign_ids=["cmp_rtl"], **body)
    assert sorted(some, key=by_id) == sorted((row for row in rows if row["campaign_id"] == "cmp_rtl"), key=by_id)


def by_id(row: dict[str, Any]) -> str:
    message_id: str = row["message_id"]
    return message_id


@pytest.mark.parametrize("export_type", ["messages", "campaign_performance"])
@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "xlsx", "parquet"])
def test_an_export_without_data_fails(exporter_of: Callable[[str], Exporter], export_type: str, form: str) -> None:
    exporter = exporter_of(EMPTY_WORKSPACE)
    export_id = exporter.request(export_type=export_type, format=form)["export_id"]
    exporter.attempt(export_id)
    status = exporter.status(export_id)
    assert status["status"] == "failed"
    assert status["error"] == {"code": "EXPORT_FAILED", "message": "Failed to generate export: insufficient data"}
    assert status["download_url"] is None
    assert status["file_size_bytes"] is None


TIMES = {
    "2026-11-14 01:00:00+00": "2026-11-14T01:00:00Z",
    "2026-11-14 01:00:00.5+00": "2026-11-14T01:00:00.500000Z",
    "2026-11-14 01:00:00.000001+00": "2026-11-14T01:00:00.000001Z",
    "2026-03-29 03:30:00+05:30": "2026-03-28T22:00:00Z",
}


def test_times_are_the_same_text_in_csv_and_json_whatever_the_session(exporter: Exporter) -> None:
    with connect(exporter.settings, "mailmart_worker") as connection:
        for time, expected in TIMES.items():
            (moment,) = connection.execute("select %s::timestamptz", (time,)).fetchone() or (None,)
            assert orjson.loads(orjson.dumps(moment, option=JSON_OPTIONS)) == expected
            for style, zone in (("ISO, MDY", "UTC"), ("German, DMY", "Asia/Kolkata"), ("SQL, MDY", "America/New_York")):
                connection.execute(sql.SQL("set local datestyle = {}; set local timezone = {}").format(style, zone))
                # compared in the database: psycopg reads no times of another DateStyle
                query = f"select {time_as_text('time')} = %s, {date_as_text('time::date')} ~ '^2026-..-..$'"
                row = connection.execute(f"{query} from (select %s::timestamptz as time) as times", (expected, time)).fetchone()
                assert row == (True, True), (time, style)
            connection.execute("set local datestyle = 'ISO, MDY'; set local timezone = 'UTC'")


def test_a_byte_order_mark_is_an_option_of_csv(exporter: Exporter) -> None:
    body = {"export_type": "workspace_overview", "format": "csv"}
    plain = exporter.download(**body)
    assert exporter.download(**body, byte_order_mark=False) == plain
    assert exporter.download(**body, byte_order_mark=True) == codecs.BOM_UTF8 + plain
    refused = exporter.call("POST", "export", json={**body, "format": "xlsx", "byte_order_mark": True})
    assert refused.status_code == 422
    assert refused.get_json()["error"]["details"] == {"byte_order_mark": ["Only allowed with the format csv."]}
