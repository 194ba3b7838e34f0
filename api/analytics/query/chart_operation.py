"""The operation of the chart of a query."""

from __future__ import annotations

from dataclasses import replace

import marshmallow as ma

from api.analytics.query.chart import DEFAULT_BARS, MAX_BARS, MAX_LINES
from api.contract.schema_classes import schema_class
from api.web.operations import Operation


def chart_of_query_operation(operation: Operation) -> Operation:
    """The operation whose arguments are those of a query that a chart can have: one page, and as many bars as fit."""
    fields = dict((operation.arguments or ma.Schema)().fields)
    del fields["cursor"], fields["names"]
    fields["limit"] = ma.fields.Integer(
        load_default=DEFAULT_BARS,
        strict=True,
        validate=ma.validate.Range(min=1, max=MAX_BARS),
        metadata={"description": f"Bars. Over time, there are at most {MAX_LINES} lines.", "example": DEFAULT_BARS},
    )
    example = {**(operation.example or {}), "limit": DEFAULT_BARS}
    return replace(operation, arguments=schema_class("QueryMetricsRequest", fields), example=example)
