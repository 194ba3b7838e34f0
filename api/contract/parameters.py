"""The parameters that an endpoint can take, and what each sets in the request context."""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import marshmallow as ma

from api.errors import InvalidTimeRange, ValidationFailed

DAYS = {"7d": 7, "30d": 30, "90d": 90}
MAX_WINDOW = 731
# an enum with fewer values is another one in the document
ENUM_NAMES = {(*DAYS, "custom"): "TimeRangePeriod", tuple(DAYS): "FixedTimeRangePeriod", ("30d", "90d"): "LongTimeRangePeriod"}
# what an SDK calls them: 7d is a name in no language
PERIOD_NAMES = {**{name: f"LAST_{days}_DAYS" for name, days in DAYS.items()}, "custom": "CUSTOM"}
GROUP_BY = ("day", "week", "month")
GRANULARITIES = ("period", "hour")
MAX_ID = 400
# IANA's own list: what lies beside the zones on a machine (localtime, posixrules) is none, and looking there takes 14 ms;
# Factory is in the list, and says that no zone is set
TIME_ZONES = frozenset(importlib.resources.files("tzdata").joinpath("zones").read_text().split()) - {"Factory"}
UNKNOWN_ZONE = "Must be a time zone's IANA name, such as Europe/Berlin."

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
        chooses_columns: its choices are the columns that an endpoint shows only if the parameter has their names (`if_param`).
    """

    fields: Callable[[tuple[str, ...]], dict[str, ma.fields.Field[Any]]]
    resolve: Callable[[Mapping[str, Any], date], Resolved]
    choices: tuple[str, ...] = ()
    shows: dict[str, type[ma.Schema]] = field(default_factory=dict)
    chooses_columns: bool = False


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
        metadata={
            "description": "What was asked for.",
            "example": "30d",
            "x-enum-name": "TimeRangePeriod",
            "x-enum-varnames": [PERIOD_NAMES[name] for name in (*DAYS, "custom")],
        },
    )


def _time_range_parameter(period: str, start: str, end: str) -> Parameter:
    """The window, under the names of a query (timeRange) or of a body (time_range)."""

    def fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
        allowed = choices or (*DAYS, "custom")
        made: dict[str, ma.fields.Field[Any]] = {
            period: ma.fields.String(
                load_default="30d",
                validate=ma.validate.OneOf(allowed),
                metadata={
                    "description": "The window: so many days before today, to today (UTC)"
                    + (f"; custom: from {start} to {end}." if "custom" in allowed else "."),
                    "example": "30d",
                    "x-enum-name": ENUM_NAMES.get(allowed) or "TimeRangePeriodOf" + "Or".join(map(str.capitalize, allowed)),
                    "x-enum-varnames": [PERIOD_NAMES[name] for name in allowed],
                },
            )
        }
        if "custom" in allowed:
            for name, which in ((start, "First"), (end, "Last")):
                made[name] = IsoDate(
                    metadata={
                        "description": f"{which} date of a custom window: a date, or a date-time, which counts as its UTC date.",
                        # no example: the documentation page would send it along with a window that takes none
                        "x-any-of-formats": ["date", "date-time"],
                    }
                )
        return made

    def resolve(given: Mapping[str, Any], today: date) -> Resolved:
        first, last = _window(given, today, period, start, end)
        return Resolved(
            {"mailmart.range_start": first.isoformat(), "mailmart.range_end": last.isoformat()},
            {"time_range": {"start": f"{first}T00:00:00Z", "end": f"{last}T23:59:59Z", "period": given[period]}},
        )

    return Parameter(fields, resolve, (*DAYS, "custom"), {"time_range": TimeRange})


def _window(given: Mapping[str, Any], today: date, period: str, start: str, end: str) -> tuple[date, date]:
    first, last = given.get(start), given.get(end)
    if given[period] != "custom":
        surplus = [name for name in (start, end) if name in given]
        if surplus:
            raise ValidationFailed(
                f"{start} and {end} go with {period}=custom", details={name: [f"Only with {period}=custom."] for name in surplus}
            )
        return today - timedelta(days=DAYS[given[period]]), today
    if first is None or last is None:
        raise ValidationFailed(
            f"A custom window needs {start} and {end}",
            details={name: ["Missing data for required field."] for name in (start, end) if given.get(name) is None},
        )
    if first > last:
        raise InvalidTimeRange(
            "Start date must be before end date",
            details={start: [f"Must not be after {end}."], end: [f"Must not be before {start}."]},
        )
    if (last - first).days >= MAX_WINDOW:
        too_long = f"A window has at most {MAX_WINDOW} dates"
        raise InvalidTimeRange(too_long, details={name: [f"{too_long}, both ends included."] for name in (start, end)})
    return first, last


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


class Id(ma.fields.String):
    """An id as others gave it: any text that PostgreSQL can hold."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not text or len(text) > MAX_ID or "\0" in text or not _is_encodable(text):
            raise ma.ValidationError(f"Must be 1 to {MAX_ID} characters of text.")
        return text


