"""`mailmart demo` as a new user runs it: its own printed commands work, Ctrl-C leaves nothing running, and it goes on later."""

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

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to paste the printed lines into"),
    pytest.mark.timeout(420),
]
MESSAGES = 3000
SECONDS_TO_COME_UP = 300  # below the test's own limit, so that a failure shows what the demo said


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home folder with a space, and a path that is too long for a socket."""
    top = Path(tempfile.mkdtemp(prefix="mailmart-demo-"))
    top.chmod(0o755)
    yield top / "a home" / ("long " * 20).strip()
    shutil.rmtree(top, ignore_errors=True)


@contextmanager
def demo(home: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo's process, and what it had said when it was ready; it is ended with the block."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    home.parent.mkdir(parents=True, exist_ok=True)
    # a log for each: the service of a demo that was killed may speak after the next one's greeting
    log = Path(tempfile.mkstemp(dir=home.parent, prefix="log-")[1])
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "demo", "--messages", str(MESSAGES)],
            env={**inherited, "MAILMART_HOME": str(home), **environment},
            cwd=PROJECT_ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            deadline = time.monotonic() + SECONDS_TO_COME_UP
            # the last line of the greeting; what the service logs may come after it
            while not re.search(r"/analytics/exports\?limit=1'.*\n", log.read_text()):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield process, log.read_text()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def left_over(home: Path) -> list[str]:
    """Command lines of processes that name the home folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended meanwhile
    return [line for line in lines if str(home) in line]


def pasted(line: str) -> dict[str, Any]:
    """What a printed command answers."""
    answered = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=30)
    answer: dict[str, Any] = json.loads(answered.stdout)
    assert answer["success"] is True, answer
    return answer


def test_printed_commands_work_and_nothing_is_left_running(home: Path) -> None:
    with demo(home) as (process, said):
        lines = [line for line in said.splitlines() if line.startswith("curl ")]
        assert len(lines) == 7
        for line in lines:
            answer = pasted(line)
            assert answer["data"].get("summary", {"emails_sent": 1})["emails_sent"] > 0, answer
        deadline = time.monotonic() + SECONDS_TO_COME_UP
        while (export := pasted(lines[-1])["data"]["exports"][0])["status"] == "processing":
            assert time.monotonic() < deadline, export
            # it may be asked for sixty times a minute
            time.sleep(1)
        file = urllib.request.urlopen(export["download_url"], timeout=10).read()
        assert len(file) == export["file_size_bytes"]
        assert file.decode().count("\n") == export["row_count"] + 1 > 1
        docs = re.search(r"http://\S+/docs", said)
        assert docs is not None
        assert b"swagger-ui" in urllib.request.urlopen(docs.group(), timeout=10).read()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert left_over(home) == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(docs.group(), timeout=2)


def test_a_second_time_it_goes_on_with_what_is_there_at_another_port(home: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        with demo(home) as (process, said):
            assert "nothing has landed or changed" in said
            assert "messages," not in said, "the mail was made again"
            assert "127.0.0.1:8080" not in said
            # killed without a word, its service ends, and the next one takes over what runs
            process.kill()
            process.wait()
    with demo(home) as (process, said):
        assert "nothing has landed or changed" in said
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
    assert left_over(home) == []
