"""A process that ends early has written its output, and has the status of a SystemExit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from api.settings import PROJECT_ROOT

CODE = """
import atexit, logging, sys, threading
from api.processes.end import end_process

class Slow:
    def __del__(self):
        print("taken apart")

kept = Slow()
atexit.register(print, "handler of exit")
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("output without an end", end="")
end_process({})
"""


def run(status: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE.format(status)], capture_output=True, text=True, check=False, cwd=PROJECT_ROOT
    )


@pytest.mark.parametrize(("status", "code"), [("0", 0), ("None", 0), ("77", 77), ("True", 1), ("'it failed'", 1)])
def test_status_and_output(status: str, code: int) -> None:
    done = run(status)
    assert done.returncode == code
    assert done.stdout == "output without an endhandler of exit\n"
    assert done.stderr == ("it failed\n" if "it" in status else "")


def test_nobody_reads_the_output() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE.format(3)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT_ROOT,
        # so that the output is written at the end
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 3
    assert errors == b""
