"""The parameters that an endpoint can have, and the settings of the request context that each resolves to."""

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
MAX_WINDOW_DAYS = 731
# in the OpenAPI document, an enum with fewer values needs a name of its own
ENUM_NAMES = {
    (*DAYS, "custom"): "TimeRangePeriod",
    tuple(DAYS): "FixedTimeRangePeriod",
    ("30d", "90d"): "LongTimeRangePeriod",
    ("30d", "90d", "custom"): "LongOrCustomTimeRangePeriod",
}
# names for SDKs: 7d is not an identifier in any language
PERIOD_NAMES = {**{name: f"LAST_{days}_DAYS" for name, days in DAYS.items()}, "custom": "CUSTOM"}
GROUP_BY = ("day", "week", "month")
GRANULARITIES = ("period", "hour")
COMPARED_PERIODS = ("previous_period",)
MAX_ID_LENGTH = 400
# bounds of a planned share: any number that people write, and none whose sum or quotient overflows
MIN_SHARE, MAX_SHARE = 0.0001, 1_000_000
# IANA's own list: a machine's zone folder also has files that are not zones (localtime, posixrules), and reading it takes 14 ms.
# Factory is in the list, but means that no zone is set
TIME_ZONES = frozenset(importlib.resources.files("tzdata").joinpath("zones").read_text().split()) - {"Factory"}
UNKNOWN_ZONE = "Must be an IANA time zone, such as Europe/Berlin."

Settings = dict[str, str]


