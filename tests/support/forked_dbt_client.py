"""Stands for a dbt process that `forked_dbt` runs: has its output and its exit status, and passes SIGTERM on to it.

`python -I forked_dbt_client.py SOCKET dbt|nightly DBT_ARGUMENT…`. It imports nothing of the project, which may not be in its
folder.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path


def _main(path: str, kind: str, arguments: list[str]) -> int:
    outputs = {name: f"/proc/{os.getpid()}/fd/{descriptor}" for name, descriptor in (("out", 1), ("err", 2))}
    request = {"arguments": arguments, "env": dict(os.environ), "cwd": str(Path.cwd()), **outputs}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        # who kills the process group of this process kills dbt, too
        group = os.getpgrp() if kind == "dbt" and os.getpgrp() == os.getpid() else None
        connection.sendall(json.dumps({**request, "is_nightly": kind == "nightly", "process_group": group}).encode() + b"\n")
        responses = connection.makefile()
        pid = int(responses.readline())
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
        # a process that was killed sends no exit code
        return int(responses.readline() or 1)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2], sys.argv[3:]))
