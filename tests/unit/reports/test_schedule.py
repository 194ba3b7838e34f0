"""Schedules, compared with an independent simulation of local clocks, and properties over all time zones."""

from __future__ import annotations

import random
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from api.reports.schedule import WEEKDAYS, Schedule

# every change of CHANGES is at a quarter of an hour
STEP = timedelta(minutes=15)
DAY = timedelta(days=1)
# daylight saving time, changes of the rules, changes by 30 minutes, at midnight, and across the date line
CHANGES = [
    ("Europe/Berlin", 2025),
    ("Europe/Dublin", 2025),
    ("America/New_York", 2025),
    ("America/St_Johns", 2025),
    ("America/Sao_Paulo", 2018),
    ("America/Santiago", 2025),
    ("America/Caracas", 2007),
    ("America/Caracas", 2016),
    ("America/Nuuk", 2024),
    ("Australia/Lord_Howe", 2025),
    ("Australia/Adelaide", 2025),
    ("Australia/Eucla", 2008),
    ("Antarctica/Troll", 2025),
    ("Antarctica/Casey", 2010),
    ("Africa/Casablanca", 2025),
    ("Africa/Cairo", 2014),
    ("Africa/Juba", 2021),
    ("Asia/Amman", 2022),
    ("Asia/Gaza", 2024),
    ("Asia/Kathmandu", 1986),
    ("Asia/Pyongyang", 2018),
    ("Asia/Tehran", 2022),
    ("Europe/Istanbul", 2016),
    ("Europe/Volgograd", 2020),
    ("Pacific/Apia", 2011),
    ("Pacific/Chatham", 2025),
    ("Pacific/Fakaofo", 2011),
    ("Pacific/Kiritimati", 1994),
    ("Pacific/Kwajalein", 1993),
    ("UTC", 2025),
]


