"""marshmallow schemas of reports: they check requests, and document and check answers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import time
from typing import Any

import marshmallow as ma

from api.contract.export_types import Catalogue
from api.contract.parameters import DAYS, PARAMETERS, is_time_zone
from api.exports.request_schema import StrictBoolean, export_fields
from api.net.ssrf import Network
from api.reports.repository import CHANNELS, DELIVERY_STATUSES, RUN_STATUSES, Report, Run
from api.reports.schedule import FREQUENCIES, WEEKDAYS, Schedule
from api.reports.webhook import MAX_URL, WebhookUrl
from api.web.schemas import OpenSchema, data_schema

MAX_NAME = 200
MAX_ADDRESS = 254
MAX_RECIPIENTS = 20
# what SMTP takes without an extension; a domain in other letters is written as xn--…
ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64})*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}(?<!-))?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}(?<!-))?)+"
)
NO_CLOCK = "Must be a time of day, such as 08:00."
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
# controls, line ends, halves of surrogate pairs
NOT_IN_NAMES = frozenset({"Cc", "Zl", "Zp", "Cs"})
SCHEDULE_EXAMPLE = {"frequency": "weekly", "weekday": "monday", "at": "08:00", "timezone": "Europe/Berlin"}
EXPORT_EXAMPLE = {"export_type": "workspace_overview", "format": "csv", "time_range": "7d"}
URL_EXAMPLE = "https://hooks.example.com/mailmart"


class _Unregistered:
    # two contracts can be loaded one after the other
    register = False


class _Strict(_Unregistered):
    unknown = ma.RAISE


class _Open(_Unregistered):
    unknown = ma.EXCLUDE


def _is_address(text: str) -> None:
    if len(text) > MAX_ADDRESS or not ADDRESS.fullmatch(text):
        raise ma.ValidationError("Not a valid e-mail address.")


def _are_different(addresses: list[str]) -> None:
    if len({address.lower() for address in addresses}) < len(addresses):
        raise ma.ValidationError("Each can be named once.")


def _is_one_line(text: str) -> None:
    """A name is a line: of a list, of a mail's subject."""
    if not text.strip() or any(unicodedata.category(letter) in NOT_IN_NAMES for letter in text):
        raise ma.ValidationError("Must be one line of text.")


def _is_receiver(allowed: tuple[Network, ...]) -> Callable[[str], None]:
    def check(url: str) -> None:
        try:
            WebhookUrl.of(url, allowed)
        except ValueError as error:
            raise ma.ValidationError(str(error)) from error

    return check


def _schedule_fields(*, is_request: bool) -> dict[str, ma.fields.Field[Any]]:
    def enum(name: str, values: tuple[str, ...], description: str, example: str, **options: Any) -> ma.fields.String:
        return ma.fields.String(
            validate=ma.validate.OneOf(values),
            metadata={"description": description, "example": example, "x-enum-name": name},
            **options,
        )

    zone: dict[str, Any] = {"load_default": "UTC"} if is_request else {"required": True}
    return {
        "frequency": enum("ReportFrequency", FREQUENCIES, "How often.", "weekly", required=True),
        "at": ma.fields.String(
            required=True,
            # a $ lets a line end pass
            validate=[ma.validate.Regexp(CLOCK, error=NO_CLOCK), ma.validate.Length(equal=5, error=NO_CLOCK)],
            metadata={
                "description": "At which time of day, HH:MM. One that the clocks jump over counts when they have jumped, one that"
                " they show twice the first time.",
                "example": "08:00",
            },
        ),
        "timezone": ma.fields.String(
            validate=is_time_zone,
            metadata={"description": "The time zone of that time, an IANA name.", "example": "Europe/Berlin"},
            **zone,
        ),
        "weekday": enum("ReportWeekday", WEEKDAYS, "On which day; of a weekly report alone.", "monday"),
        "day_of_month": ma.fields.Integer(
            strict=True,
            validate=ma.validate.Range(min=1, max=31),
            metadata={
                "description": "On which day; of a monthly report alone. In a month that is shorter, its last day.",
                "example": 1,
            },
        ),
    }


