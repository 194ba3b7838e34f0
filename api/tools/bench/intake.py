"""Measures the intake: bodies a second, beside pgbench that inserts the same body, and beside a route that only reads it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from psycopg import sql

from api.db.connection import connect
from api.intake.sources import MAX_REQUESTS_PER_MINUTE, create_source
from api.processes.supervisor import Program
from api.settings import Settings
from api.tools.bench.load import Load, measure
from api.tools.bench.measured import Measured, median_ratio, medians
from api.tools.bench.pgbench import measure_transaction
from api.tools.bench.scratch import scratch_servers
from api.tools.bench.services import run_program

WORKSPACE = "ws_bench"
WARM_UP_SECONDS = 1.0
TABLE = "raw.bench_bodies"
# the disk would be full of what the memory is measured with
SECONDS_BETWEEN_TRUNCATIONS = 15.0
INTAKE, STATIC, PGBENCH = "intake", "static", "pgbench"


@dataclass(frozen=True)
class IntakeRow:
    """Bodies of one size at a number of connections: the measurements of all rounds, by what was measured."""

    events: int
    connections: int
    body_bytes: int
    rounds: dict[str, list[Measured]]

    def value(self, label: str) -> Measured:
        """The medians of the rounds."""
        return medians(self.rounds[label])

    @property
    def ratio(self) -> float:
        """The median of the ratios to the slower control of the same round."""
        rates = {label: [measured.rate for measured in rounds] for label, rounds in self.rounds.items()}
        return median_ratio(rates[INTAKE], [min(controls) for controls in zip(rates[STATIC], rates[PGBENCH], strict=True)])


@dataclass(frozen=True)
class Memory:
    """MiB of the intake's processes together, after each of some equal parts of a load."""

    seconds: float
    mebibytes: list[float]
    events_a_second: float


def bench_intake(
    settings: Settings,
    sizes: tuple[int, ...],
    connections: tuple[int, ...],
    rounds: int,
    seconds: float,
    memory_seconds: float,
    workers: int,
    progress: Callable[[str], None],
) -> tuple[list[IntakeRow], Memory | None]:
    """Measures each size at each number of connections, all three things in each round, and then memory under the largest bodies.

    Raises:
        MailmartError: a server does not start, or a response is not 200.
    """
    with scratch_servers(settings) as scratch, _controls(scratch, workers) as (intake, static, path):
        rows = []
        for events in sizes:
            body = sendgrid_body(events)
            for number in connections:
                row = IntakeRow(events, number, len(body), {label: [] for label in (INTAKE, STATIC, PGBENCH)})
                for _ in range(rounds):
                    _truncate(scratch)
                    row.rounds[INTAKE].append(_measure(intake, path, body, number, seconds))
                    row.rounds[STATIC].append(_measure(static, path, body, number, seconds))
                    insert = f"insert into {TABLE} (provider, workspace_id, payload) values ('sendgrid', 'w', '{body}')"  # noqa: S608 - ours
                    row.rounds[PGBENCH].append(measure_transaction(scratch, insert, number, seconds, WARM_UP_SECONDS))
                rows.append(row)
                progress(f"{events} events, {number} connections: {row.value(INTAKE).rate:,.0f} bodies a second")
        memory = _measure_memory(scratch, intake, path, sizes[-1], connections[-1], memory_seconds) if memory_seconds else None
    return rows, memory


def sendgrid_body(events: int) -> str:
    """A body of so many events, as SendGrid posts them; no apostrophe is in it."""
    return json.dumps(
        [
            {
                "email": f"person{number}@example.com",
                "timestamp": 1_760_000_000 + number,
                "smtp-id": f"<14c5d75ce93.dfd.{number}@ismtpd-555>",
                "event": "open" if number % 3 else "delivered",
                "category": ["news"],
                "sg_event_id": f"sg_event_{number:032}",
                "sg_message_id": f"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.{number}",
                "useragent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                "ip": "203.0.113.7",
                "sg_machine_open": False,
                "campaign_id": "cmp_1",
            }
            for number in range(events)
        ]
    )


@contextmanager
def _controls(scratch: Settings, workers: int) -> Iterator[tuple[int, int, str]]:
    """The ports of the intake and of the control, and the path of a source."""
    token = create_source(scratch, WORKSPACE, "sendgrid", requests_per_minute=MAX_REQUESTS_PER_MINUTE)
    with connect(scratch, "mailmart_owner") as connection:
        table = sql.SQL(TABLE)
        connection.execute(sql.SQL("create table {} (like raw.webhook_payloads including all)").format(table))
        connection.execute(sql.SQL("grant usage on schema raw to mailmart_api; grant insert on {} to mailmart_api").format(table))
    python = [sys.executable, "-m"]
    intake = Program(INTAKE, [*python, "api", "intake", "--with-parent", "--workers", str(workers)])
    static = Program(STATIC, [*python, "api.tools.bench.intake_control", str(workers)])
    with run_program(scratch, intake) as intake_port, run_program(scratch, static) as static_port:
        yield intake_port, static_port, f"/intake/sendgrid/{token}"


def _measure(port: int, path: str, body: str, connections: int, seconds: float) -> Measured:
    request = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    return measure(Load(port, request, 200, connections, seconds, WARM_UP_SECONDS))


def _measure_memory(scratch: Settings, port: int, path: str, events: int, connections: int, seconds: float) -> Memory:
    body = sendgrid_body(events)
    mebibytes, rates = [], []
    for _ in range(max(2, round(seconds / SECONDS_BETWEEN_TRUNCATIONS))):
        _truncate(scratch)
        rates.append(_measure(port, path, body, connections, SECONDS_BETWEEN_TRUNCATIONS).rate * events)
        mebibytes.append(_mebibytes(port))
    return Memory(len(mebibytes) * SECONDS_BETWEEN_TRUNCATIONS, mebibytes, median(rates))


def _truncate(scratch: Settings) -> None:
    with connect(scratch, "mailmart_owner") as connection:
        connection.execute(sql.SQL("truncate raw.webhook_payloads, {}").format(sql.SQL(TABLE)))


def _mebibytes(port: int) -> float:
    """Of all processes that have the intake's port among their variables."""
    variable = f"MAILMART_INTAKE_PORT={port}".encode()
    pages = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_intake = variable in (folder / "environ").read_bytes().split(b"\0")
            pages += int((folder / "statm").read_text().split()[1]) if is_intake else 0
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