@dataclass(frozen=True)
class Resolved:
    """A resolved parameter: settings of the request context, and fields that the response repeats."""

    settings: Settings
    response_fields: dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query or a body; it may consist of several fields.

    Attributes:
        fields: the marshmallow fields by name, for the choices that an endpoint allows.
        resolve: the resolved parameter, for the loaded fields and today's UTC date.
        choices: the values that an endpoint can restrict.
        response_schemas: the schema of each field that it adds to the response, by name.
        chooses_columns: a list parameter whose choices are the columns with `if_param` of its name.
    """

    fields: Callable[[tuple[str, ...]], dict[str, ma.fields.Field[Any]]]
    resolve: Callable[[Mapping[str, Any], date], Resolved]
    choices: tuple[str, ...] = ()
    response_schemas: dict[str, type[ma.Schema]] = field(default_factory=dict)
    chooses_columns: bool = False


class IsoDate(ma.fields.Date):
    """A date; or a date-time, which is converted to its UTC date (without an offset, it is UTC)."""

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
    """The time range of the numbers, both ends included."""

    class Meta:
        unknown = ma.EXCLUDE

    start = ma.fields.DateTime(
        required=True, metadata={"description": "First second of the time range (UTC).", "example": "2025-10-27T00:00:00Z"}
    )
    end = ma.fields.DateTime(
        required=True, metadata={"description": "Last second of the time range (UTC).", "example": "2025-11-26T23:59:59Z"}
    )
    period = ma.fields.String(
        required=True,
        validate=ma.validate.OneOf([*DAYS, "custom"]),
        metadata={
            "description": "The requested time range.",
            "example": "30d",
            "x-enum-name": "TimeRangePeriod",
            "x-enum-varnames": [PERIOD_NAMES[name] for name in (*DAYS, "custom")],
        },
    )


def _time_range_parameter(period: str, start: str, end: str) -> Parameter:
    """The time range, under the names of a query (timeRange) or of a body (time_range)."""

    def make_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
        allowed = choices or (*DAYS, "custom")
        fields: dict[str, ma.fields.Field[Any]] = {
            period: ma.fields.String(
                load_default="30d",
                validate=ma.validate.OneOf(allowed),
                metadata={
                    "description": "Time range in UTC: today and this number of days before it"
                    + (f"; `custom`: from {start} to {end}, both included." if "custom" in allowed else "."),
                    "example": "30d",
                    "x-enum-name": ENUM_NAMES.get(allowed) or "TimeRangePeriodOf" + "Or".join(map(str.capitalize, allowed)),
                    "x-enum-varnames": [PERIOD_NAMES[name] for name in allowed],
                },
            )
        }
        if "custom" in allowed:
            for name, which in ((start, "First"), (end, "Last")):
                fields[name] = IsoDate(
                    metadata={
                        "description": f"{which} date of a custom time range. A date-time is converted to its UTC date.",
                        # no example: the documentation page would send it with every time range
                        "x-any-of-formats": ["date", "date-time"],
                    }
                )
        return fields

    def resolve(params: Mapping[str, Any], today: date) -> Resolved:
        first, last = _window(params, today, period, start, end)
        return Resolved(
            {"mailmart.range_start": first.isoformat(), "mailmart.range_end": last.isoformat()},
            {"time_range": {"start": f"{first}T00:00:00Z", "end": f"{last}T23:59:59Z", "period": params[period]}},
        )

    return Parameter(make_fields, resolve, (*DAYS, "custom"), {"time_range": TimeRange})


def resolve_window(body: Mapping[str, Any], today: date) -> tuple[date, date]:
    """The first and the last day of the time range of a validated body, on a day (UTC).

    Raises:
        ValidationFailed, InvalidTimeRange: its fields contradict each other.
    """
    return _window(body, today, "time_range", "start_date", "end_date")


def _window(params: Mapping[str, Any], today: date, period: str, start: str, end: str) -> tuple[date, date]:
    first, last = params.get(start), params.get(end)
    if params[period] != "custom":
        unexpected = [name for name in (start, end) if name in params]
        if unexpected:
            raise ValidationFailed(
                f"{start} and {end} need {period}=custom",
                details={name: [f"Only allowed with {period}=custom."] for name in unexpected},
            )
        return today - timedelta(days=DAYS[params[period]]), today
    if first is None or last is None:
        raise ValidationFailed(
            f"A custom time range needs {start} and {end}",
            details={name: ["Missing data for required field."] for name in (start, end) if params.get(name) is None},
        )
    if first > last:
        raise InvalidTimeRange(
            "Start date must be before end date",
            details={start: [f"Must not be after {end}."], end: [f"Must not be before {start}."]},
        )
    if (last - first).days >= MAX_WINDOW_DAYS:
        too_long = f"A time range has at most {MAX_WINDOW_DAYS} days"
        raise InvalidTimeRange(too_long, details={name: [f"{too_long}, both ends included."] for name in (start, end)})
    return first, last


def _group_by_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "groupBy": ma.fields.String(
            load_default="day",
            validate=ma.validate.OneOf(choices or GROUP_BY),
            metadata={
                "description": "Bucket of the time series. Its `date` is its first day in the time range; weeks start on Monday.",
                "example": "day",
                "x-enum-name": "GroupBy",
            },
        )
    }


class Id(ma.fields.String):
    """An id of another system: any text that PostgreSQL can store."""

    def __init__(self, *, allow_empty: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._min_length = 0 if allow_empty else 1

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if len(text) < self._min_length or len(text) > MAX_ID_LENGTH or "\0" in text or not _is_encodable(text):
            raise ma.ValidationError(f"Must be {self._min_length} to {MAX_ID_LENGTH} characters of text.")
        return text


def _is_encodable(text: str) -> bool:
    """False for text with half of a surrogate pair, which JSON allows and UTF-8 does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _filter_parameter(name: str, setting: str, description: str) -> Parameter:
    """An optional filter by id."""

    def resolve(params: Mapping[str, Any], today: date) -> Resolved:
        return Resolved({setting: params[name]} if name in params else {}, {})

    return Parameter(lambda choices: {name: Id(metadata={"description": description})}, resolve)


def is_time_zone(name: str) -> None:
    """
    Raises:
        ValidationError: it is not an IANA time zone.
    """
    if name not in TIME_ZONES:
        raise ma.ValidationError(UNKNOWN_ZONE)


def _timezone_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    description = (
        "IANA time zone of local days and hours, such as America/New_York."
        " Endpoints that always show local times use the workspace's by default."
    )
    return {"timezone": ma.fields.String(validate=is_time_zone, metadata={"description": description})}


def _granularity_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "granularity": ma.fields.String(
            load_default="period",
            validate=ma.validate.OneOf(choices or GRANULARITIES),
            metadata={
                "description": "Cells of the heatmap: four periods a day (`period`), or 24 hours (`hour`).",
                "example": "period",
                "x-enum-name": "Granularity",
            },
        )
    }


def _compare_to_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "compare_to": ma.fields.String(
            validate=ma.validate.OneOf(choices or COMPARED_PERIODS),
            metadata={
                "description": "`previous_period`: adds the numbers of the period of the same length directly before the time"
                " range, and the change of each number.",
                "x-enum-name": "ComparedPeriod",
            },
        )
    }


