"""`mailmart demo` for a new user: printed commands work, Ctrl-C leaves nothing running, a later start reuses the data."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.settings import PROJECT_ROOT
from tests.support.forked_dbt import mailmart_command

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
    pytest.mark.timeout(1260),
]
MESSAGES = 3000
START_TIMEOUT_SECONDS = 300  # below the timeout of the test, so that a failure shows the demo's output


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home folder with spaces, whose path is too long for a socket."""
    top = Path(tempfile.mkdtemp(prefix="mailmart-demo-"))
    top.chmod(0o755)
    yield top / "a home" / ("long " * 20).strip()
    shutil.rmtree(top, ignore_errors=True)


@contextmanager
def demo(home: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs the demo while the block runs: its process, and its output when it was ready."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    home.parent.mkdir(parents=True, exist_ok=True)
    # a log for each demo: processes of a killed demo may still write
    log = Path(tempfile.mkstemp(dir=home.parent, prefix="log-")[1])
    with log.open("w") as output:
        process = subprocess.Popen(
            # dbt is imported and the project is parsed already; tests/e2e/test_tutorials.py starts dbt as a user does
            mailmart_command("demo", "--messages", str(MESSAGES)),
            env={**inherited, "MAILMART_HOME": str(home), **environment},
            cwd=PROJECT_ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            deadline = time.monotonic() + START_TIMEOUT_SECONDS
            # the last command that the demo prints
            while not re.search(r"/analytics/exports\?limit=1'.*\n", log.read_text()):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield process, log.read_text()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def left_running(home: Path) -> list[str]:
    """Command lines of running processes with the home folder in them."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended
    return [line for line in lines if str(home) in line]


def run_printed(command: str) -> dict[str, Any]:
    """Runs a printed command in a shell, and returns the response."""
    completed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    response: dict[str, Any] = json.loads(completed.stdout)
    assert response["success"] is True, response
    return response


def test_printed_commands_work_and_nothing_is_left_running(home: Path) -> None:
    with demo(home) as (process, output):
        lines = [line for line in output.splitlines() if line.startswith("curl ")]
        assert len(lines) == 7
        for line in lines:
            response = run_printed(line)
            assert response["data"].get("summary", {"emails_sent": 1})["emails_sent"] > 0, response
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while (export := run_printed(lines[-1])["data"]["exports"][0])["status"] == "processing":
            assert time.monotonic() < deadline, export
            # the rate limit is sixty requests a minute
            time.sleep(1)
        file = urllib.request.urlopen(export["download_url"], timeout=10).read()
        assert len(file) == export["file_size_bytes"]
        assert file.decode().count("\n") == export["row_count"] + 1 > 1
        docs = re.search(r"http://\S+/docs", output)
        assert docs is not None
        assert b"swagger-ui" in urllib.request.urlopen(docs.group(), timeout=10).read()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert left_running(home) == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(docs.group(), timeout=2)


def test_a_second_start_reuses_data_and_build_on_another_port(home: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # another program has it, which is just as well
        with demo(home) as (process, output):
            assert "building the models (dbt build): up to date" in output
            assert "messages," not in output, "events were generated again"
            assert "127.0.0.1:8080" not in output
            # the processes of a killed demo end, and the next demo takes over its servers
            process.kill()
            process.wait()
    with demo(home) as (process, output):
        assert "building the models (dbt build): up to date" in output
        second = subprocess.run(
            [sys.executable, "-m", "api", "demo"],
            env={**os.environ, "MAILMART_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 1
        assert "error: " in second.stderr
        assert "Traceback" not in second.stderr
    assert left_running(home) == []
