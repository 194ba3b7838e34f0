"""The contract of a manifest: what the API offers, read once for each publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.contract.export_types import Catalogue, read_catalogue
from api.contract.exposures import Endpoint, read_endpoints


@dataclass(frozen=True)
class Contract:
    """What the API offers: the reading endpoints, and the types of export."""

    endpoints: tuple[Endpoint, ...] = ()
    catalogue: Catalogue = field(default_factory=Catalogue)


def read_contract(manifest: Mapping[str, Any]) -> Contract:
    """The contract of dbt's manifest, or of the part of it that a publication stores.

    Raises:
        ContractError: an exposure cannot become an endpoint or an export type; it names the exposure and says why.
    """
    endpoints = read_endpoints(manifest)
    return Contract(endpoints, read_catalogue(manifest, endpoints))
