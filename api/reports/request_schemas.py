"""marshmallow schemas of report requests: they validate bodies and document them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import time
from typing import Any

import marshmallow as ma

from api.contract.contract import Contract
from api.contract.parameters import DAYS, PARAMETERS, is_time_zone
from api.contract.schema_classes import schema_class
from api.exports.query.schemas import OwnWindow, report_query_schema
from api.exports.request_schemas import StrictBoolean, export_fields
from api.net.ssrf import Network
from api.reports.one_line import is_forbidden, one_line
from api.reports.schedule import FREQUENCIES, WEEKDAYS, Schedule
from api.reports.webhook_url import MAX_URL_LENGTH, WebhookUrl

MAX_NAME_LENGTH = 200
MAX_ADDRESS_LENGTH = 254
MAX_RECIPIENTS = 20
# addresses that need no SMTP extension; an internationalized domain is written as xn--…
ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64})*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}(?<!-))?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}(?<!-))?)+"
)
INVALID_TIME = "Must be a time of day, such as 08:00."
TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
SCHEDULE_EXAMPLE = {"frequency": "weekly", "weekday": "monday", "at": "08:00", "timezone": "Europe/Berlin"}
EXPORT_EXAMPLE = {"export_type": "workspace_overview", "format": "csv", "time_range": "7d"}
URL_EXAMPLE = "https://hooks.example.com/mailmart"


def _is_address(text: str) -> None:
    if len(text) > MAX_ADDRESS_LENGTH or not ADDRESS.fullmatch(text):
        raise ma.ValidationError("Not a valid e-mail address.")


def _are_distinct_addresses(addresses: list[str]) -> None:
    if len({address.lower() for address in addresses}) < len(addresses):
        raise ma.ValidationError("Must not contain duplicates.")


def _is_one_line(text: str) -> None:
    """Names are shown in lists and are the subject of mails."""
    if not one_line(text) or any(is_forbidden(character) for character in text):
        raise ma.ValidationError("Must be one line of text, without control or invisible characters.")


def _is_webhook_url(allowed: tuple[Network, ...]) -> Callable[[str], None]:
    def check(url: str) -> None:
        try:
            WebhookUrl.parse(url, allowed)
        except ValueError as error:
            raise ma.ValidationError(str(error)) from error

    return check


def schedule_fields(*, is_request: bool) -> dict[str, ma.fields.Field[Any]]:
    """The fields of a schedule, in requests (the time zone is optional) or responses."""

    def enum(name: str, values: tuple[str, ...], description: str, example: str, **options: Any) -> ma.fields.String:
        return ma.fields.String(
            validate=ma.validate.OneOf(values),
            metadata={"description": description, "example": example, "x-enum-name": name},
            **options,
        )

    zone: dict[str, Any] = {"load_default": "UTC"} if is_request else {"required": True}
    return {
        "frequency": enum("ReportFrequency", FREQUENCIES, "How often the report runs.", "weekly", required=True),
        "at": ma.fields.String(
            required=True,
            # the length, because $ also matches before a final line feed
            validate=[ma.validate.Regexp(TIME_OF_DAY, error=INVALID_TIME), ma.validate.Length(equal=5, error=INVALID_TIME)],
            metadata={
                "description": "Local time of day, HH:MM. If a change of clocks skips it, the report runs right after the change;"
                " if it occurs twice, the report runs the first time.",
                "example": "08:00",
            },
        ),
        "timezone": ma.fields.String(
            validate=is_time_zone,
            metadata={"description": "Time zone of `at`, an IANA name.", "example": "Europe/Berlin"},
            **zone,
        ),
        "weekday": enum("ReportWeekday", WEEKDAYS, "Day of the week. Only for weekly reports.", "monday"),
        "day_of_month": ma.fields.Integer(
            strict=True,
            validate=ma.validate.Range(min=1, max=31),
            metadata={
                "description": "Day of the month. Only for monthly reports. Shorter months use their last day.",
                "example": 1,
            },
        ),
    }


def _check_schedule(schema: ma.Schema, data: Mapping[str, Any], **_: Any) -> None:
    problems = {}
    for name, frequency in (("weekday", "weekly"), ("day_of_month", "monthly")):
        if data["frequency"] == frequency and name not in data:
            problems[name] = [f"Required for {frequency} reports."]
        if data["frequency"] != frequency and name in data:
            problems[name] = [f"Only allowed for {frequency} reports."]
    if problems:
        raise ma.ValidationError(problems)


def relative_export_fields(contract: Contract, query: type[ma.Schema]) -> dict[str, ma.fields.Field[Any]]:
    """The fields of an export request with a relative time range; `query` is the schema of its query."""
    fields: dict[str, ma.fields.Field[Any]] = export_fields(contract, query)
    relative = PARAMETERS["time_range"].fields(tuple(DAYS))
    return {name: relative.get(name, field) for name, field in fields.items() if name not in ("start_date", "end_date")}


def request_schemas(contract: Contract, allowed: tuple[Network, ...]) -> tuple[type[ma.Schema], type[ma.Schema]]:
    """The schemas of the bodies that create and change a report; `allowed` are private networks that webhooks may use."""
    export = schema_class(
        "ReportExportRequest",
        {
            **relative_export_fields(contract, report_query_schema(contract.semantic_layer)),
            "catalogue": contract.catalogue,
        },
        bases=(OwnWindow, ma.Schema),
    )
    schedule = schema_class(
        "ReportScheduleRequest",
        {
            **schedule_fields(is_request=True),
            "check": ma.validates_schema(skip_on_field_errors=True)(_check_schedule),
        },
    )

    def fields(*, is_new: bool) -> dict[str, Any]:
        needed: dict[str, Any] = {"required": is_new}
        complete = "" if is_new else " Must be complete: it replaces the old one."

        def default(value: Any) -> dict[str, Any]:
            return {"load_default": value} if is_new else {}

        return {
            "name": ma.fields.String(
                **needed,
                validate=[ma.validate.Length(min=1, max=MAX_NAME_LENGTH), _is_one_line],
                metadata={"description": "Name of the report, also the subject of its mails.", "example": "Weekly overview"},
            ),
            "export": ma.fields.Nested(
                export,
                **needed,
                metadata={"description": f"The export request of each run.{complete}", "example": EXPORT_EXAMPLE},
            ),
            "schedule": ma.fields.Nested(
                schedule,
                **needed,
                metadata={"description": f"When the report runs.{complete}", "example": SCHEDULE_EXAMPLE},
            ),
            "recipients": ma.fields.List(
                ma.fields.String(validate=_is_address, metadata={"format": "email"}),
                allow_none=not is_new,
                validate=[ma.validate.Length(max=MAX_RECIPIENTS), _are_distinct_addresses],
                metadata={
                    "description": f"Up to {MAX_RECIPIENTS} e-mail addresses that each run is sent to. Use addresses of your own"
                    " organization." + ("" if is_new else " null removes all."),
                    "example": ["ana@example.com"],
                },
                **default([]),
            ),
            "webhook_url": ma.fields.String(
                allow_none=True,
                validate=_is_webhook_url(allowed),
                metadata={
                    "description": "An https URL that is called for each run, signed as Standard Webhooks specifies."
                    + ("" if is_new else " null removes it; any value enables a webhook that was disabled."),
                    "example": URL_EXAMPLE,
                    "maxLength": MAX_URL_LENGTH,
                },
                **default(None),
            ),
            "is_enabled": StrictBoolean(
                metadata={"description": "Whether the report runs.", "example": True},
                **default(True),
            ),
        }

    changes: dict[str, Any] = {
        **fields(is_new=False),
        "rotate_webhook_secret": StrictBoolean(
            metadata={
                "description": "true creates a new secret, which the response contains. For a day the old secret signs as well.",
                "example": False,
            }
        ),
    }
    return schema_class("ReportRequest", fields(is_new=True)), schema_class("ReportChanges", changes)


def parse_schedule(body: Mapping[str, Any]) -> Schedule:
    """The schedule of a validated body."""
    return Schedule(
        body["frequency"], time.fromisoformat(body["at"]), body["timezone"], body.get("weekday"), body.get("day_of_month")
    )
