"""The parameters that an endpoint can take, and what each sets in the request context."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import marshmallow as ma

from api.errors import InvalidTimeRange, ValidationFailed

DAYS = {"7d": 7, "30d": 30, "90d": 90}
LONGEST_WINDOW = 731
GROUP_BY = ("day", "week", "month")

Settings = dict[str, str]


@dataclass(frozen=True)
class Resolved:
    """What a request's parameters come to: settings of the request context, and what the response says of them."""

    settings: Settings
    shown: dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query.

    Attributes:
        fields: makes the marshmallow fields, by their names in the query, out of the choices that are allowed.
        resolve: makes what they come to out of the loaded fields and today's UTC date.
        choices: the values of the one that an endpoint can narrow.
        shows: the schema, by name, of each thing that it adds to the response.
    """

    fields: Callable[[tuple[str, ...]], dict[str, ma.fields.Field[Any]]]
    resolve: Callable[[Mapping[str, Any], date], Resolved]
    choices: tuple[str, ...] = ()
    shows: dict[str, type[ma.Schema]] = field(default_factory=dict)


class IsoDate(ma.fields.Date):
    """A date, or a date-time, which counts as its UTC date (one without a zone is UTC)."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> date:
        text = str(value)
        try:
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
                return date.fromisoformat(text)
            if not re.fullmatch(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}\S*", text, re.ASCII):
                raise ValueError(text)
            moment = datetime.fromisoformat(text)
            return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).date()
        except (ValueError, OverflowError) as error:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from error


class TimeRange(ma.Schema):
    """The window that the numbers are of, both ends inside."""

    class Meta:
        unknown = ma.EXCLUDE

    start = ma.fields.DateTime(
        required=True, metadata={"description": "First second of the window (UTC).", "example": "2025-10-27T00:00:00Z"}
    )
    end = ma.fields.DateTime(
        required=True, metadata={"description": "Last second of the window (UTC).", "example": "2025-11-26T23:59:59Z"}
    )
    period = ma.fields.String(
        required=True,
        validate=ma.validate.OneOf([*DAYS, "custom"]),
        metadata={"description": "What was asked for.", "example": "30d", "x-enum-name": "TimeRangePeriod"},
    )


def _time_range_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    allowed = choices or (*DAYS, "custom")
    fields: dict[str, ma.fields.Field[Any]] = {
        "timeRange": ma.fields.String(
            load_default="30d",
            validate=ma.validate.OneOf(allowed),
            metadata={
                "description": "The window: so many days before today, to today (UTC)"
                + ("; custom: from startDate to endDate." if "custom" in allowed else "."),
                "example": "30d",
                "x-enum-name": "TimeRangePeriod" if len(allowed) == len(DAYS) + 1 else "FixedTimeRangePeriod",
            },
        )
    }
    if "custom" in allowed:
        for name, which in (("startDate", "First"), ("endDate", "Last")):
            fields[name] = IsoDate(
                metadata={
                    "description": f"{which} date of a custom window: a date, or a date-time, which counts as its UTC date.",
                    # no example: the documentation page would send it along with a window that takes none
                    "x-any-of-formats": ["date", "date-time"],
                }
            )
    return fields


def _resolve_time_range(given: Mapping[str, Any], today: date) -> Resolved:
    period = given["timeRange"]
    start, end = given.get("startDate"), given.get("endDate")
    if period == "custom":
        missing = [name for name, value in (("startDate", start), ("endDate", end)) if value is None]
        if start is None or end is None:
            raise ValidationFailed(
                "A custom window needs startDate and endDate",
                details={name: ["Missing data for required field."] for name in missing},
            )
        if start > end:
            raise InvalidTimeRange("Start date must be before end date")
        if (end - start).days >= LONGEST_WINDOW:
            raise InvalidTimeRange(f"A window has at most {LONGEST_WINDOW} dates")
    else:
        surplus = [name for name in ("startDate", "endDate") if name in given]
        if surplus:
            raise ValidationFailed(
                "startDate and endDate go with timeRange=custom",
                details={name: ["Only with timeRange=custom."] for name in surplus},
            )
        start, end = today - timedelta(days=DAYS[period]), today
    return Resolved(
        {"mailmart.range_start": start.isoformat(), "mailmart.range_end": end.isoformat()},
        {"time_range": {"start": f"{start}T00:00:00Z", "end": f"{end}T23:59:59Z", "period": period}},
    )


def _group_by_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "groupBy": ma.fields.String(
            load_default="day",
            validate=ma.validate.OneOf(choices or GROUP_BY),
            metadata={
                "description": "The series' buckets, each named by its first day inside the window; weeks begin on Monday.",
                "example": "day",
                "x-enum-name": "GroupBy",
            },
        )
    }


PARAMETERS: dict[str, Parameter] = {
    "timeRange": Parameter(_time_range_fields, _resolve_time_range, (*DAYS, "custom"), {"time_range": TimeRange}),
    "groupBy": Parameter(_group_by_fields, lambda given, today: Resolved({"mailmart.group_by": given["groupBy"]}, {}), GROUP_BY),
}


@dataclass(frozen=True)
class PathParameter:
    """A parameter of a path: the setting that it goes to, and what the document says of it."""

    setting: str
    description: str
    example: str
    not_found: str


PATH_PARAMETERS: dict[str, PathParameter] = {
    "campaignId": PathParameter(
        "mailmart.campaign_id",
        "Campaign identifier",
        "cmp_abc123",
        "Campaign with ID {id} not found in workspace {workspace}",
    ),
}
