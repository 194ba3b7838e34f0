"""marshmallow schemas of export requests: they validate bodies and queries, and document them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from api.contract.contract import Contract
from api.contract.export_types import Catalogue
from api.contract.parameters import PARAMETERS, Id, are_distinct
from api.contract.schema_classes import schema_class
from api.exports.formats import FORMATS
from api.exports.query.schemas import OwnWindow, query_field, query_schema

MAX_PAGE_SIZE = 100
MAX_CAMPAIGNS = 1000
# a whole body; fields of other types have examples of their own
EXAMPLE = {
    "export_type": "campaign_performance",
    "format": "csv",
    "time_range": "30d",
    "campaign_ids": ["cmp_abc123"],
    "include_time_series": True,
}
FIELD_EXAMPLES = {"domain_id": "dom_abc123", "timezone": "America/New_York"}


class StrictBoolean(ma.fields.Boolean):
    """JSON true or false; marshmallow's own field accepts 1, "yes" and others as well."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class PageQuery(ma.Schema):
    """The query of a list."""

    class Meta:
        unknown = ma.RAISE

    limit = ma.fields.Integer(
        load_default=20,
        validate=ma.validate.Range(min=1, max=MAX_PAGE_SIZE),
        metadata={"description": "Page size.", "example": 20},
    )
    cursor = ma.fields.String(metadata={"description": "`next_cursor` of the previous page."})


def export_fields(contract: Contract, query: type[ma.Schema] | None = None) -> dict[str, Any]:
    """The fields of a body, by name: those of all exports, and those of some types. `query` is the schema of a query."""
    catalogue = contract.catalogue
    fields: dict[str, Any] = {
        "export_type": ma.fields.String(
            required=True,
            validate=ma.validate.OneOf(list(catalogue.types)),
            metadata={
                "description": _type_descriptions(catalogue),
                "example": "campaign_performance",
                "x-enum-name": "ExportType",
            },
        ),
        "format": ma.fields.String(
            required=True,
            validate=ma.validate.OneOf(list(FORMATS)),
            metadata={
                "description": "The file format. csv, ndjson and parquet contain one table; xlsx contains a sheet per table;"
                " json contains the objects that the endpoint returns; of a query, its rows.",
                "example": "csv",
                "x-enum-name": "ExportFormat",
            },
        ),
        **PARAMETERS["time_range"].fields(()),
        "campaign_ids": ma.fields.List(
            Id(),
            validate=[ma.validate.Length(min=1, max=MAX_CAMPAIGNS), are_distinct],
            metadata={
                "description": f"1 to {MAX_CAMPAIGNS} different campaigns; all campaigns if omitted. campaign_comparison needs"
                " 2 to 10.",
                "example": ["cmp_abc123"],
                "uniqueItems": True,
            },
        ),
        "include_time_series": StrictBoolean(
            load_default=False,
            metadata={
                "description": "Adds the time series. Formats with one table then contain a row per campaign and bucket instead"
                " of a row per campaign. Types with a time series: "
                + ", ".join(name for name, kind in catalogue.types.items() if kind.series)
                + ".",
                "example": True,
            },
        ),
    }
    # without a value that is filled in: a request is compared with earlier ones of its Idempotency-Key, and with stored reports
    fields["byte_order_mark"] = StrictBoolean(
        metadata={
            "default": False,
            "description": "csv only: the file begins with a byte order mark, by which Excel recognizes UTF-8. Other programs may"
            " read it as a part of the first column's name.",
            "example": False,
        },
    )
    if any(kind.is_query for kind in catalogue.types.values()):
        layer = contract.semantic_layer
        fields["query"] = query_field(layer, query or query_schema(layer))
    for kind in catalogue.types.values():
        for name, parameter in kind.parameters.items():
            if name not in fields:
                field = kind.field(parameter)
                # only some types have it; they use the endpoint's default
                field.load_default = ma.missing
                field.metadata = {**field.metadata, **({"example": FIELD_EXAMPLES[name]} if name in FIELD_EXAMPLES else {})}
                fields[name] = field
    return fields


def export_schema(contract: Contract) -> type[ma.Schema]:
    """The schema of a body that requests an export. Unknown fields are rejected."""
    return schema_class(
        "ExportRequest", {**export_fields(contract), "catalogue": contract.catalogue}, bases=(OwnWindow, ma.Schema)
    )


def _type_descriptions(catalogue: Catalogue) -> str:
    parts = [f"{name}: {kind.description.split(':')[0].split('. ')[0].rstrip('.')}." for name, kind in catalogue.types.items()]
    return "The data to export: the metrics of the endpoint with that name. " + " ".join(parts)
