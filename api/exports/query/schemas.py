"""The field `query` of an export's body: that of `POST /analytics/query`, without pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma

from api.analytics.query.request import example_body, request_fields
from api.contract.export_types import Catalogue
from api.contract.parameters import DAYS, PARAMETERS
from api.contract.schema_classes import schema_class
from api.contract.semantic_layer import SemanticLayer

# of a file; more is refused, because a file that ends early looks like a whole one
MAX_ROWS = 1_000_000
# what a query has in its own place
WINDOW_FIELDS = ("time_range", "start_date", "end_date")


def query_fields(layer: SemanticLayer, *, is_relative: bool) -> dict[str, ma.fields.Field[Any]]:
    """The fields of a query. `is_relative`: its time range is counted from the day of each run, so it has no dates."""
    fields = request_fields(layer)
    del fields["cursor"], fields["names"]
    fields["limit"] = ma.fields.Integer(
        strict=True,
        validate=ma.validate.Range(min=1, max=MAX_ROWS),
        metadata={
            "description": "Maximum number of rows, in the order of `order_by`. Without it: all rows; the export fails if there"
            f" are more than {MAX_ROWS:,}.",
            "example": 1000,
        },
    )
    if is_relative:
        relative = PARAMETERS["time_range"].fields(tuple(DAYS))
        fields = {name: relative.get(name, field) for name, field in fields.items() if name not in ("start_date", "end_date")}
    return fields


def query_schema(layer: SemanticLayer) -> type[ma.Schema]:
    """The schema of the query of an export."""
    return schema_class("ExportQuery", query_fields(layer, is_relative=False))


def report_query_schema(layer: SemanticLayer) -> type[ma.Schema]:
    """The schema of the query of a report, whose time range is relative."""
    return schema_class("ReportQuery", query_fields(layer, is_relative=True))


def query_field(layer: SemanticLayer, schema: type[ma.Schema]) -> ma.fields.Nested:
    """The field of a body. It has its own time range."""
    example = {name: value for name, value in example_body(layer).items() if name != "limit"}
    return ma.fields.Nested(
        schema,
        metadata={
            "description": "Only for exports of a query, which need it: the body of `POST /analytics/query`, with its time range"
            " and without `cursor`. The file has all rows.",
            "example": example,
        },
    )


def is_query(catalogue: Catalogue, body: Mapping[str, Any]) -> bool:
    """Whether a body is of an export of a query."""
    kind = catalogue.types.get(body.get("export_type", ""))
    return kind is not None and kind.is_query


class OwnWindow:
    """A mixin of the schemas of export requests: an export of a query has its time range in `query`, and no other one.

    Attributes:
        catalogue: the types of export.
    """

    catalogue: Catalogue

    @ma.validates_schema(pass_original=True, skip_on_field_errors=False)
    def check_window(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        """
        Raises:
            ValidationError: the body has another time range beside that of the query.
        """
        if isinstance(original, Mapping) and is_query(self.catalogue, data):
            names = [name for name in WINDOW_FIELDS if name in original]
            if names:
                raise ma.ValidationError({name: [f"An export of a query has its time range in query.{name}."] for name in names})

    @ma.post_load
    def remove_window(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Removes the default of a time range that the export does not have."""
        return {name: value for name, value in data.items() if name != "time_range"} if is_query(self.catalogue, data) else data
