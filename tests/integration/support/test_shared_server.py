"""One PostgreSQL serves a whole run of tests, and ends with it, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import PROJECT_ROOT
from tests.support.run_folder import VARIABLE
from tests.support.waiting import wait_until

# each of the two workers uses the server, writes down which one it has, and waits to be ended
RUN = """
import json, time
from pathlib import Path
import pytest
from tests.support.postgres import shared_server

@pytest.mark.parametrize("number", [1, 2])
def test_uses_the_server(number):
    with shared_server().as_superuser() as connection:
        row = connection.execute("select pg_postmaster_start_time()::text, current_setting('data_directory')").fetchone()
    unfinished = Path({folder!r}, f"{{number}}.unfinished")
    unfinished.write_text(json.dumps(row))
    unfinished.rename(unfinished.with_suffix(".json"))
    time.sleep({seconds})
"""


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A run of two workers, whose tests take so many seconds."""
    (tmp_path / "test_run.py").write_text(RUN.format(folder=str(tmp_path), seconds=request.param))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "tests.conftest", "-c", "pyproject.toml"]
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE and not name.startswith("PYTEST_")}
    # a temporary folder of its own, to see what is left in it; one that another user's server can reach
    folder = tmp_path / "tmp"
    folder.mkdir()
    environment["TMPDIR"] = str(folder)
    process = subprocess.Popen(
        [*command, "--rootdir", str(PROJECT_ROOT), str(tmp_path / "test_run.py")],
        cwd=PROJECT_ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # a shell starts what runs in the background with SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread of ours is in the child
    )
    yield process
    process.kill()
    process.wait()


def _has_started(tmp_path: Path) -> bool:
    return len(list(tmp_path.glob("*.json"))) == 2


def _is_clean(tmp_path: Path, data_directory: str) -> bool:
    return not Path(data_directory).exists() and not list((tmp_path / "tmp").glob("mailmart-tests-*"))


@pytest.mark.parametrize("run", [0], indirect=True)
def test_workers_share_a_server_that_ends_with_the_run(run: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert run.wait(60) == 0
    first, second = ((tmp_path / f"{number}.json").read_text() for number in (1, 2))
    assert first == second
    assert _is_clean(tmp_path, json.loads(first)[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("run", [300], indirect=True)
def test_an_interrupted_run_leaves_no_server(run: subprocess.Popen[bytes], number: signal.Signals, tmp_path: Path) -> None:
    wait_until(lambda: _has_started(tmp_path), "both workers' connections")
    run.send_signal(number)
    run.wait(60)
    data_directory = json.loads((tmp_path / "1.json").read_text())[1]
    wait_until(lambda: _is_clean(tmp_path, data_directory), "the end of the server")
