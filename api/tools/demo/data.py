"""The demo's synthetic events: generated on the first start, and up to today on later starts."""

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
class GeneratedData:
    """The last generation of events, as demo.json in the home folder records it.

    Attributes:
        database: id of the database; the record is not valid for another one.
        options: what was generated. `until` is a date, so an interrupted generation can be repeated with the same ids.
        is_complete: the generation was not interrupted.
    """

    database: str
    options: GenerateOptions
    is_complete: bool


def missing_data(settings: Settings, messages: int, today: date) -> GenerateOptions | None:
    """Options that generate the missing events up to today (UTC); None if none are missing.

    The first time `messages` over 120 days; after an interruption the same again; otherwise the days since the last time.
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
    # another seed, because the ids of the first one are in use
    return dataclasses.replace(whole, days=days, messages=max(messages * days // whole.days, 1), seed=today.toordinal())


def generate_data(settings: Settings, options: GenerateOptions, progress: Callable[[int], None]) -> int:
    """Generates events, records that, and returns their number; `progress` gets the number of messages so far."""
    database = _database(settings)
    _write(settings, GeneratedData(database, options, is_complete=False))
    events = generate(settings, options, progress)
    _write(settings, GeneratedData(database, options, is_complete=True))
    return events


def _database(settings: Settings) -> str:
    with connect(settings, None) as connection:
        row = connection.execute(
            "select system_identifier || '/' || oid from pg_control_system(), pg_database where datname = current_database()"
        ).fetchone()
    return str(row[0]) if row else ""


def _read(settings: Settings) -> GeneratedData | None:
    try:
        stored = json.loads(_path(settings).read_text())
        options = {**stored["options"], "until": date.fromisoformat(stored["options"]["until"])}
        return GeneratedData(stored["database"], GenerateOptions(**options), stored["is_complete"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # missing, incomplete, or of an earlier version: generating the same events again is idempotent
        return None


def _write(settings: Settings, data: GeneratedData) -> None:
    _path(settings).write_text(json.dumps(dataclasses.asdict(data), default=str))


def _path(settings: Settings) -> Path:
    return settings.home / "demo.json"
