"""Exports of queries: the file has the rows of the query's answer, in every format, and is refused for the same reasons."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.contract.publication import read_publication
from api.db.connection import connect
from api.exports.query import snapshot
from tests.integration.exports.conftest import EMPTY_WORKSPACE, OTHER_WORKSPACE, Exporter
from tests.integration.exports.test_contents import WINDOW, as_csv, as_ndjson, as_parquet, as_sheets, escaped

# each with what makes its file different: a series with its comparison, hours of another zone, whole numbers and null, one row
QUERIES: dict[str, dict[str, Any]] = {
    "series": {
        "metrics": ["open_rate", "sent", "engagement_score"],
        "dimensions": ["domain", "campaign"],
        "granularity": "week",
        "compare": "previous_period",
        "order_by": [{"field": "sent", "direction": "desc"}, {"field": "campaign"}],
        **WINDOW,
    },
    "hours": {"metrics": ["sent"], "dimensions": ["campaign"], "granularity": "hour", "timezone": "Asia/Kathmandu"},
    "weekdays": {
        "metrics": ["human_coverage", "bounced"],
        "dimensions": ["weekday"],
        "filters": [{"dimension": "campaign", "operator": "not_in", "values": ["cmp_rtl"]}],
    },
    "one row": {"metrics": ["sent", "delivery_rate"]},
    "links": {"metrics": ["clicks"], "dimensions": ["link"], "time_range": "90d"},
    "events": {"metrics": ["events"], "dimensions": ["event_type"], "basis": "event"},
}


def answer(exporter: Exporter, query: dict[str, Any]) -> dict[str, Any]:
    """The response to a query, with all of its rows."""
    response = exporter.call("POST", "query", json={**query, "limit": 1000})
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.get_json()
    assert content["meta"]["next_cursor"] is None
    return content


def flat_row(query: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """A row of a response as a flat file has it."""
    time = {"time": datetime.fromisoformat(row["time"])} if "time" in row else {}
    dimensions = {
        name: int(row["dimensions"][name]) if name == "weekday" else row["dimensions"][name]
        for name in query.get("dimensions", [])
    }
    return {**time, **dimensions, **flat_metrics(query, row["metrics"])}


def flat_metrics(query: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        name if part == "value" else f"{name}_{part}": value for name in query["metrics"] for part, value in metrics[name].items()
    }


def as_utc(value: Any, granularity: str) -> Any:
    """The time of a file as a datetime in UTC, as `flat_row` has it."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return datetime.combine(value, datetime.min.time())
    return value.replace(tzinfo=UTC) if granularity == "hour" else value


@pytest.mark.parametrize("name", QUERIES)
def test_every_format_has_the_rows_of_the_answer(exporter: Exporter, name: str) -> None:
    query = QUERIES[name]
    content = answer(exporter, query)
    expected = [flat_row(query, row) for row in content["data"]["rows"]]
    assert len(expected) > (0 if name in ("one row", "links") else 3)
    body = {"export_type": "query", "query": query}

    def times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {column: as_utc(value, query["granularity"]) if column == "time" else value for column, value in row.items()}
            for row in rows
        ]

    found = as_ndjson(exporter, **body)
    assert [list(row) for row in found] == [list(row) for row in expected]
    assert times(found) == expected
    assert times(as_parquet(exporter, **body)) == expected
    sheets = as_sheets(exporter, **body)
    assert list(sheets) == ["query", "totals", "definitions"]
    assert times(sheets["query"]) == expected
    assert sheets["totals"] == [flat_metrics(query, content["data"]["totals"])]
    definitions = {row.pop("name"): {key: text for key, text in row.items() if text} for row in sheets["definitions"]}
    assert definitions == content["meta"]["definitions"]
    for row, wanted in zip(times(as_csv(exporter, **body)), expected, strict=True):
        for column, value in wanted.items():
            if isinstance(value, str):
                assert row[column] == (escaped(value) if value else "")
            elif column == "time":
                assert row[column] == value
            else:
                assert (float(row[column]) if row[column] else None) == value, column


@pytest.mark.parametrize("name", QUERIES)
def test_a_json_file_has_the_objects_of_the_answer(exporter: Exporter, name: str) -> None:
    query = QUERIES[name]
    content = answer(exporter, query)
    file = json.loads(exporter.download(export_type="query", format="json", query=query))
    assert file.pop("data") == content["data"]["rows"]
    assert (file["totals"], file["time_range"]) == (content["data"]["totals"], content["data"]["time_range"])
    assert file["definitions"] == content["meta"]["definitions"]
    assert file.get("compare") == content["meta"].get("compare")
    assert (file["workspace_id"], file["export_type"]) == (exporter.workspace_id, "query")


