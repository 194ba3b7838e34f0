"""When a nightly run is due."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from api.builds.schedule import latest_due, next_due
from api.errors import SettingsError
from api.settings import Settings

TWO = time(2)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "latest", "following"),
    [
        ("2026-03-10 01:59:59.999999", "2026-03-09 02:00", "2026-03-10 02:00"),
        ("2026-03-10 02:00", "2026-03-10 02:00", "2026-03-11 02:00"),
        ("2026-03-10 02:00:00.000001", "2026-03-10 02:00", "2026-03-11 02:00"),
        ("2026-03-10 23:59:59", "2026-03-10 02:00", "2026-03-11 02:00"),
        ("2026-01-01 00:30", "2025-12-31 02:00", "2026-01-01 02:00"),
        ("2028-02-29 12:00", "2028-02-29 02:00", "2028-03-01 02:00"),
    ],
)
def test_latest_and_next_due(now: str, latest: str, following: str) -> None:
    assert latest_due(utc(now), TWO) == utc(latest)
    assert next_due(utc(now), TWO) == utc(following)


def test_midnight() -> None:
    assert latest_due(utc("2026-03-10 00:00"), time(0)) == utc("2026-03-10 00:00")
    assert next_due(utc("2026-03-09 23:59"), time(0)) == utc("2026-03-10 00:00")


def test_daylight_saving_changes_no_run() -> None:
    # in Berlin 02:00 to 03:00 is skipped on the first day, and there twice on the second
    for change in ("2026-03-29", "2026-10-25"):
        before = latest_due(utc(f"{change} 00:00"), TWO)
        after = next_due(utc(f"{change} 00:00"), TWO)
        assert after - before == timedelta(days=1)
        local = datetime.fromisoformat(f"{change} 12:00").replace(tzinfo=ZoneInfo("Europe/Berlin"))
        assert latest_due(local, TWO) == utc(f"{change} 02:00")
    assert latest_due(datetime(2026, 3, 10, 1, tzinfo=timezone(timedelta(hours=5))), TWO) == utc("2026-03-09 02:00")


@pytest.mark.parametrize(
    "text", ["24:00", "2:00", "02:60", "0200", "02:00:00", "two", "02:00+01:00", "\u0660\u0662:\u0660\u0660"]
)
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="MAILMART_NIGHTLY_AT is") as raised:
        Settings.from_environment({"MAILMART_NIGHTLY_AT": text})
    assert "UTC" in raised.value.hint


def test_the_setting_nightly_at() -> None:
    assert Settings.from_environment({}).nightly_at == time(2)
    assert Settings.from_environment({"MAILMART_NIGHTLY_AT": "23:05"}).nightly_at == time(23, 5)
