"""The contract of a manifest: what the API offers, read once for each publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.contract.charts import Chart, read_charts
from api.contract.export_types import Catalogue, read_catalogue
from api.contract.exposures import Endpoint, read_endpoints
from api.contract.semantic_layer import SemanticLayer, read_semantic_layer
from api.errors import ContractError


@dataclass(frozen=True)
class Contract:
    """What the API offers: the reading endpoints, their charts by name, the types of export, and what can be queried."""

    endpoints: tuple[Endpoint, ...] = ()
    charts: Mapping[str, tuple[Chart, ...]] = field(default_factory=dict)
    catalogue: Catalogue = field(default_factory=Catalogue)
    semantic_layer: SemanticLayer = field(default_factory=SemanticLayer)


def read_contract(manifest: Mapping[str, Any]) -> Contract:
    """The contract of dbt's manifest, or of the part of it that a publication stores.

    Raises:
        ContractError: an exposure, a chart, a metric or a dimension cannot be offered; it names it and says why.
    """
    endpoints = read_endpoints(manifest)
    by_name = {endpoint.name: endpoint for endpoint in endpoints}
    charts: dict[str, tuple[Chart, ...]] = {}
    for exposure in manifest["exposures"].values():
        if "charts" not in exposure.get("config", {}).get("meta", {}):
            continue
        endpoint = by_name.get(exposure["name"])
        if endpoint is None:
            raise ContractError(
                f"exposure {exposure['name']} has charts and no endpoint",
                hint="A chart draws the rows of an endpoint's response: add config.meta.endpoint, or remove the charts.",
            )
        charts[endpoint.name] = read_charts(exposure, endpoint)
    return Contract(endpoints, charts, read_catalogue(manifest, endpoints), read_semantic_layer(manifest))
