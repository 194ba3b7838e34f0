"""The `page` of a list: what it may say, the parameters that come of it, and the query of a page."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
import pytest

from api.contract.exposures import Endpoint, read_endpoints
from api.contract.page_query import Position, cut_page, page_statement
from api.contract.response import assembler
from api.errors import ContractError
from api.web.schemas import request_schema, response_schema

PAGE = {"id": "toy_id", "sort": ["sold", "name", "made_on"], "search": ["toy_id", "name"]}


def manifest(page: Any = PAGE, **endpoint: Any) -> dict[str, Any]:
    """An endpoint with a list of toys, and a view by which they may be sorted."""
    types = {
        "toy_id": "text",
        "name": "text",
        "sold": "bigint",
        "price": "numeric(9, 2)",
        "made_on": "date",
        "is_red": "boolean",
        "secret": "text",
    }
    columns: dict[str, dict[str, Any]] = {
        name: {
            "name": name,
            "data_type": data_type,
            "description": "A column.",
            "config": {"meta": {"hidden": True} if name == "secret" else {"alias": "title"} if name == "name" else {}},
        }
        for name, data_type in types.items()
    }
    order = {name: columns[name] for name in ("toy_id", "name", "sold", "made_on")}
    meta = {"path": "/toys", "limit": 5, "response": [{"list": "toys", "path": "toys", "page": page}], **endpoint}
    exposure = {
        "name": "toys",
        "label": "Get toys",
        "description": "Toys.",
        "depends_on": {"nodes": ["model.toys", "model.toy_order"]},
        "config": {"meta": {"endpoint": meta}},
    }
    return {
        "exposures": {"exposure.toys": exposure},
        "nodes": {
            "model.toys": {"name": "toys", "schema": "marts", "alias": "toys", "columns": columns},
            "model.toy_order": {"name": "toy_order", "schema": "marts", "alias": "toy_order", "columns": order},
        },
    }


def read(page: Any = PAGE, **endpoint: Any) -> Endpoint:
    (found,) = read_endpoints(manifest(page, **endpoint))
    return found


def test_a_page_makes_parameters_and_a_cursor() -> None:
    endpoint = read({**PAGE, "limit": 20, "max_limit": 40, "order": "asc"})
    fields = request_schema(endpoint)()
    assert list(fields.fields) == ["search", "sort", "order", "limit", "cursor"]
    assert fields.load({}) == {"sort": "sold", "order": "asc", "limit": 20}
    # public names
    assert fields.load({"sort": "title", "search": "  50 %  "})["search"] == "50 %"
    for wrong in ({"sort": "name"}, {"order": "up"}, {"limit": "41"}, {"limit": "0"}, {"limit": "x"}, {"search": "  "}):
        assert set(fields.validate(wrong)) == set(wrong)
    assert fields.validate({"search": "x" * 101}) == {"search": ["Must be 1 to 100 characters of text."]}
    data = response_schema(endpoint)().fields["data"]
    assert isinstance(data, ma.fields.Nested)
    assert list(data.schema.fields) == ["toys", "next_cursor"]


def test_without_search_there_is_no_such_parameter() -> None:
    assert "search" not in request_schema(read({"id": "toy_id", "sort": ["sold"]}))().fields


@pytest.mark.parametrize(
    ("page", "message", "hint"),
    [
        ({"sort": ["sold"]}, "the page of toys has no id", "For example"),
        ({"id": "toy_id"}, "the page of toys has no sort", "For example"),
        ("toy_id", "the page of toys is not a mapping", "For example"),
        ({**PAGE, "sorted": ["sold"]}, "unknown key sorted", "Did you mean sort?"),
        ({**PAGE, "id": "toyid"}, "id names toyid, which is no column", "Did you mean toy_id?"),
        ({**PAGE, "id": "sold"}, "the id sold is not text", "type text"),
        ({**PAGE, "sort": ["sale"]}, "sort names sale, which is no column", "Known: "),
        ({**PAGE, "sort": "sold"}, "sort is not a list", "For example"),
        ({**PAGE, "sort": ["secret"]}, "sort names secret, which is hidden", "remove `hidden`"),
        ({**PAGE, "sort": ["is_red"]}, "whose type boolean cannot be sorted", "Types that can: "),
        ({**PAGE, "sort": ["sold", "sold"]}, "two columns of sort have the public name sold", "another alias"),
        ({**PAGE, "search": ["sold"]}, "search names sold, which is not text", "type text"),
        ({**PAGE, "order": "down"}, "unknown order down", "Known: asc, desc"),
        ({**PAGE, "limit": 201}, "limit is 201", "from 1 to 200"),
        ({**PAGE, "max_limit": 0}, "max_limit is 0", "from 1 to 1000"),
        ({**PAGE, "max_limit": True}, "max_limit is True", "from 1 to 1000"),
        ({**PAGE, "sort_view": "toy_ordr"}, "does not depend on the sort_view toy_ordr", "Did you mean toy_order?"),
        ({**PAGE, "sort": ["price"], "sort_view": "toy_order"}, "sort_view toy_order has no column price", "the same types"),
    ],
)
def test_a_wrong_page_is_named(page: Any, message: str, hint: str) -> None:
    with pytest.raises(ContractError, match=message) as error:
        read(page)
    assert hint in error.value.hint
    assert str(error.value).startswith("exposure toys")


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ({"method": "post"}, "has a page, and the method is post"),
        ({"response": [{"object": "toys", "path": "toy", "page": PAGE}]}, "needs a list"),
        (
            {"response": [{"list": "toys", "path": "a", "page": PAGE}, {"list": "toys", "path": "b", "page": PAGE}]},
            "both have a page",
        ),
        (
            {"response": [{"list": "toys", "path": "a", "page": PAGE}, {"list": "toy_order", "path": "next_cursor"}]},
            "has the path next_cursor",
        ),
    ],
)
def test_a_page_where_none_can_be_is_named(endpoint: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        read(**endpoint)


def statement(params: dict[str, Any], after: Position | None = None, **page: Any) -> str:
    (section,) = read({**PAGE, **page}).sections
    assert section.page is not None
    return page_statement(section, section.page, params, after)


def test_the_text_of_a_query_has_no_value_of_the_request() -> None:
    one = statement({"sort": "title", "order": "asc", "search": "a'b", "limit": 3}, Position("x", "y"))
    assert one == statement({"sort": "title", "order": "asc", "search": "c", "limit": 9}, Position("z", "q"))
    assert one != statement({"sort": "title", "order": "asc", "limit": 3}, Position("x", "y"))
    # what follows a null is null
    assert one != statement({"sort": "title", "order": "asc", "search": "c", "limit": 3}, Position(None, "y"))


def test_a_sort_view_decides_which_rows_are_read() -> None:
    text = statement({"sort": "sold", "order": "desc"}, sort_view="toy_order")
    assert text.index('from "marts"."toy_order"') < text.index('from "marts"."toys"')
    assert "toy_order" not in statement({"sort": "sold", "order": "desc"})


def test_one_more_row_says_that_there_is_another_page() -> None:
    rows = [("t1", 5, "5", "t1"), ("t2", 4, "4", "t2"), ("t3", None, None, "t3")]
    assert cut_page(list(rows), 3) == (rows, None)
    assert cut_page(list(rows), 2) == (rows[:2], Position("4", "t2"))
    assert cut_page([], 2) == ([], None)


def compared(**section: Any) -> Endpoint:
    return read(
        parameters=["timeRange", "compare_to"],
        response=[{"list": "toys", "path": "toys"}, {"list": "toy_order", "path": "before", **section}],
    )


def test_a_section_is_there_only_with_its_parameter() -> None:
    endpoint = compared(if_param={"compare_to": "previous_period"})
    rows = ("t1", "Top", 1, 2.5, "2025-11-01", True)
    assert "before" not in assembler(endpoint.sections, {}, {})([[rows], []])
    compare = assembler(endpoint.sections, {}, {"compare_to": "previous_period"})
    data = compare([[rows], [("t1", "Top", 1, "2025-11-01")]])
    assert list(data) == ["toys", "before"]
    schema = response_schema(endpoint)().fields["data"].schema  # type: ignore[attr-defined]
    assert {name: field.required for name, field in schema.fields.items()} == {"time_range": True, "toys": True, "before": False}


def test_a_section_is_there_with_any_value_of_a_parameter() -> None:
    (_, section) = compared(if_param="compare_to").sections
    assert section.is_shown({"compare_to": "previous_period"})
    assert not section.is_shown({})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"if_param": ["compare_to"]}, r"if_param of toy_order is \['compare_to'\]"),
        ({"if_param": "timezone"}, "only with timezone, which is not one of its parameters"),
        ({"if_param": {"compareto": "previous_period"}}, "unknown parameter compareto"),
        ({"if_param": {"compare_to": "previous_periods"}}, "compare_to has no choice previous_periods"),
        ({"if_param": {"groupBy": "day"}}, "only with groupBy, which is not one of its parameters"),
    ],
)
def test_a_wrong_condition_is_named(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        compared(**section)


def test_only_a_section_with_a_path_can_be_left_out() -> None:
    with pytest.raises(ContractError, match="has if_param and no path"):
        read(parameters=["compare_to"], response=[{"object": "toys", "if_param": {"compare_to": "previous_period"}}])
