"""Measures builds against the same work in plain SQL: a first build, and nightly runs on histories of several lengths."""

from __future__ import annotations

import dataclasses
import importlib.resources
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg import Connection, sql

from api.builds.dbt_attempt import BUILD, BUILD_WITHOUT_VIEWS, KEEP_VIEWS
from api.db.citus_queries import is_distributed
from api.db.connection import connect
from api.dbt.build_process import build_command
from api.dbt.profile import dbt_environment, target_path
from api.dbt.runner import run_dbt
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.disk import watch_disk_usage
from api.tools.bench.erase import MeasuredErase, bench_erase
from api.tools.bench.other_server import OtherServer
from api.tools.bench.processor_time import ProcessorClock
from api.tools.bench.run_results import statements_of_last_run
from api.tools.bench.scratch import CAMPAIGNS, scratch_servers, vacuum_analyze
from api.tools.bench.statement_log import busy_seconds, log_all_statements, log_size, seconds_by_node, statements_since
from api.tools.synthetic.generate import GenerateOptions, generate

NEW_SHARE = 0.01
LATE_SHARE = 0.1
EVENTS_PER_MESSAGE = 2.52
# begins a part of a script that is measured by itself
STEP = "-- step: "


@dataclass(frozen=True)
class Run:
    """One build and its control in plain SQL. Times are in seconds.

    Attributes:
        models: time in which at least one statement of a model ran; comparable with the control. Data tests run beside models.
        sql: time of each model's statements. Two models at the same time both count.
        tests: time of the data tests' statements. Two tests at the same time both count.
        plain: time of each step of the control.
        wall: wall time of the build, with dbt's own.
        busy: time in which at least one statement ran.
        rows: rows inserted and expired.
        database_bytes: size of the database after the build.
        peak_bytes: peak size of the database during the build, with temporary files; 0 if it was not measured.
        processor: processor time of PostgreSQL during the build, data tests among it, by server; empty if it is unknown.
        plain_processor: processor time of PostgreSQL during the control.
    """

    models: float
    sql: dict[str, float]
    tests: float
    plain: dict[str, float]
    wall: float
    busy: float
    rows: int
    database_bytes: int
    peak_bytes: int
    processor: Mapping[str, float]
    plain_processor: float = 0.0

    @property
    def all_processors(self) -> float:
        """Processor time of all servers; 0 if it is unknown."""
        return sum(self.processor.values())


@dataclass(frozen=True)
class History:
    """A history of some days: its first build, and the nightly runs after it.

    `first_mail` is the same history in a warehouse that was built while it was empty, and `erase` that of its workspace; None if
    it was not measured. `seconds_after_load`: from the end of the history's load to the start of the first nightly run.
    """

    days: int
    messages: int
    first: Run
    nightly: tuple[Run, ...]
    seconds_after_load: float
    first_mail: Run | None = None
    erase: MeasuredErase | None = None


