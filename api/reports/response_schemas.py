"""marshmallow schemas of report responses: they document the responses, and tests validate against them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import marshmallow as ma

from api.contract.contract import Contract
from api.contract.schema_classes import schema_class
from api.exports.query.schemas import query_fields
from api.reports.repository import CHANNELS, DELIVERY_STATUSES, RUN_STATUSES, Report, Run
from api.reports.request_schemas import URL_EXAMPLE, relative_export_fields, schedule_fields
from api.web.schemas import OpenSchema


def _time(description: str, example: str | None, *, nullable: bool = False) -> ma.fields.DateTime:
    return ma.fields.DateTime(required=True, allow_none=nullable, metadata={"description": description, "example": example})


def _text(description: str, example: str | None, *, nullable: bool = False) -> ma.fields.String:
    return ma.fields.String(required=True, allow_none=nullable, metadata={"description": description, "example": example})


def _enum(name: str, values: tuple[str, ...], description: str, example: str) -> ma.fields.String:
    return ma.fields.String(
        required=True,
        validate=ma.validate.OneOf(values),
        metadata={"description": description, "example": example, "x-enum-name": name},
    )


def _count(description: str, example: int) -> ma.fields.Integer:
    return ma.fields.Integer(required=True, metadata={"description": description, "example": example})


def report_schema(contract: Contract) -> type[ma.Schema]:
    """The schema of a report."""
    query = _open_class("ReportExportQuery", query_fields(contract.semantic_layer, is_relative=True))
    export = _open_class("ReportExport", relative_export_fields(contract, query))
    schedule = _open_class("ReportSchedule", schedule_fields(is_request=False))
    fields: dict[str, Any] = {
        "report_id": _text("The report's id.", "rep_xyz123"),
        "name": _text("The report's name.", "Weekly overview"),
        "export": ma.fields.Nested(export, required=True, metadata={"description": "The export request of each run."}),
        "schedule": ma.fields.Nested(schedule, required=True, metadata={"description": "When the report runs."}),
        "recipients": ma.fields.List(
            ma.fields.String(metadata={"format": "email"}),
            required=True,
            metadata={"description": "E-mail addresses that each run is sent to.", "example": ["ana@example.com"]},
        ),
        "opted_out_recipients": ma.fields.List(
            ma.fields.String(metadata={"format": "email"}),
            required=True,
            metadata={
                "description": "Recipients who have opted out of the workspace's report mail by the link in a mail. They receive"
                " none.",
                "example": [],
            },
        ),
        "webhook_url": _text("The URL that is called for each run; null if there is no webhook.", URL_EXAMPLE, nullable=True),
        "webhook_secret": _text(
            "The secret that signs webhooks. Only the response that creates it contains it.", None, nullable=True
        ),
        "webhook_failures": _count("Consecutive runs that could not be delivered to the webhook.", 0),
        "webhook_disabled_at": _time(
            "When the webhook was disabled, after ten such runs or a 410; null while it is enabled.", None, nullable=True
        ),
        "is_enabled": ma.fields.Boolean(required=True, metadata={"description": "Whether the report runs.", "example": True}),
        "next_run_at": _time("When it runs next; null if it is disabled.", "2025-12-01T07:00:00Z", nullable=True),
        "created_at": _time("When it was created.", "2025-11-26T10:00:00Z"),
        "updated_at": _time("When it was last changed.", "2025-11-26T10:00:00Z"),
    }
    return _open_class("Report", fields)


class Delivery(OpenSchema):
    """The delivery of a run to one recipient."""

    channel = _enum("ReportChannel", CHANNELS, "How the run is delivered.", "email")
    target = _text("The e-mail address or webhook URL.", "ana@example.com")
    status = _enum("DeliveryStatus", DELIVERY_STATUSES, "pending until it is delivered or has failed.", "delivered")
    attempts = _count("Number of attempts, at most five.", 1)
    error = _text("Why the last attempt failed; otherwise null.", None, nullable=True)
    ended_at = _time("When it was delivered or failed.", "2025-12-01T07:01:00Z", nullable=True)


def run_schema() -> type[ma.Schema]:
    """The schema of a run."""
    fields: dict[str, Any] = {
        "run_id": _text("The run's id, also sent as the header `webhook-id`.", "run_xyz123"),
        "scheduled_for": _time("The scheduled time of the run.", "2025-12-01T07:00:00Z"),
        "export_id": _text("The run's export; null if it could not be created.", "exp_xyz123", nullable=True),
        "status": _enum(
            "ReportRunStatus",
            RUN_STATUSES,
            "processing while its export is written, delivering while it is sent; completed if every delivery succeeded,"
            " otherwise failed.",
            "completed",
        ),
        "error": _text("Why the run failed; otherwise null.", None, nullable=True),
        "deliveries": ma.fields.List(
            ma.fields.Nested(Delivery),
            required=True,
            metadata={"description": "Its deliveries; empty until its export has ended."},
        ),
        "created_at": _time("When the run started.", "2025-12-01T07:00:04Z"),
        "ended_at": _time("When the run ended.", "2025-12-01T07:01:00Z", nullable=True),
    }
    return _open_class("ReportRun", fields)


def _open_class(name: str, fields: Mapping[str, Any]) -> type[ma.Schema]:
    return schema_class(name, fields, bases=(OpenSchema,), unknown=ma.EXCLUDE)


def report_body(report: Report, opted_out: Collection[str], secret: str | None = None) -> dict[str, Any]:
    """A report as responses contain it. `opted_out` are addresses; `secret` is only in the response that creates it."""
    return {
        "report_id": report.report_id,
        "name": report.name,
        "export": report.request,
        "schedule": {
            "frequency": report.frequency,
            "at": f"{report.run_at:%H:%M}",
            "timezone": report.timezone,
            **({"weekday": report.weekday} if report.weekday else {}),
            **({"day_of_month": report.day_of_month} if report.day_of_month else {}),
        },
        "recipients": report.recipients,
        "opted_out_recipients": [address for address in report.recipients if address in opted_out],
        "webhook_url": report.webhook_url,
        "webhook_secret": secret,
        "webhook_failures": report.webhook_failures,
        "webhook_disabled_at": report.webhook_disabled_at,
        "is_enabled": report.is_enabled,
        "next_run_at": report.next_run_at,
        "created_at": report.created_at,
        "updated_at": report.updated_at,
    }


def run_body(run: Run) -> dict[str, Any]:
    """A run as responses contain it."""
    return dict(vars(run))
