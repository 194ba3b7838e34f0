"""Export types are defined in YAML: a new type needs no Python, and an invalid one is rejected by name."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from api.contract.export_types import read_catalogue
from api.errors import ContractError


def with_export(manifest: dict[str, Any], exposure: str, export: dict[str, Any]) -> dict[str, Any]:
    changed = deepcopy(manifest)
    changed["exposures"][f"exposure.mailmart.{exposure}"]["config"]["meta"]["export"] = export
    return changed


def test_the_project_defines_these_export_types(manifest: dict[str, Any]) -> None:
    types = read_catalogue(manifest).types
    assert list(types) == [
        "campaign_comparison",
        "campaign_performance",
        "deliverability",
        "engagement_heatmap",
        "messages",
        "workspace_overview",
    ]
    assert types["campaign_performance"].series == "campaign_series"
    assert [name for name, kind in types.items() if not kind.takes_campaigns] == ["workspace_overview"]


def test_one_line_of_yaml_defines_a_type(manifest: dict[str, Any]) -> None:
    made = read_catalogue(with_export(manifest, "data_quality", {"type": "data_quality"})).types["data_quality"]
    assert [section.name for section in made.sections] == ["data_quality"]
    assert (made.units, made.table, made.is_rows, dict(made.parameters)) == ("workspace", "data_quality", False, {})


@pytest.mark.parametrize(
    ("exposure", "export", "message"),
    [
        ("data_quality", {}, "has no type"),
        ("data_quality", {"type": "Data"}, "has no type"),
        ("data_quality", {"type": "messages"}, "two exposures are exported as messages"),
        ("data_quality", {"type": "data", "units": "mailboxes"}, "for each of mailboxes"),
        ("data_quality", {"type": "data", "table": "campaigns"}, "names campaigns, which is not among its views"),
        ("data_quality", {"type": "data", "series": "campaign_series"}, "names campaign_series"),
        ("data_quality", {"type": "data", "sheet": "x"}, "has sheet, which nothing reads"),
        ("messages", {"type": "messages"}, "names no view"),
        ("messages", {"type": "messages", "list": "nowhere"}, "nowhere is not among what it depends on"),
        ("messages", {"type": "messages", "list": "messages", "parameters": ["colour"]}, "the parameter colour"),
    ],
)
def test_an_invalid_type_is_rejected_by_name(
    manifest: dict[str, Any], exposure: str, export: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        read_catalogue(with_export(manifest, exposure, export))


def test_a_contract_without_the_exports_exposure_has_no_types(manifest: dict[str, Any]) -> None:
    old = deepcopy(manifest)
    del old["exposures"]["exposure.mailmart.exports"]
    assert dict(read_catalogue(old).types) == {}