def at(zone: str, text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def runs(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    scheduled = []
    moment = schedule.next_run(after)
    while moment < until:
        scheduled.append(moment)
        moment = schedule.next_run(moment)
    return scheduled


class SimulatedClock:
    """The local clock of a zone through a year: when it first showed each time or a later one, and which dates it showed."""

    def __init__(self, zone: str, year: int) -> None:
        self.first_shown: dict[datetime, datetime] = {}
        self.days: set[date] = set()
        info = ZoneInfo(zone)
        moment = datetime(year, 1, 1, tzinfo=UTC) - 3 * DAY
        latest = moment.astimezone(info).replace(tzinfo=None) - STEP
        while moment < datetime(year + 1, 1, 1, tzinfo=UTC) + 3 * DAY:
            shown = moment.astimezone(info).replace(tzinfo=None)
            self.days.add(shown.date())
            while latest < shown:
                latest += STEP
                self.first_shown[latest] = moment
            moment += STEP


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zone", "year"), [*CHANGES[:3], *(pytest.param(*change, marks=pytest.mark.slow) for change in CHANGES[3:])]
)
def test_runs_equal_the_simulation(zone: str, year: int, seed: int) -> None:
    simulated = SimulatedClock(zone, year)
    numbers = random.Random(f"{seed} {zone} {year}")
    times = [time(), time(2), time(2, 30), time(23, 30), time(numbers.randrange(24), 15 * numbers.randrange(4))]
    after, until = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    for clock in times:

        def shown_on(days: set[date], clock: time = clock) -> list[datetime]:
            scheduled = {simulated.first_shown.get(datetime.combine(day, clock), until) for day in days}
            return sorted(moment for moment in scheduled if after < moment < until)

        every = {date(year, 1, 1) + n * DAY for n in range(-2, 368)}
        assert runs(Schedule("daily", clock, zone), after, until) == shown_on(every & simulated.days), (seed, clock)
        weekday = numbers.randrange(7)
        weekly = Schedule("weekly", clock, zone, weekday=WEEKDAYS[weekday])
        assert runs(weekly, after, until) == shown_on({day for day in every if day.weekday() == weekday}), (seed, clock)
        number = numbers.choice([1, 15, 28, 29, 30, 31])
        monthly = Schedule("monthly", clock, zone, day=number)
        on_day = {day for day in every if day.day == min(number, monthrange(day.year, day.month)[1])}
        assert runs(monthly, after, until) == shown_on(on_day), (seed, clock)


@pytest.mark.parametrize(
    ("zone", "clock", "after", "expected"),
    [
        # the clocks change from 02:00 to 03:00: 02:30 and 03:00 are the same moment
        ("Europe/Berlin", "02:30", "2025-03-29T12:00", "2025-03-30T01:00:00+00:00"),
        ("Europe/Berlin", "03:00", "2025-03-29T12:00", "2025-03-30T01:00:00+00:00"),
        # 02:30 occurs twice; the first one counts
        ("Europe/Berlin", "02:30", "2025-10-25T12:00", "2025-10-26T00:30:00+00:00"),
        ("Europe/Berlin", "02:30", "2025-10-26T02:30", "2025-10-27T01:30:00+00:00"),
        # a change at midnight
        ("America/Sao_Paulo", "00:00", "2018-11-03T12:00", "2018-11-04T03:00:00+00:00"),
        # a change by half an hour
        ("Australia/Lord_Howe", "02:15", "2025-10-04T12:00", "2025-10-04T15:30:00+00:00"),
        # a change one minute past midnight
        ("America/St_Johns", "00:30", "2011-03-12T12:00", "2011-03-13T03:31:00+00:00"),
        # Saturday ends at 23:00, so 23:30 is the start of Sunday
        ("America/Nuuk", "23:30", "2024-03-30T12:00", "2024-03-31T01:00:00+00:00"),
        # Samoa skipped 30 December 2011
        ("Pacific/Apia", "09:00", "2011-12-29T09:00", "2011-12-30T19:00:00+00:00"),
        ("Asia/Kathmandu", "08:00", "2025-06-01T12:00", "2025-06-02T02:15:00+00:00"),
    ],
)
def test_daily_runs(zone: str, clock: str, after: str, expected: str) -> None:
    schedule = Schedule("daily", time.fromisoformat(clock), zone)
    assert schedule.next_run(at(zone, after)) == datetime.fromisoformat(expected)


def test_a_week_whose_day_was_skipped_has_a_run() -> None:
    # Samoa skipped Friday, 30 December 2011
    schedule = Schedule("weekly", time(9), "Pacific/Apia", weekday="friday")
    assert schedule.next_run(at("Pacific/Apia", "2011-12-28T12:00")) == at("Pacific/Apia", "2011-12-31T00:00")


def test_day_31_of_a_short_month_is_its_last_day() -> None:
    schedule = Schedule("monthly", time(8), "Europe/Berlin", day=31)
    scheduled = runs(schedule, at("Europe/Berlin", "2024-01-01T00:00"), at("Europe/Berlin", "2024-07-01T00:00"))
    local = [moment.astimezone(ZoneInfo("Europe/Berlin")) for moment in scheduled]
    assert [(moment.month, moment.day, moment.hour) for moment in local] == [
        (1, 31, 8),
        (2, 29, 8),
        (3, 31, 8),
        (4, 30, 8),
        (5, 31, 8),
        (6, 30, 8),
    ]


@pytest.mark.slow
def test_each_zone_has_one_run_per_day_week_or_month(seed: int) -> None:
    numbers = random.Random(seed)
    for zone in sorted(available_timezones()):
        year = numbers.randrange(1990, 2045)
        clock = time(numbers.randrange(24), numbers.randrange(60))
        schedules = [
            Schedule("daily", clock, zone),
            Schedule("weekly", clock, zone, weekday=numbers.choice(WEEKDAYS)),
            Schedule("monthly", clock, zone, day=numbers.randrange(1, 32)),
        ]
        for schedule in schedules:
            after = datetime(year, 1, 1, tzinfo=UTC) + numbers.randrange(300) * DAY
            until = after + {"daily": 40, "weekly": 364, "monthly": 365}[schedule.frequency] * DAY
            message = f"seed {seed}: {schedule} in {year}"
            scheduled = runs(schedule, after, until)
            gaps = [later - earlier for earlier, later in pairwise(scheduled)]
            least, most = {"daily": (1, 1), "weekly": (7, 7), "monthly": (28, 31)}[schedule.frequency]
            # a day has 23 or 25 hours if the clocks change, and 0 or 48 if the date line moves
            slack = timedelta(hours=26) if schedule.frequency != "daily" else timedelta(hours=3)
            assert all(least * DAY - slack <= gap <= most * DAY + slack for gap in gaps), message
            count = {"daily": 40, "weekly": 52, "monthly": 12}[schedule.frequency]
            assert abs(len(scheduled) - count) <= 1, message
            moment = scheduled[numbers.randrange(len(scheduled) - 1)]
            assert schedule.previous_run(moment) == moment, message
            assert schedule.previous_run(schedule.next_run(moment) - timedelta(seconds=1)) == moment, message


def test_previous_and_next_run_surround_any_moment(seed: int) -> None:
    numbers = random.Random(seed)
    for _ in range(300):
        zone = numbers.choice(["Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia"])
        clock = time(numbers.randrange(24), numbers.randrange(60))
        schedule = numbers.choice(
            [
                Schedule("daily", clock, zone),
                Schedule("weekly", clock, zone, weekday=numbers.choice(WEEKDAYS)),
                Schedule("monthly", clock, zone, day=numbers.randrange(1, 32)),
            ]
        )
        moment = datetime(2008, 1, 1, tzinfo=UTC) + timedelta(seconds=numbers.randrange(20 * 365 * 86_400))
        previous, following = schedule.previous_run(moment), schedule.next_run(moment)
        assert previous <= moment < following, (seed, schedule, moment)
        assert schedule.next_run(previous) == following, (seed, schedule, moment)