def _check_schedule(schema: ma.Schema, data: Mapping[str, Any], **_: Any) -> None:
    problems = {}
    for name, frequency in (("weekday", "weekly"), ("day_of_month", "monthly")):
        if data["frequency"] == frequency and name not in data:
            problems[name] = [f"Missing: a {frequency} report has one."]
        if data["frequency"] != frequency and name in data:
            problems[name] = [f"Only a {frequency} report has one."]
    if problems:
        raise ma.ValidationError(problems)


def _relative_export_fields(catalogue: Catalogue) -> dict[str, ma.fields.Field[Any]]:
    """Those of an export, with windows that move along."""
    fields: dict[str, ma.fields.Field[Any]] = export_fields(catalogue)
    relative = PARAMETERS["time_range"].fields(tuple(DAYS))
    return {name: relative.get(name, field) for name, field in fields.items() if name not in ("start_date", "end_date")}


def request_schemas(catalogue: Catalogue, allowed: tuple[Network, ...]) -> tuple[type[ma.Schema], type[ma.Schema]]:
    """The schemas of the bodies that make a report, and that change one."""
    export = type("ReportExportRequest", (ma.Schema,), {**_relative_export_fields(catalogue), "Meta": _Strict})
    schedule = type(
        "ReportScheduleRequest",
        (ma.Schema,),
        {
            **_schedule_fields(is_request=True),
            "check": ma.validates_schema(skip_on_field_errors=True)(_check_schedule),
            "Meta": _Strict,
        },
    )

    def fields(*, is_new: bool) -> dict[str, Any]:
        needed: dict[str, Any] = {"required": is_new}

        def default(value: Any) -> dict[str, Any]:
            return {"load_default": value} if is_new else {}

        return {
            "name": ma.fields.String(
                **needed,
                validate=[ma.validate.Length(min=1, max=MAX_NAME), _is_one_line],
                metadata={"description": "What it is called in lists and mails.", "example": "Weekly overview"},
            ),
            "export": ma.fields.Nested(
                export,
                **needed,
                metadata={"description": "What is exported; given whole.", "example": EXPORT_EXAMPLE},
            ),
            "schedule": ma.fields.Nested(
                schedule, **needed, metadata={"description": "When; given whole.", "example": SCHEDULE_EXAMPLE}
            ),
            "recipients": ma.fields.List(
                ma.fields.String(validate=_is_address, metadata={"format": "email"}),
                allow_none=not is_new,
                validate=[ma.validate.Length(max=MAX_RECIPIENTS), _are_different],
                metadata={
                    "description": f"E-mail addresses that each run is sent to, at most {MAX_RECIPIENTS}: people of your own."
                    + ("" if is_new else " null for none."),
                    "example": ["ana@example.com"],
                },
                **default([]),
            ),
            "webhook_url": ma.fields.String(
                allow_none=True,
                validate=_is_receiver(allowed),
                metadata={
                    "description": "An https address that is told of each run, signed as Standard Webhooks has it."
                    + ("" if is_new else " null takes it away; given again, it turns one on that was turned off."),
                    "example": URL_EXAMPLE,
                    "maxLength": MAX_URL,
                },
                **default(None),
            ),
            "is_enabled": StrictBoolean(
                metadata={"description": "Whether it runs.", "example": True},
                **default(True),
            ),
        }

    changes: dict[str, Any] = {
        **fields(is_new=False),
        "rotate_webhook_secret": StrictBoolean(
            metadata={
                "description": "true for a new secret, which the answer shows. The old one signs beside it for a day.",
                "example": False,
            }
        ),
    }
    return (
        type("ReportRequest", (ma.Schema,), {**fields(is_new=True), "Meta": _Strict}),
        type("ReportChanges", (ma.Schema,), {**changes, "Meta": _Strict}),
    )


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


