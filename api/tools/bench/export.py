"""Measures exports of messages, each in its own process, beside COPY of the same rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import psycopg

from api.contract.export_types import Catalogue
from api.db.connection import connect, conninfo
from api.db.request_context import WORKSPACE_ID
from api.errors import MailmartError
from api.exports.plan import ExportPlan, resolve_request
from api.exports.repository import new_export_id, request_export
from api.settings import Settings
from api.tools.bench.scratch import build_warehouse, scratch_servers

WORKSPACE = "ws_demo_1"
COPY = "COPY"
DAYS = 100
COPY_MESSAGES = "copy (select * from marts.messages) to stdout with (format csv)"


@dataclass(frozen=True)
class MeasuredExport:
    """One file, or one COPY: rows, bytes, seconds, and the peak memory of the process in bytes."""

    rows: int
    size: int
    seconds: float
    peak: int


def bench_export(
    settings: Settings, sizes: Sequence[int], formats: Sequence[str], rounds: int, progress: Callable[[str], None]
) -> dict[int, dict[str, list[MeasuredExport]]]:
    """Results by size (messages) and format, or COPY, one for each round. Measures on a temporary embedded server.

    Raises:
        MailmartError: a build or an export fails.
    """
    largest = max(sizes)
    with scratch_servers(settings) as scratch:
        # a few more than needed, because the last day may be incomplete
        catalogue = build_warehouse(scratch, largest * 102 // 100, DAYS, progress).contract.catalogue
        results: dict[int, dict[str, list[MeasuredExport]]] = {}
        for size in sizes:
            first = _first_day(scratch, size)
            by_format = results[size] = {kind: [] for kind in (COPY, *formats)}
            for number in range(rounds):
                for kind, measured in by_format.items():
                    progress(f"{size:,} messages, round {number + 1}: {kind}")
                    measured.append(_copied(scratch, first) if kind == COPY else _exported(scratch, catalogue, kind, first))
        return results


def _first_day(scratch: Settings, size: int) -> date:
    """The latest day since which at least `size` messages were sent."""
    with connect(scratch, "mailmart_owner") as connection:
        row = connection.execute(
            """
            with days as (
                select sent_date, sum(sum(sent)) over (order by sent_date desc) as messages
                from core.fct_campaign_days
                group by sent_date
            )

            select coalesce(max(sent_date) filter (where messages >= %s), min(sent_date)) from days
            """,
            (size,),
        ).fetchone()
    return row[0] if row else datetime.now(UTC).date()


def _exported(scratch: Settings, catalogue: Catalogue, form: str, first: date) -> MeasuredExport:
    today = datetime.now(UTC).date()
    body = {
        "export_type": "messages",
        "format": form,
        "time_range": "custom",
        "start_date": first,
        "end_date": today + timedelta(days=1),
        "include_time_series": False,
    }
    plan = ExportPlan(resolve_request(body, catalogue, today), 1)
    stored = orjson.loads(orjson.dumps(body))
    with psycopg.connect(conninfo(scratch, "mailmart_worker"), autocommit=True) as connection:
        export = request_export(connection, WORKSPACE, new_export_id(), stored, plan)
    return _in_a_process(scratch, "export", export.export_id)


def _copied(scratch: Settings, first: date) -> MeasuredExport:
    return _in_a_process(scratch, "copy", first.isoformat())


def _in_a_process(scratch: Settings, *arguments: str) -> MeasuredExport:
    """The measurement of api.tools.bench.export_process."""
    completed = subprocess.run(
        [sys.executable, "-m", "api.tools.bench.export_process", str(scratch.home), *arguments],
        cwd=scratch.project_root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if completed.returncode != 0:
        raise MailmartError(f"{' '.join(arguments)} failed", hint=completed.stderr.decode(errors="replace")[-2000:])
    measured: dict[str, Any] = orjson.loads(completed.stdout)
    return MeasuredExport(**measured)


def copy_settings(first: date) -> dict[str, str]:
    """The settings under which COPY_MESSAGES has the rows of an export of messages since that day."""
    return {
        WORKSPACE_ID: WORKSPACE,
        "mailmart.range_start": first.isoformat(),
        "mailmart.range_end": (datetime.now(UTC).date() + timedelta(days=1)).isoformat(),
    }
