"""The embedded Valkey: on a unix socket alone, in memory alone, within bounds; it holds only what may be lost."""

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
from api.embedded.processes import remembered_pid, works_in
from api.errors import ServerError

MEMORY = "64mb"
SECONDS_TO_START = 10
SECONDS_TO_STOP = 10


def socket_path(folders: Folders) -> Path:
    """Its unix socket."""
    return folders.sockets / "valkey.sock"


def is_running(folders: Folders) -> bool:
    """Whether it answers."""
    try:
        # without the client's retries, which wait for seconds
        with redis.Redis(
            unix_socket_path=str(socket_path(folders)), socket_connect_timeout=2, socket_timeout=2, retry=Retry(NoBackoff(), 0)
        ) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def start(folders: Folders) -> None:
    """Starts it where it does not run.

    Raises:
        ServerError: it does not come up.
    """
    if is_running(folders):
        return
    # one that lives and does not answer: its socket is gone, or it hangs
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
    deadline = time.monotonic() + SECONDS_TO_START
    while not is_running(folders):
        if time.monotonic() > deadline:
            said = log.read_text(errors="replace").splitlines()[-2:] if log.exists() else []
            raise ServerError(f"Valkey does not start: {' / '.join(said)}", hint=f"Its whole log is {log}.")
        time.sleep(0.05)


def stop(folders: Folders) -> bool:
    """Stops it; whether there was one.

    Raises:
        ServerError: it does not end.
    """
    pid = remembered_pid(folders.servers / "valkey.pid")
    if pid is None or not works_in(pid, folders.servers):
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS_TO_STOP
    while works_in(pid, folders.servers):
        if time.monotonic() > deadline:
            raise ServerError(f"Valkey (process {pid}) does not end", hint=f"End it with `kill -9 {pid}`.")
        time.sleep(0.02)
    return True