def _resolve_compare_to(params: Mapping[str, Any], today: date) -> Resolved:
    return Resolved({"mailmart.compare_to": params["compare_to"]} if "compare_to" in params else {}, {})


def _campaign_ids_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "campaign_ids": ma.fields.List(
            Id(),
            required=True,
            validate=[ma.validate.Length(min=2, max=10), are_distinct],
            metadata={
                "description": "Ids of 2 to 10 campaigns to compare, without duplicates.",
                "example": ["cmp_abc123", "cmp_def456", "cmp_ghi789"],
                "uniqueItems": True,
            },
        )
    }


def _metrics_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    return {
        "metrics": ma.fields.List(
            ma.fields.String(validate=ma.validate.OneOf(choices), metadata={"x-enum-name": "Metric"}),
            validate=[ma.validate.Length(min=1, max=len(choices)), are_distinct],
            metadata={"description": "Rates to compare, without duplicates.", "example": list(choices), "uniqueItems": True},
        )
    }


def _expected_shares_fields(choices: tuple[str, ...]) -> dict[str, ma.fields.Field[Any]]:
    share = ma.fields.Float(validate=ma.validate.Range(min=MIN_SHARE, max=MAX_SHARE), allow_nan=False)
    return {
        "expected_shares": ma.fields.List(
            share,
            validate=ma.validate.Length(min=2, max=10),
            metadata={
                "description": "The planned split of the mail: one number for each campaign, in the order of campaign_ids."
                " Only their proportions count.",
            },
        )
    }


def _resolve_expected_shares(params: Mapping[str, Any], today: date) -> Resolved:
    shares = params.get("expected_shares")
    if shares is None:
        return Resolved({}, {})
    campaigns = len(params["campaign_ids"])
    if len(shares) != campaigns:
        raise ValidationFailed(
            "expected_shares needs one number for each campaign",
            details={"expected_shares": [f"Has {len(shares)} numbers, but campaign_ids has {campaigns} ids."]},
        )
    return Resolved({"mailmart.expected_shares": json.dumps(shares)}, {})


def are_distinct(values: list[str]) -> None:
    """A validator of lists.

    Raises:
        ValidationError: the list has duplicates.
    """
    if len(set(values)) < len(values):
        raise ma.ValidationError("Must not contain duplicates.")


PARAMETERS: dict[str, Parameter] = {
    "timeRange": _time_range_parameter("timeRange", "startDate", "endDate"),
    "time_range": _time_range_parameter("time_range", "start_date", "end_date"),
    "groupBy": Parameter(
        _group_by_fields, lambda params, today: Resolved({"mailmart.group_by": params["groupBy"]}, {}), GROUP_BY
    ),
    "campaignId": _filter_parameter("campaignId", "mailmart.campaign_id", "Only this campaign."),
    "domainId": _filter_parameter("domainId", "mailmart.domain_id", "Only this sending domain."),
    "status": _filter_parameter("status", "mailmart.campaign_status", "Only campaigns with this status, such as `sending`."),
    "timezone": Parameter(
        _timezone_fields,
        lambda params, today: Resolved({"mailmart.timezone": params["timezone"]} if "timezone" in params else {}, {}),
    ),
    "granularity": Parameter(
        _granularity_fields,
        lambda params, today: Resolved({"mailmart.granularity": params["granularity"]}, {}),
        GRANULARITIES,
    ),
    "compare_to": Parameter(_compare_to_fields, _resolve_compare_to, COMPARED_PERIODS),
    "campaign_ids": Parameter(
        _campaign_ids_fields,
        lambda params, today: Resolved({"mailmart.campaign_ids": json.dumps(params["campaign_ids"])}, {}),
    ),
    "metrics": Parameter(
        _metrics_fields,
        lambda params, today: Resolved({"mailmart.metrics": json.dumps(params["metrics"])}, {}),
        chooses_columns=True,
    ),
    "expected_shares": Parameter(_expected_shares_fields, _resolve_expected_shares),
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
    """A parameter of a path: the setting of the request context, its text in the OpenAPI document, and an id of the demo."""

    setting: str
    description: str
    example: str


# fields of a body that have other values in the demo (api/tools/demo): its documentation page can be tried as it is
DEMO_FIELDS: dict[str, Any] = {"campaign_ids": ["cmp_demo_1", "cmp_demo_4"]}
PATH_PARAMETERS: dict[str, PathParameter] = {
    "campaignId": PathParameter(
        "mailmart.campaign_id",
        "Campaign identifier",
        "cmp_demo_1",
    ),
}
