"""A parameter whose choices are the columns of a view, such as compare's metrics."""

from __future__ import annotations

from typing import Any

import pytest

from api.contract.exposures import read_endpoints
from api.errors import ContractError
from api.web.schemas import request_schema


def manifest(**endpoint: Any) -> dict[str, Any]:
    """An endpoint with the parameter metrics, whose choices are three columns."""
    meta = {"path": "/toys", "limit": 5, "parameters": ["metrics"], "response": [{"list": "toys", "path": "toys"}], **endpoint}
    column = {"description": "Its rate.", "data_type": "numeric(5, 2)", "config": {"meta": {"if_param": "metrics"}}}
    exposure = {
        "name": "toys",
        "label": "Get toys",
        "description": "Toys.",
        "depends_on": {"nodes": ["model.toys"]},
        "config": {"meta": {"endpoint": meta}},
    }
    columns = {name: {"name": name, **column} for name in ("sold", "broken", "returned")}
    return {
        "exposures": {"exposure.toys": exposure},
        "nodes": {"model.toys": {"name": "toys", "schema": "marts", "alias": "toys", "columns": columns}},
    }


def test_the_choices_are_the_columns_and_the_default_comes_first() -> None:
    (endpoint,) = read_endpoints(manifest(defaults={"metrics": ["returned"]}))
    assert endpoint.parameters["metrics"] == ("returned", "sold", "broken")
    schema = request_schema(endpoint)()
    assert schema.load({}) == {"metrics": ["returned"]}
    assert schema.load({"metrics": ["broken", "sold"]}) == {"metrics": ["broken", "sold"]}
    assert "metrics" in schema.validate({"metrics": ["price"]})


def test_without_a_default_all_columns_are_shown() -> None:
    (endpoint,) = read_endpoints(manifest())
    assert request_schema(endpoint)().load({}) == {"metrics": ["sold", "broken", "returned"]}


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"metrics": ["price"]}, "the default price of metrics is not one of its choices"),
        ({"groupBy": ["day"]}, "groupBy cannot have defaults"),
    ],
)
def test_a_default_that_does_not_exist_is_an_error(defaults: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        read_endpoints(manifest(defaults=defaults))


def test_a_parameter_without_columns_is_an_error() -> None:
    project = manifest()
    for column in project["nodes"]["model.toys"]["columns"].values():
        column["config"] = {"meta": {}}
    with pytest.raises(ContractError, match="metrics has no choice"):
        read_endpoints(project)