def report_schema(catalogue: Catalogue) -> type[ma.Schema]:
    """The schema of a report as it is shown."""
    export = type("ReportExport", (ma.Schema,), {**_relative_export_fields(catalogue), "Meta": _Open})
    schedule = type("ReportSchedule", (ma.Schema,), {**_schedule_fields(is_request=False), "Meta": _Open})
    fields: dict[str, Any] = {
        "report_id": _text("The report's identifier.", "rep_xyz123"),
        "name": _text("What it is called.", "Weekly overview"),
        "export": ma.fields.Nested(export, required=True, metadata={"description": "What is exported."}),
        "schedule": ma.fields.Nested(schedule, required=True, metadata={"description": "When it runs."}),
        "recipients": ma.fields.List(
            ma.fields.String(metadata={"format": "email"}),
            required=True,
            metadata={"description": "Whom each run is sent to.", "example": ["ana@example.com"]},
        ),
        "webhook_url": _text("Which address is told of each run.", URL_EXAMPLE, nullable=True),
        "webhook_secret": _text(
            "What webhooks are signed with: in the answer that made it, and never again.", None, nullable=True
        ),
        "webhook_failures": _count("Runs in a row that the address was not told of.", 0),
        "webhook_disabled_at": _time(
            "When the webhook was turned off, after ten such runs or a 410; null while it is on.", None, nullable=True
        ),
        "is_enabled": ma.fields.Boolean(required=True, metadata={"description": "Whether it runs.", "example": True}),
        "next_run_at": _time("When it runs next; null where it does not.", "2025-12-01T07:00:00Z", nullable=True),
        "created_at": _time("When it was made.", "2025-11-26T10:00:00Z"),
        "updated_at": _time("When it was changed last.", "2025-11-26T10:00:00Z"),
    }
    return type("Report", (OpenSchema,), {**fields, "Meta": _Open})


class Delivery(OpenSchema):
    """One that a run is sent to."""

    channel = _enum("ReportChannel", CHANNELS, "How.", "email")
    target = _text("The e-mail address, or the webhook's.", "ana@example.com")
    status = _enum("DeliveryStatus", DELIVERY_STATUSES, "pending until it is delivered, or given up.", "delivered")
    attempts = _count("How often it was tried; at most five times.", 1)
    error = _text("What went wrong the last time; null where nothing did.", None, nullable=True)
    ended_at = _time("When it was delivered, or given up.", "2025-12-01T07:01:00Z", nullable=True)


def run_schema() -> type[ma.Schema]:
    """The schema of a run."""
    fields: dict[str, Any] = {
        "run_id": _text("The run's identifier; the webhook's `webhook-id`.", "run_xyz123"),
        "scheduled_for": _time("When it was due.", "2025-12-01T07:00:00Z"),
        "export_id": _text("Its export; null where none could be made.", "exp_xyz123", nullable=True),
        "status": _enum(
            "ReportRunStatus",
            RUN_STATUSES,
            "processing while its export is written, delivering while it is sent; completed once it has reached all, failed"
            " where it has not.",
            "completed",
        ),
        "error": _text("Why it failed; null where it did not.", None, nullable=True),
        "deliveries": ma.fields.List(
            ma.fields.Nested(Delivery), required=True, metadata={"description": "Whom it is sent to, once its export has ended."}
        ),
        "created_at": _time("When it was begun.", "2025-12-01T07:00:04Z"),
        "ended_at": _time("When it ended.", "2025-12-01T07:01:00Z", nullable=True),
    }
    return type("ReportRun", (OpenSchema,), {**fields, "Meta": _Open})


def list_schema(name: str, key: str, item: type[ma.Schema]) -> type[ma.Schema]:
    """The schema of an answer with a page of things."""
    page = type(
        name,
        (OpenSchema,),
        {
            key: ma.fields.List(ma.fields.Nested(item), required=True, metadata={"description": "Newest first."}),
            "next_cursor": ma.fields.String(
                required=True,
                allow_none=True,
                metadata={
                    "description": "Sent as `cursor`, it gives the next page; null on the last one.",
                    "example": "MjAyNS0xMS0yNlQxMDowMDowMFp8cmVwX3h5ejEyMw",
                },
            ),
            "Meta": _Open,
        },
    )
    return data_schema(f"{name}Response", ma.fields.Nested(page, required=True))


def schedule_of(body: Mapping[str, Any]) -> Schedule:
    """The schedule that a loaded body says."""
    return Schedule(
        body["frequency"], time.fromisoformat(body["at"]), body["timezone"], body.get("weekday"), body.get("day_of_month")
    )


def report_body(report: Report, secret: str | None = None) -> dict[str, Any]:
    """A report as it is shown; its secret only by who has just made it."""
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
    """A run as it is shown."""
    return dict(vars(run))