def test_the_first_rows(exporter: Exporter) -> None:
    query = {**QUERIES["series"], "limit": 3}
    rows = [flat_row(query, row) for row in answer(exporter, query)["data"]["rows"]]
    assert len(rows) > 3
    found = as_csv(exporter, export_type="query", query=query)
    assert [row["sent"] for row in found] == [str(row["sent"]) for row in rows[:3]]


def test_more_rows_than_a_file_may_have_are_no_file(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_ROWS", 3)
    body: dict[str, Any] = {"export_type": "query", "query": QUERIES["series"]}
    for form in ("csv", "json", "xlsx"):
        export_id = exporter.request(**body, format=form)["export_id"]
        exporter.attempt(export_id)
        status = exporter.status(export_id)
        assert (status["status"], status["download_url"]) == ("failed", None)
        assert status["error"]["message"].startswith("Failed to generate export: the query has more than ")
    # as many as there may be
    assert len(as_csv(exporter, export_type="query", query={**QUERIES["series"], "limit": 3})) == 3


@pytest.mark.parametrize(
    "query",
    [
        {"metrics": ["open_rat"]},
        {"metrics": ["sent"], "dimensions": ["Campaign"]},
        {"metrics": ["sent"], "filters": [{"dimension": "mail_box", "values": ["x"]}]},
        {"metrics": ["sent"], "order_by": [{"field": "open_rate"}]},
        {"metrics": ["sent"], "filters": [{"dimension": "weekday", "values": ["Monday"]}]},
        {"metrics": ["bounce_rate"], "dimensions": ["bounce_reason"]},
        {"metrics": ["sent", "deferred"], "timezone": "Asia/Kolkata"},
        {"metrics": ["sent"], "timezone": "Mars/Base"},
        {"metrics": ["events"]},
        {"metrics": []},
        {},
        {"metrics": ["sent"], "time_range": "custom"},
        {"metrics": ["sent"], "time_range": "custom", "start_date": "2025-02-01", "end_date": "2025-01-01"},
        {"metrics": ["sent"], "time_range": "custom", "start_date": "0001-01-01", "end_date": "0001-02-01"},
    ],
)
def test_a_query_is_refused_with_the_same_sentences(exporter: Exporter, query: dict[str, Any]) -> None:
    refused = exporter.call("POST", "query", json=query)
    assert refused.status_code in (400, 422)
    error = refused.get_json()["error"]
    sentences = [f"{name}: {message}" for name, messages in error["details"].items() for message in messages]
    found = exporter.call("POST", "export", json={"export_type": "query", "format": "csv", "query": query})
    assert found.status_code == refused.status_code
    assert (found.get_json()["error"]["code"], found.get_json()["error"]["details"]) == (error["code"], {"query": sentences})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"query": None}, "query"),
        ({"query": "sent"}, "query"),
        ({"query": {"metrics": ["sent"], "cursor": "x"}}, "query"),
        ({"query": {"metrics": ["sent"], "limit": 0}}, "query"),
        ({"query": {"metrics": ["sent"], "limit": 1_000_001}}, "query"),
        ({"time_range": "30d"}, "time_range"),
        ({"start_date": "2025-01-01"}, "start_date"),
        ({"campaign_ids": ["cmp_plain"]}, "campaign_ids"),
        ({"include_time_series": True}, "include_time_series"),
        ({"timezone": "UTC"}, "timezone"),
        ({"export_type": "messages"}, "query"),
    ],
)
def test_an_invalid_field_is_named(exporter: Exporter, change: dict[str, Any], named: str) -> None:
    body = {"export_type": "query", "format": "csv", "query": {"metrics": ["sent"]}, **change}
    response = exporter.call("POST", "export", json=body)
    assert response.status_code == 422, response.text
    assert list(response.get_json()["error"]["details"]) == [named]


def test_a_missing_query_is_named(exporter: Exporter) -> None:
    response = exporter.call("POST", "export", json={"export_type": "query", "format": "csv"})
    assert response.get_json()["error"]["details"] == {"query": ["Required for exports of type query."]}
    response = exporter.call(
        "POST", "export", json={"export_type": "query", "format": "csv", "query": {"metrics": ["sent"]}, "time_range": "7d"}
    )
    assert response.get_json()["error"]["details"] == {
        "time_range": ["An export of a query has its time range in query.time_range."]
    }


