"""The contract of a manifest: what the API offers, read once for each publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.contract.export_types import Catalogue, read_catalogue
from api.contract.exposures import Endpoint, read_endpoints
from api.contract.semantic_layer import SemanticLayer, read_semantic_layer


@dataclass(frozen=True)
class Contract:
    """What the API offers: the reading endpoints, the types of export, and what can be queried."""

    endpoints: tuple[Endpoint, ...] = ()
    catalogue: Catalogue = field(default_factory=Catalogue)
    semantic_layer: SemanticLayer = field(default_factory=SemanticLayer)


def read_contract(manifest: Mapping[str, Any]) -> Contract:
    """The contract of dbt's manifest, or of the part of it that a publication stores.

    Raises:
        ContractError: an exposure, a metric or a dimension cannot be offered; it names it and says why.
    """
    endpoints = read_endpoints(manifest)
    return Contract(endpoints, read_catalogue(manifest, endpoints), read_semantic_layer(manifest))
