"""Export types are defined in YAML: a new type needs no Python, and an invalid one is rejected by name."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from api.contract.contract import read_contract
from api.errors import ContractError


def with_export(manifest: dict[str, Any], exposure: str, export: dict[str, Any]) -> dict[str, Any]:
    changed = {**manifest, "exposures": deepcopy(manifest["exposures"])}
    changed["exposures"][f"exposure.mailmart.{exposure}"]["config"]["meta"]["export"] = export
    return changed


def test_the_project_defines_these_export_types(manifest: dict[str, Any]) -> None:
    types = read_contract(manifest).catalogue.types
    assert list(types) == [
        "campaign_comparison",
        "campaign_performance",
        "deliverability",
        "engagement_heatmap",
        "messages",
        "query",
        "workspace_overview",
    ]
    assert types["campaign_performance"].series == "campaign_series"
    assert [name for name, kind in types.items() if not kind.takes_campaigns] == ["query", "workspace_overview"]
    assert [name for name, kind in types.items() if kind.is_query] == ["query"]


def test_one_line_of_yaml_defines_a_type(manifest: dict[str, Any]) -> None:
    made = read_contract(with_export(manifest, "data_quality", {"type": "data_quality"})).catalogue.types["data_quality"]
    assert [section.name for section in made.sections] == ["data_quality", "left_out"]
    assert (made.units, made.table, made.is_rows, dict(made.parameters)) == ("workspace", "data_quality", False, {})


@pytest.mark.parametrize(
    ("exposure", "export", "message"),
    [
        ("data_quality", {}, "has no valid type"),
        ("data_quality", {"type": "Data"}, "has no valid type"),
        ("data_quality", {"type": "messages"}, "two exposures have the export type messages"),
        ("data_quality", {"type": "data", "units": "mailboxes"}, "unknown units mailboxes"),
        ("data_quality", {"type": "data", "table": "campaigns"}, "table is campaigns, which is not one of its views"),
        ("data_quality", {"type": "data", "series": "campaign_series"}, "series is campaign_series"),
        ("data_quality", {"type": "data", "sheet": "x"}, "has the unknown key sheet"),
        ("query_metrics", {"type": "query", "units": "campaigns"}, "has the unknown key units"),
        ("messages", {"type": "messages"}, "has no list"),
        ("messages", {"type": "messages", "list": "nowhere"}, "does not depend on a view nowhere"),
        ("messages", {"type": "messages", "list": "messages", "parameters": ["colour"]}, "unknown parameter colour"),
    ],
)
def test_an_invalid_type_is_rejected_by_name(
    manifest: dict[str, Any], exposure: str, export: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        read_contract(with_export(manifest, exposure, export))


def test_a_contract_without_the_exports_exposure_has_no_types(manifest: dict[str, Any]) -> None:
    old = {**manifest, "exposures": dict(manifest["exposures"])}
    del old["exposures"]["exposure.mailmart.exports"]
    assert dict(read_contract(old).catalogue.types) == {}