def bench_batch(
    settings: Settings,
    messages: int,
    days: int,
    histories: Sequence[int],
    runs: int,
    progress: Callable[[str], None],
    *,
    built_empty: bool = False,
    erase: bool = False,
    other: OtherServer | None = None,
    workspaces: int = 1,
) -> list[History]:
    """Measures each history on a new embedded server in a temporary home folder, or in a scratch database of another server.

    `workspaces` share the messages, each with 15 campaigns. `messages` / `days` is the volume of a day. It is the same for all
    histories, so a nightly run gets the same number of events.
    `built_empty`: also measure `History.first_mail`, on another server. `erase`: also measure `History.erase`.

    Raises:
        MailmartError: a build fails, or its result differs from the control's.
    """
    measured = []
    for length in histories:
        history = _history(settings, messages, messages * length // days, length, runs, progress, other, workspaces, erase=erase)
        if built_empty:
            first_mail = _first_mail(settings, history.messages, length, progress, other, workspaces)
            history = dataclasses.replace(history, first_mail=first_mail)
        measured.append(history)
    return measured


def _history(
    settings: Settings,
    volume: int,
    messages: int,
    days: int,
    runs: int,
    progress: Callable[[str], None],
    other: OtherServer | None,
    workspaces: int,
    *,
    erase: bool,
) -> History:
    with scratch_servers(settings, other, progress) as scratch:
        bench = _Bench(scratch)
        progress(f"{days} days: generating {messages:,} messages")
        generate(scratch, _mail(workspaces, messages, days))
        loaded = time.monotonic()
        vacuum_analyze(scratch)
        progress(f"{days} days: first build")
        first = bench.measured()
        vacuum_analyze(scratch)
        progress(f"{days} days: the same in plain SQL")
        first = bench.compared(first, "plain_first.sql")
        _plain(scratch, "plain_indexes.sql")
        nightly = []
        seconds_after_load = 0.0
        for number in range(runs):
            progress(f"{days} days: nightly run {number + 1}")
            since = _load_day(scratch, volume, number, workspaces)
            seconds_after_load = seconds_after_load or time.monotonic() - loaded
            nightly.append(bench.compared(bench.measured(is_nightly=True), "plain_nightly.sql", {"since": since}))
        _check_same_result(scratch)
        history = History(days, messages, first, tuple(nightly), seconds_after_load)
        if erase:
            progress(f"{days} days: erase of the workspace")
            history = dataclasses.replace(history, erase=bench_erase(scratch))
        return history


def _first_mail(
    settings: Settings,
    messages: int,
    days: int,
    progress: Callable[[str], None],
    other: OtherServer | None,
    workspaces: int,
) -> Run:
    """The first build with mail of a warehouse that was built while it was empty."""
    with scratch_servers(settings, other, progress) as scratch:
        bench = _Bench(scratch)
        progress(f"{days} days: build of an empty warehouse")
        bench.measured()
        generate(scratch, _mail(workspaces, messages, days))
        progress(f"{days} days: build with its first mail")
        return bench.measured()


def _mail(workspaces: int, messages: int, days: int) -> GenerateOptions:
    return GenerateOptions(workspaces=workspaces, campaigns=CAMPAIGNS * workspaces, messages=messages, days=days, is_flat=True)


def _load_day(scratch: Settings, volume: int, number: int, workspaces: int) -> datetime:
    """Loads 1 % of the volume's events, a tenth of them late. Returns the time at which loading started."""
    events = int(volume * EVENTS_PER_MESSAGE * NEW_SHARE)
    late = int(events * LATE_SHARE)
    with connect(scratch, "mailmart_owner") as connection:
        since = _row(connection, "select clock_timestamp()")
        connection.execute(script("late_events.sql"), {"events": late, "number": number})
    # a complete day, which ends yesterday
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    day = _mail(workspaces, int((events - late) / EVENTS_PER_MESSAGE), 1)
    generate(scratch, dataclasses.replace(day, seed=1000 + number, until=yesterday))
    started: datetime = since[0]
    return started


class _Bench:
    """Measures builds in a scratch database. Of an embedded server, the log says how long each statement took."""

    def __init__(self, scratch: Settings) -> None:
        self._scratch = scratch
        self._is_embedded = scratch.database_url is None
        self._clock = ProcessorClock(scratch)
        if self._is_embedded:
            log_all_statements(scratch)

    def measured(self, *, is_nightly: bool = False) -> Run:
        """A build.

        Raises:
            MailmartError: it fails.
        """
        scratch = self._scratch
        logged = log_size(scratch) if self._is_embedded else 0
        before = self._clock.seconds()
        started = time.monotonic()
        with watch_disk_usage(scratch) if self._is_embedded else nullcontext(lambda: 0) as peak:
            built = _run_nightly_form(scratch) if is_nightly else run_dbt(scratch, ["--no-use-colors", *BUILD], quiet=True)
            wall = time.monotonic() - started
            peak_bytes = peak()
        processor = self._clock.seconds_since(before)
        if built.returncode != 0:
            raise MailmartError("dbt build failed", hint="\n".join(built.stdout.splitlines()[-40:]))
        statements = statements_since(scratch, logged) if self._is_embedded else statements_of_last_run(scratch)
        of_models = [statement for statement in statements if not statement.node.startswith("test.")]
        with connect(scratch, "mailmart_owner") as connection:
            rows = _row(
                connection,
                "select sum(rows_inserted + rows_expired)::bigint from app.model_runs"
                " where batch_id = (select max(batch_id) from app.batches)",
            )
            database_bytes = _database_bytes(connection)
        return Run(
            models=busy_seconds(of_models),
            sql={node.split(".")[-1]: seconds for node, seconds in seconds_by_node(of_models).items()},
            tests=sum(seconds for node, seconds in seconds_by_node(statements).items() if node.startswith("test.")),
            plain={},
            wall=wall,
            busy=busy_seconds(statements),
            rows=rows[0],
            database_bytes=database_bytes,
            peak_bytes=peak_bytes,
            processor=processor,
        )

    def compared(self, run: Run, name: str, parameters: dict[str, Any] | None = None) -> Run:
        """The run with the same work in plain SQL."""
        before = self._clock.seconds()
        plain = _plain(self._scratch, name, parameters)
        return dataclasses.replace(run, plain=plain, plain_processor=sum(self._clock.seconds_since(before).values()))


def _database_bytes(connection: Connection) -> int:
    """The size of the database, on all nodes of a cluster."""
    if not is_distributed(connection):
        return int(_row(connection, "select pg_database_size(current_database())")[0])
    sizes = connection.execute(
        "select result from run_command_on_all_nodes('select pg_database_size(current_database())') where success"
    ).fetchall()
    return sum(int(size) for (size,) in sizes)


def _run_nightly_form(scratch: Settings) -> subprocess.CompletedProcess[str]:
    """Builds as a nightly run does: without the views, which have not changed. The database refuses it if they have."""
    return subprocess.run(
        build_command(["--no-use-colors", *BUILD_WITHOUT_VIEWS]),
        env={**os.environ, **dbt_environment(scratch), **KEEP_VIEWS, "DBT_TARGET_PATH": target_path(scratch)},
        cwd=scratch.project_root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _plain(scratch: Settings, name: str, parameters: dict[str, Any] | None = None) -> dict[str, float]:
    seconds: dict[str, float] = {}
    with connect(scratch, None) as connection:
        connection.execute("set role mailmart_owner")
        # the same plans as in a build
        connection.execute("set random_page_cost = 1.1")
        connection.execute("set work_mem = '128MB'")
        text = script(name)
        _, *steps = text.split(STEP) if STEP in text else ("", f"all\n{text}")
        for step in steps:
            title, body = step.split("\n", 1)
            started = time.monotonic()
            for statement in body.split(";\n"):
                if statement.strip():
                    connection.execute(statement, parameters)
            seconds[title] = time.monotonic() - started
        connection.commit()
    return seconds


def _check_same_result(scratch: Settings) -> None:
    """Compares row counts and sums of the facts with those of the control.

    Raises:
        MailmartError: they differ.
    """
    engaged = ["sent", "delivered", "opened", "clicked", "replied"]
    pairs = {
        "fct_campaign_days": ("campaign_days", [*engaged, "bounced", "complained", "unsubscribed"]),
        "fct_send_slots": ("send_slots", engaged),
        "fct_bounce_days": ("bounce_days", ["bounced"]),
    }
    with connect(scratch, "mailmart_owner") as connection:
        for fact, (plain, counts) in pairs.items():
            sums = sql.SQL(", ").join(sql.SQL("sum({})").format(sql.Identifier(count)) for count in counts)
            built = _row(
                connection,
                sql.SQL("select count(*), {} from core.{} where valid_to = 9223372036854775807").format(
                    sums, sql.Identifier(fact)
                ),
            )
            plain_row = _row(connection, sql.SQL("select count(*), {} from plain.{}").format(sums, sql.Identifier(plain)))
            if built != plain_row:
                raise MailmartError(f"{fact} has {built}, plain SQL has {plain_row}")


def _row(connection: Connection, statement: LiteralString | sql.Composed) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(statement).fetchall()[0]
    return row


def script(name: str) -> str:
    """The text of one of this package's files with SQL."""
    return importlib.resources.files("api.tools.bench").joinpath(name).read_text()
