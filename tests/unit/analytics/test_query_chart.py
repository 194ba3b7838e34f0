"""The document of a query's chart, of values that a careless one would draw wrong."""

from __future__ import annotations

from typing import Any

from api.analytics.query.chart import document_of_chart
from api.contract.semantic_layer import Dimension, Metric, SemanticLayer

LAYER = SemanticLayer(
    metrics={"sent": Metric("sent", "Sent", "Messages sent.", unit="count")},
    dimensions={"link": Dimension("link", "Link", "A link.", "string")},
)
BODY = {"metrics": ["sent"], "dimensions": ["link"]}


def document(*links: str, **changes: Any) -> dict[str, Any]:
    rows = [{"dimensions": {"link": link}, "metrics": {"sent": {"value": number}}} for number, link in enumerate(links)]
    meta: dict[str, Any] = {"next_cursor": None, "data_as_of": "2026-11-27T00:00:00Z", "definitions": {"link": {}}}
    return document_of_chart(LAYER, {**BODY, **changes}, {"data": {"rows": rows}, "meta": meta})


def test_long_texts_are_cut_and_stay_apart() -> None:
    values = document("x" * 1000 + "a", "x" * 1000 + "b", "")["data"]["values"]
    parts = [row["part"] for row in values]
    assert len(set(parts)) == 3
    assert all(len(part) <= 120 for part in parts)
    assert parts[2] == "(none)"
    assert [row["value"] for row in values] == [0, 1, 2]


def test_markup_and_the_end_of_a_script_are_texts() -> None:
    hostile = "</script><img src=x onerror=alert(1)>\u202e"
    shown = document(hostile)
    assert shown["data"]["values"][0]["part"] == hostile
    # Vega-Lite runs expressions and loads pictures: neither is made of data
    assert hostile not in str({**shown, "data": {}})
