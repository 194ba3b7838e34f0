"""The demo's mail: made the first time, topped up to today later."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from api.db.connection import connect
from api.settings import Settings
from api.tools.synthetic.generate import GenerateOptions, generate


@dataclass(frozen=True)
class Load:
    """One making of mail, as the home folder remembers it.

    Attributes:
        database: which one it went to; the folder's memory does not hold for another.
        options: what was made; `until` is a date, so that one that was interrupted is made again just so, with the same ids.
        is_complete: it ended.
    """

    database: str
    options: GenerateOptions
    is_complete: bool


def missing_mail(settings: Settings, messages: int, today: date) -> GenerateOptions | None:
    """What is still to be made, so that there is mail up to today (UTC); None: nothing.

    The first time `messages` over 120 days; after an interrupted time the same again; else the days since the last time.
    """
    whole = GenerateOptions(messages=messages, until=today)
    last = _read(settings)
    if last is None or last.database != _database(settings):
        return whole
    if not last.is_complete:
        return last.options
    days = min((today - (last.options.until or today)).days, whole.days)
    if days <= 0:
        return None
    # another seed: the first time's ids are in use
    return dataclasses.replace(whole, days=days, messages=max(messages * days // whole.days, 1), seed=today.toordinal())


def make_mail(settings: Settings, options: GenerateOptions, progress: Callable[[int], None]) -> int:
    """Makes it, remembers it, and returns the number of events; `progress` gets the messages made so far."""
    database = _database(settings)
    _write(settings, Load(database, options, is_complete=False))
    events = generate(settings, options, progress)
    _write(settings, Load(database, options, is_complete=True))
    return events


def _database(settings: Settings) -> str:
    with connect(settings, None) as connection:
        row = connection.execute(
            "select system_identifier || '/' || oid from pg_control_system(), pg_database where datname = current_database()"
        ).fetchone()
    return str(row[0]) if row else ""


def _read(settings: Settings) -> Load | None:
    try:
        stored = json.loads(_path(settings).read_text())
        options = {**stored["options"], "until": date.fromisoformat(stored["options"]["until"])}
        return Load(stored["database"], GenerateOptions(**options), stored["is_complete"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # not there, half written, or of an earlier version: the same mail made again changes no number
        return None


def _write(settings: Settings, load: Load) -> None:
    _path(settings).write_text(json.dumps(dataclasses.asdict(load), default=str))


def _path(settings: Settings) -> Path:
    return settings.home / "demo.json"
