"""Objects of a response that can be null, the order of operations, and hints for unknown parameters."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
import pytest

from api.contract.exposures import Endpoint, read_endpoints
from api.contract.response import assembler
from api.contract.suggestions import nearest
from api.errors import ContractError, ValidationFailed
from api.web.operations import StrictParser


def endpoints(*positions: int | None, **model_meta: Any) -> tuple[Endpoint, ...]:
    """An endpoint for each position, over a view with one column and a group of two."""
    columns = {
        "best_day": {"config": {"meta": {"group": "best"}}, "data_type": "text"},
        "best_hour": {"config": {"meta": {"group": "best"}}, "data_type": "integer"},
        "reason": {"config": {"meta": {"nullable": True}}, "data_type": "text"},
    }
    model = {
        "name": "toys",
        "schema": "marts",
        "alias": "toys",
        "config": {"meta": model_meta},
        "columns": {name: {"name": name, "description": "A column.", **column} for name, column in columns.items()},
    }
    exposures = {
        f"exposure.toys_{number}": {
            "name": f"toys_{number}",
            "description": "Toys.",
            "depends_on": {"nodes": ["model.toys"]},
            "config": {
                "meta": {
                    "endpoint": {
                        "path": f"/toys{'abcdef'[number]}",
                        "limit": 5,
                        "response": [{"object": "toys"}],
                        **({} if position is None else {"position": position}),
                    }
                }
            },
        }
        for number, position in enumerate(positions)
    }
    return read_endpoints({"exposures": exposures, "nodes": {"model.toys": model}})


def test_a_nullable_group_without_any_value_is_null() -> None:
    (endpoint,) = endpoints(1, nullable_groups=["best"])
    assemble = assembler(endpoint.sections, {}, {})
    assert assemble([[(None, None, "NO_DIFFERENCE")]]) == {"best": None, "reason": "NO_DIFFERENCE"}
    assert assemble([[("Monday", 0, None)]]) == {"best": {"best_day": "Monday", "best_hour": 0}, "reason": None}
    (other,) = endpoints(1)
    assert assembler(other.sections, {}, {})([[(None, None, None)]])["best"] == {"best_day": None, "best_hour": None}


def test_a_nullable_group_that_no_column_has_is_named() -> None:
    with pytest.raises(ContractError, match="nullable group bets, which no column has") as error:
        endpoints(1, nullable_groups=["bets"])
    assert "Did you mean best?" in error.value.hint


def test_operations_are_in_the_order_of_their_positions_and_then_of_their_paths() -> None:
    assert [endpoint.name for endpoint in endpoints(None, 7, -1, None)] == ["toys_2", "toys_1", "toys_0", "toys_3"]
    with pytest.raises(ContractError, match="position 'first' is not a whole number"):
        endpoints("first")  # type: ignore[arg-type]


class Export(ma.Schema):
    format = ma.fields.String()


class Body(ma.Schema):
    timeRange = ma.fields.String()  # noqa: N815 - the name in the API
    campaign_ids = ma.fields.List(ma.fields.String())
    export = ma.fields.Nested(Export)


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({"timerange": "7d"}, {"timerange": ["Unknown field. Did you mean timeRange?"]}),
        ({"TIME_RANGE": "7d"}, {"TIME_RANGE": ["Unknown field. Did you mean timeRange?"]}),
        ({"time-range": "7d"}, {"time-range": ["Unknown field. Did you mean timeRange?"]}),
        ({"campaignIds": []}, {"campaignIds": ["Unknown field. Did you mean campaign_ids?"]}),
        ({"verbose": 1}, {"verbose": ["Unknown field. Known: timeRange, campaign_ids, export."]}),
        ({"export": {"Formt": "csv"}}, {"export": ["Formt: Unknown field. Did you mean format?"]}),
    ],
)
def test_an_unknown_field_names_the_one_that_it_may_mean(body: dict[str, Any], details: dict[str, list[str]]) -> None:
    schema = Body()
    with pytest.raises(ma.ValidationError) as error:
        schema.load(body)
    problem = ma.ValidationError({"json": error.value.messages})
    with pytest.raises(ValidationFailed) as failed:
        StrictParser().handle_error(problem, None, schema)
    assert failed.value.details == details


def test_without_a_similar_name_there_is_no_suggestion() -> None:
    assert nearest("zzz", ["timeRange"]) is None
    assert nearest("timeRange", []) is None
