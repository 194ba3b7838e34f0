"""Charts in YAML: what is read, what an error says, and the Vega-Lite document that comes out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from api.analytics.chart_document import chart_document, rows_of
from api.analytics.chart_theme import DARK_COLOURS, LIGHT_COLOURS
from api.contract.charts import Chart
from api.contract.contract import read_contract
from api.errors import ContractError

NOW = datetime(2025, 11, 26, 2, tzinfo=UTC)
LINE = {
    "name": "sold",
    "title": "Toys sold",
    "mark": "line",
    "encoding": {"x": {"field": "date"}, "y": {"field": "rates.sold_rate"}},
}


def manifest(*charts: Any, **meta: Any) -> dict[str, Any]:
    columns: dict[str, dict[str, Any]] = {
        "date": {"data_type": "date"},
        "name": {"data_type": "text"},
        "sold": {"data_type": "bigint"},
        "returned": {"data_type": "bigint"},
        "sold_rate": {"data_type": "numeric(5, 2)", "config": {"meta": {"group": "rates"}}},
        "hidden": {"data_type": "text", "config": {"meta": {"hidden": True}}},
    }
    endpoint = {
        "path": "/toys",
        "limit": 5,
        "parameters": ["timeRange", "granularity"],
        "response": [{"object": "shop"}, {"list": "toys", "path": "toys"}, {"not_found_if_rows": "lost", "error": "NOT_FOUND"}],
    }
    model = {"schema": "marts", "columns": {name: {"name": name, "description": "It.", **it} for name, it in columns.items()}}
    shop = {"schema": "marts", "columns": {"owner": {"name": "owner", "description": "Who.", "data_type": "text"}}}
    exposure = {
        "name": "toys",
        "description": "Toys.",
        "depends_on": {"nodes": ["model.toys", "model.shop", "model.lost"]},
        "config": {"meta": {"endpoint": endpoint, "charts": list(charts), **meta}},
    }
    return {
        "exposures": {"exposure.toys": exposure},
        "nodes": {
            "model.toys": {**model, "name": "toys", "alias": "toys"},
            "model.shop": {**shop, "name": "shop", "alias": "shop"},
            "model.lost": {**shop, "name": "lost", "alias": "lost"},
        },
    }


def chart(**changes: Any) -> Chart:
    (read,) = read_contract(manifest({**LINE, **changes})).charts["toys"]
    return read


def test_a_chart_draws_the_first_list_and_knows_the_types_of_its_fields() -> None:
    document = chart_document(chart(), [{"date": "2025-11-01", "rates": {"sold_rate": 2.5}}], NOW)
    assert document["data"]["values"] == [{"date": "2025-11-01", "rates": {"sold_rate": 2.5}}]
    # "Nov 3", and which year it is
    assert "utcFormat" in document["encoding"]["x"].pop("axis")["labelExpr"]
    assert document["encoding"] == {
        # days are UTC, wherever the document is drawn
        "x": {"field": "date", "type": "temporal", "timeUnit": "utcyearmonthdate", "scale": {"type": "utc"}, "title": "Date"},
        "y": {"field": "rates.sold_rate", "type": "quantitative", "title": "Sold rate"},
    }
    assert (document["title"], document["mark"], document["width"]) == ("Toys sold", {"type": "line"}, "container")
    assert document["usermeta"]["data_as_of"] == NOW


def test_names_are_shown_in_place_of_ids_unless_two_are_alike() -> None:
    named = chart(names={"field": "name", "view": "toys", "name": "date"})
    data: dict[str, list[dict[str, Any]]] = {
        "toys": [{"name": "a", "date": "Ann", "sold": 1}, {"name": "b", "date": None, "sold": 2}]
    }
    assert [row["name"] for row in rows_of(named, data)] == ["Ann", "b"]
    alike = {"toys": [{**row, "date": "Ann"} for row in data["toys"]]}
    assert [row["name"] for row in rows_of(named, alike)] == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"field": "name", "view": "toys"}, "not a mapping of field, view and name"),
        ({"field": "name", "view": "shop", "name": "owner"}, "shop is not a list"),
        ({"field": "nam", "view": "toys", "name": "name"}, "no field nam"),
        ({"field": "name", "view": "toys", "name": "nam"}, "toys has no field nam"),
        ({"field": "rates.sold_rate", "view": "toys", "name": "name"}, "a field of a group"),
    ],
)
def test_names_that_are_not_there_are_refused(names: dict[str, str], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        chart(names=names)


def test_folded_fields_are_series_in_the_order_of_the_yaml() -> None:
    folded = chart(
        fold=["sold", "returned"],
        labels={"returned": "Brought back"},
        encoding={"x": {"field": "date"}, "y": {"field": "value"}, "color": {"field": "series"}},
    )
    document = chart_document(folded, [{"date": "2025-11-01", "name": "bear", "sold": 3, "returned": 1}], NOW)
    assert document["data"]["values"] == [
        {"date": "2025-11-01", "name": "bear", "series": "Sold", "value": 3},
        {"date": "2025-11-01", "name": "bear", "series": "Brought back", "value": 1},
    ]
    assert document["encoding"]["color"]["scale"]["domain"] == ["Sold", "Brought back"]


def test_a_text_of_a_megabyte_is_cut() -> None:
    document = chart_document(chart(), [{"name": "x" * 1_000_000}], NOW)
    assert len(document["data"]["values"][0]["name"]) == 120


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"encodin": {}}, "chart sold of exposure toys has the unknown key encodin", "Did you mean encoding?"),
        ({"encoding": {"x": {"field": "dat"}}}, "its view has no field dat", "Did you mean date?"),
        ({"encoding": {"x": {"field": "hidden"}}}, "its view has no field hidden", "Known: date"),
        ({"encoding": {"x": {"field": "name", "sort": {"field": "sould"}}}}, "no field sould", "Did you mean sold?"),
        ({"encoding": {"colour": {"field": "name"}}}, "unknown channel colour", "Did you mean color?"),
        ({"encoding": {"href": {"field": "name"}}}, "unknown channel href", "Known: "),
        ({"encoding": {"x": {"feild": "name"}}}, "the channel x .* has the unknown key feild", "Did you mean field?"),
        ({"encoding": {"x": {"field": "name", "type": "nominall"}}}, "the unknown type nominall", "Did you mean nominal?"),
        ({"encoding": {"x": "date"}}, "the channel x is not a mapping", "Write it like"),
        ({"mark": "lines"}, "unknown mark lines", "Did you mean line?"),
        ({"mark": {"type": "line", "colour": "red"}}, "the mark of chart sold .* has the unknown key colour", "color"),
        ({"view": "toy"}, "toy is not a view of the endpoint's response", "Did you mean toys?"),
        ({"view": "lost"}, "lost is not a view", "Known: shop, toys"),
        ({"fold": ["sold", "name"]}, "folds a field that is not a number", "numbers"),
        ({"fold": ["soled"]}, "no field soled", "Did you mean sold?"),
        ({"labels": {"soled": "Sold"}}, "no field soled", "Did you mean sold?"),
        ({"params": {"granularty": "hour"}}, "its endpoint has no parameter granularty", "Did you mean granularity?"),
        ({"params": {"granularity": "hours"}}, "granularity has no choice hours", "Did you mean hour?"),
        ({"independent": ["z"]}, "independent names z, which it does not encode", "Known: x, y"),
        ({"independent": "x"}, "independent is not a list", "[x]"),
        ({"name": "Sold Toys"}, "without a valid name: 'Sold Toys'", "in lower case"),
        ({"title": ""}, "has no title", "name, title, mark and encoding"),
        ({"height": 7}, "the height 7 is invalid", "40 to 2000"),
        ({"height": True}, "the height True is invalid", "40 to 2000"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_was_meant(changes: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ContractError, match=message) as error:
        chart(**changes)
    assert hint in error.value.hint


def test_charts_are_a_list_with_different_names_beside_an_endpoint() -> None:
    with pytest.raises(ContractError, match="two charts named sold"):
        read_contract(manifest(LINE, LINE))
    with pytest.raises(ContractError, match="charts is not a list"):
        read_contract(manifest(charts={"sold": LINE}))
    project = manifest(LINE)
    del project["exposures"]["exposure.toys"]["config"]["meta"]["endpoint"]
    with pytest.raises(ContractError, match="toys has charts and no endpoint"):
        read_contract(project)


def contrast(colour: str, background: str) -> float:
    def luminance(text: str) -> float:
        parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(colour), luminance(background)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_can_be_seen_on_its_background() -> None:
    """WCAG 1.4.11 wants 3:1 of the parts of a picture."""
    assert min(contrast(colour, "#ffffff") for colour in LIGHT_COLOURS) >= 3
    assert min(contrast(colour, "#191d26") for colour in DARK_COLOURS) >= 3