def test_a_file_has_no_other_tenants_rows(exporter_of: Callable[[str], Exporter]) -> None:
    query = {"metrics": ["sent"], "dimensions": ["campaign"]}
    theirs = as_ndjson(exporter_of(OTHER_WORKSPACE), export_type="query", query=query)
    assert theirs == [{"campaign": "cmp_plain", "sent": 7}]


@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "xlsx", "parquet"])
def test_a_query_without_rows_has_no_file(exporter_of: Callable[[str], Exporter], form: str) -> None:
    exporter = exporter_of(EMPTY_WORKSPACE)
    query = {"metrics": ["sent"], "dimensions": ["campaign"]}
    export_id = exporter.request(export_type="query", format=form, query=query)["export_id"]
    exporter.attempt(export_id)
    assert exporter.status(export_id)["error"]["message"] == "Failed to generate export: insufficient data"


def test_the_same_request_is_one_export(exporter: Exporter) -> None:
    headers = {"Idempotency-Key": "query-once"}
    body = {"export_type": "query", "format": "csv", "query": QUERIES["series"]}
    first, again = (exporter.call("POST", "export", json=body, headers=headers) for _ in range(2))
    assert first.get_json()["data"]["export_id"] == again.get_json()["data"]["export_id"]
    other = exporter.call(
        "POST", "export", json={**body, "query": {**QUERIES["series"], "metrics": ["sent"], "order_by": []}}, headers=headers
    )
    assert other.status_code == 422


def test_a_query_is_of_the_day_of_its_request(exporter: Exporter) -> None:
    query = {"metrics": ["sent"], "granularity": "day", "time_range": "7d"}
    export_id = exporter.request(export_type="query", format="ndjson", query=query)["export_id"]
    with connect(exporter.settings, "mailmart_owner") as connection:
        # as if it had waited for ten days
        connection.execute(
            "update app.exports set resolved = jsonb_set(jsonb_set(resolved, '{context,mailmart.range_end}', to_jsonb(%s::text)),"
            " '{context,mailmart.range_start}', to_jsonb(%s::text)) where export_id = %s",
            *[
                (
                    (datetime.now(UTC) - timedelta(days=10)).date().isoformat(),
                    (datetime.now(UTC) - timedelta(days=17)).date().isoformat(),
                    export_id,
                )
            ],
        )
    exporter.attempt(export_id)
    status = exporter.status(export_id)
    content = exporter.client.get(status["download_url"].removeprefix(exporter.settings.public_url), buffered=True).data
    days = [json.loads(line)["time"] for line in content.splitlines()]
    assert (days[0], days[-1], len(days)) == (
        (datetime.now(UTC) - timedelta(days=17)).date().isoformat(),
        (datetime.now(UTC) - timedelta(days=10)).date().isoformat(),
        8,
    )


@contextmanager
def contract_without(exporter: Exporter, *path: str) -> Iterator[None]:
    """Removes a part of the contract that is published."""
    with connect(exporter.settings, "mailmart_owner", autocommit=True) as connection:
        publication = read_publication(connection, exporter.settings.target)
        assert publication is not None
        change = "update app.publications set contract = %s where batch_id = %s"
        contract = json.loads(json.dumps(publication.manifest))
        parent = contract
        for name in path[:-1]:
            parent = parent[name]
        del parent[path[-1]]
        try:
            connection.execute(change, (json.dumps(contract), publication.batch_id))
            yield
        finally:
            connection.execute(change, (json.dumps(publication.manifest), publication.batch_id))


def test_a_query_whose_metric_is_removed_meanwhile_fails_and_says_so(exporter: Exporter) -> None:
    query = {"metrics": ["sent", "engagement_score"], "dimensions": ["campaign"]}
    export_id = exporter.request(export_type="query", format="csv", query=query)["export_id"]
    with contract_without(exporter, "metrics", "metric.mailmart.engagement_score"):
        exporter.attempt(export_id)
    status = exporter.status(export_id)
    assert status["status"] == "failed"
    assert status["error"]["message"].startswith(
        "Failed to generate export: the query cannot be answered any more: metrics: 1: Unknown metric engagement_score. "
    )
    # at the first attempt: another one would fail, too
    with connect(exporter.settings, "mailmart_owner") as connection:
        attempts = connection.execute("select attempts from app.exports where export_id = %s", (export_id,)).fetchone()
    assert attempts == (1,)
    # and one whose fact is removed
    export_id = exporter.request(export_type="query", format="csv", query=QUERIES["links"])["export_id"]
    with contract_without(exporter, "semantic_models", "semantic_model.mailmart.link_days"):
        exporter.attempt(export_id)
    message = exporter.status(export_id)["error"]["message"]
    assert message.startswith("Failed to generate export: the query cannot be answered any more: "), message