def _is_encodable(text: str) -> bool:
    """Whether it is text and no half of a surrogate pair, which JSON can name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _filter_parameter(name: str, setting: str, description: str) -> Parameter:
    """An id that only filters; without it, all."""

    def resolve(given: Mapping[str, Any], today: date) -> Resolved:
        return Resolved({setting: given[name]} if name in given else {}, {})

    return Parameter(lambda choices: {name: Id(metadata={"description": description})}, resolve)


def is_time_zone(name: str) -> None:
    """
    Raises:
        ValidationError: it is no zone's IANA name.
    """
    if name not in TIME_ZONES:
        raise ma.ValidationError(UNKNOWN_ZONE)


def _timezone_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    description = "Time zone of days and hours, an IANA name such as America/New_York; the workspace's own without it."
    return {"timezone": ma.fields.String(validate=is_time_zone, metadata={"description": description})}


def _granularity_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "granularity": ma.fields.String(
            load_default="period",
            validate=ma.validate.OneOf(choices or GRANULARITIES),
            metadata={
                "description": "Cells of four periods a day, or of hours.",
                "example": "period",
                "x-enum-name": "Granularity",
            },
        )
    }


def _campaign_ids_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "campaign_ids": ma.fields.List(
            Id(),
            required=True,
            validate=[ma.validate.Length(min=2, max=10), are_distinct],
            metadata={
                "description": "2 to 10 campaigns to compare, each once.",
                "example": ["cmp_abc123", "cmp_def456"],
                "uniqueItems": True,
            },
        )
    }


def _metrics_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "metrics": ma.fields.List(
            ma.fields.String(validate=ma.validate.OneOf(choices), metadata={"x-enum-name": "Metric"}),
            validate=[ma.validate.Length(min=1, max=len(choices)), are_distinct],
            metadata={"description": "The rates to compare, each once.", "example": list(choices), "uniqueItems": True},
        )
    }


def are_distinct(values: list[str]) -> None:
    """A validator of lists.

    Raises:
        ValidationError: something stands there twice.
    """
    if len(set(values)) < len(values):
        raise ma.ValidationError("Each can be named once.")


PARAMETERS: dict[str, Parameter] = {
    "timeRange": _time_range_parameter("timeRange", "startDate", "endDate"),
    "time_range": _time_range_parameter("time_range", "start_date", "end_date"),
    "groupBy": Parameter(_group_by_fields, lambda given, today: Resolved({"mailmart.group_by": given["groupBy"]}, {}), GROUP_BY),
    "campaignId": _filter_parameter("campaignId", "mailmart.campaign_id", "Only this campaign."),
    "domainId": _filter_parameter("domainId", "mailmart.domain_id", "Only this sending domain."),
    "timezone": Parameter(
        _timezone_fields,
        lambda given, today: Resolved({"mailmart.timezone": given["timezone"]} if "timezone" in given else {}, {}),
    ),
    "granularity": Parameter(
        _granularity_fields,
        lambda given, today: Resolved({"mailmart.granularity": given["granularity"]}, {}),
        GRANULARITIES,
    ),
    "campaign_ids": Parameter(
        _campaign_ids_fields,
        lambda given, today: Resolved({"mailmart.campaign_ids": json.dumps(given["campaign_ids"])}, {}),
    ),
    "metrics": Parameter(
        _metrics_fields,
        lambda given, today: Resolved({"mailmart.metrics": json.dumps(given["metrics"])}, {}),
        chooses_columns=True,
    ),
}


def parameter_fields(name: str, choices: tuple[str, ...] = (), default: tuple[str, ...] = ()) -> dict[str, ma.fields.Field[Any]]:
    """The fields of a parameter, by their names in the query or body.

    Args:
        name: the parameter, a key of PARAMETERS.
        choices: the values that the endpoint allows; () for all.
        default: the value of a list parameter if the request has none; () for the parameter's own default.
    """
    fields = PARAMETERS[name].fields(choices)
    if default:
        fields[name].load_default = list(default)
        fields[name].metadata = {**fields[name].metadata, "example": list(default)}
    return fields


@dataclass(frozen=True)
class PathParameter:
    """A parameter of a path: the setting that it goes to, and what the document says of it."""

    setting: str
    description: str
    example: str


PATH_PARAMETERS: dict[str, PathParameter] = {
    "campaignId": PathParameter(
        "mailmart.campaign_id",
        "Campaign identifier",
        "cmp_abc123",
    ),
}
