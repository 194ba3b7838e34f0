"""The intake and PostgreSQL are killed under load, and connections between them cut: what got 200 is stored, and nothing is lost.

Each of them MAILMART_TEST_INTAKE_KILLS times, at random moments. Clients send a body until it gets 200, as providers do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from api.db.connection import connect
from api.db.migrate import migrate
from api.embedded import servers
from api.embedded.paths import find_folders
from api.intake.sources import create_source
from api.settings import Settings, embedded_database_url
from tests.integration.intake.load import Load
from tests.support.ports import free_port
from tests.support.waiting import wait_until

KILLS = int(os.environ.get("MAILMART_TEST_INTAKE_KILLS", "1"))
KINDS = ("intake", "postgres", "connection")
CLIENTS = 8
# leaves processor time to the intake and to PostgreSQL
PAUSE_SECONDS = 0.01
MAX_SECONDS_BETWEEN_KILLS = 1.0
pytestmark = pytest.mark.timeout(300 + KILLS * 60)
BACKEND = "select pid from pg_stat_activity where usename = session_user and application_name = 'intake'"


@pytest.fixture
def installation() -> Iterator[Settings]:
    """Embedded servers of its own: whoever kills a session of PostgreSQL ends all others."""
    home = Path(tempfile.mkdtemp(prefix="mailmart-killed-"))
    home.chmod(0o755)
    settings = Settings(database_url=None, redis_url=None, home=home)
    try:
        servers.start(settings)
        migrate(settings)
        url = embedded_database_url(home)
        yield dataclasses.replace(settings, database_url=make_conninfo(url, application_name="intake"))
    finally:
        servers.stop(settings)
        folders = find_folders(home)
        for folder in (folders.servers, folders.sockets, home):
            shutil.rmtree(folder, ignore_errors=True)


class Intake:
    """A process of the intake, in a session of its own, and its successors."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.port = free_port()
        self._environment = {
            **os.environ,
            "MAILMART_DATABASE_URL": str(settings.database_url),
            "MAILMART_HOME": str(settings.home),
            "MAILMART_INTAKE_PORT": str(self.port),
        }
        self._log = log
        self.process = self._start()

    def kill(self) -> None:
        """Kills it with its workers, and starts another one."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "api", "intake", "--workers", "2"],
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def test_what_got_200_is_stored(installation: Settings, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    token = create_source(installation, "ws_1", "sendgrid", requests_per_minute=1_000_000)
    intake = Intake(installation, tmp_path / "log")
    path = f"/intake/sendgrid/{token}"
    load = Load(intake.port, path, clients=CLIENTS, requests=1_000_000, repeats=True, pause_seconds=PAUSE_SECONDS)
    try:
        load.start()
        kinds = list(KINDS) * KILLS
        chance.shuffle(kinds)
        for kind in kinds:
            # it works again, and is in the middle of something
            load.wait_for_accepted(load.accepted.total() + 20)
            time.sleep(chance.random() * MAX_SECONDS_BETWEEN_KILLS)
            if kind == "intake":
                intake.kill()
            else:
                end_a_session(installation, kind)
        load.stop()
        intake.process.terminate()
        assert intake.process.wait(60) == 0, (tmp_path / "log").read_text()[-5000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(intake.process.pid, signal.SIGKILL)
    stored = load.stored(installation)
    # each client sent its bodies until each got its 200
    assert load.accepted.total() == len(load.sent), seed
    assert load.accepted - stored == {}, seed
    # a body can be there once more for each time that nobody knows whether it was stored
    assert stored - load.sent == {}, seed
    assert set(stored) == set(load.sent), seed
    assert set(load.statuses) <= {200, 503, 0}, (seed, load.statuses)
    print(f"seed {seed}: {len(kinds)} kills, {load.statuses}, {stored.total()} rows for {len(load.sent)} bodies")


def end_a_session(settings: Settings, kind: str) -> None:
    """Kills a session of the intake in PostgreSQL, after which the server restarts; or ends it, as a proxy would."""
    plain = dataclasses.replace(settings, database_url=make_conninfo(str(settings.database_url), application_name="test"))

    def end() -> bool:
        with contextlib.suppress(psycopg.OperationalError), connect(plain, None, autocommit=True) as connection:
            pids = [row[0] for row in connection.execute(BACKEND.encode()).fetchall()]
            if pids and kind == "connection":
                connection.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) as sessions (pid)", (pids,))
            elif pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pids[-1], signal.SIGKILL)
            return bool(pids)
        return False

    wait_until(end, f"a session of the intake is ended ({kind})")
