"""The embedded Valkey: only on a unix socket, only in memory, with a memory limit. Its data may be lost at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.embedded.paths import Folders
from api.embedded.processes import read_pid, runs_in
from api.errors import ServerError

MEMORY = "64mb"
START_TIMEOUT_SECONDS = 10
STOP_TIMEOUT_SECONDS = 10


def socket_path(folders: Folders) -> Path:
    """Path of its unix socket."""
    return folders.sockets / "valkey.sock"


def is_running(folders: Folders) -> bool:
    """Whether it responds."""
    try:
        # the client's own retries would wait for seconds
        with redis.Redis(
            unix_socket_path=str(socket_path(folders)), socket_connect_timeout=2, socket_timeout=2, retry=Retry(NoBackoff(), 0)
        ) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def start(folders: Folders) -> None:
    """Starts it if it does not run.

    Raises:
        ServerError: it does not start.
    """
    if is_running(folders):
        return
    # a process that does not respond: its socket was deleted, or it hangs
    stop(folders)
    log = folders.servers / "valkey.log"
    subprocess.run(
        [
            str(folders.valkey),
            *("--port", "0"),
            *("--unixsocket", str(socket_path(folders))),
            *("--unixsocketperm", "700"),
            *("--maxmemory", MEMORY),
            *("--maxmemory-policy", "volatile-ttl"),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--dir", str(folders.servers)),
            *("--logfile", str(log)),
            *("--pidfile", str(folders.servers / "valkey.pid")),
            *("--daemonize", "yes"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folders.servers,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        user=folders.user.uid,
        group=folders.user.gid,
        extra_groups=[] if folders.user.uid is not None else None,
        start_new_session=True,
        check=False,
    )
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not is_running(folders):
        if time.monotonic() > deadline:
            last_lines = log.read_text(errors="replace").splitlines()[-2:] if log.exists() else []
            raise ServerError(f"Valkey does not start: {' / '.join(last_lines)}", hint=f"The whole log is {log}.")
        time.sleep(0.05)


def stop(folders: Folders) -> bool:
    """Stops it. False if it did not run.

    Raises:
        ServerError: it does not stop.
    """
    pid = read_pid(folders.servers / "valkey.pid")
    if pid is None or not runs_in(pid, folders.servers):
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while runs_in(pid, folders.servers):
        if time.monotonic() > deadline:
            raise ServerError(f"Valkey (process {pid}) does not stop", hint=f"Stop it with `kill -9 {pid}`.")
        time.sleep(0.02)
    return True
