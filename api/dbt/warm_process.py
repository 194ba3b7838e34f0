"""Runs dbt commands without the seconds that dbt needs to start and to read the project: by a process that stays ready."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from api.dbt.profile import dbt_environment
from api.dbt.warm_server import EXITED, INVOCATION, MARK, READY
from api.processes.run import MAX_LINES, Ended
from api.settings import Settings

# what dbt reads of a project
PROJECT_FILES = (
    *("dbt_project.yml", "profiles.yml.example", "packages.yml", "dependencies.yml", "models", "macros", "seeds"),
    *("snapshots", "tests/dbt", "dbt_packages"),
)
FAILED_TO_START = 2


class WarmDbt:
    """A process that has imported dbt and parsed the project. It is started when it is needed, and again if a file has changed.

    Used by one thread. A `with` block ends the process, and whatever it runs.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        """`folder` gets what dbt writes: its parse of the project, compiled SQL and log."""
        self._settings = settings
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._project = ""
        self._answer = ""
        self.invocation_id: str | None = None

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], *, should_continue: Callable[[], bool]) -> Ended:
        """Runs a dbt command until it ends, or until `should_continue` returns False, which ends this process, too.

        Afterwards `invocation_id` is dbt's id of the command, None if it was ended. `should_continue` is called in a loop without
        a pause, so it must wait a moment itself.
        """
        self.invocation_id = None
        lines: deque[str] = deque(maxlen=MAX_LINES)
        project = project_state(self._settings.project_root)
        if self._process is not None and (self._process.poll() is not None or project != self._project):
            self.stop()
        if self._process is None:
            self._project = project
            self._start()
            ended = self._wait_for(READY, lines, should_continue)
            if ended is not None:
                return ended
        assert self._process is not None  # noqa: S101 - it was started above
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        request = {"arguments": list(arguments), "environment": dict(environment)}
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        ended = self._wait_for(EXITED, lines, should_continue)
        if ended is not None:
            return ended
        return Ended(int(self._answer.split()[1]), list(lines))

    def stop(self) -> None:
        """Ends the process and the command that it runs."""
        if self._process is None:
            return
        process, self._process = self._process, None
        # the whole group: the process, and the child that it has forked
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "api.dbt.warm_server", str(os.getpid()), str(self._folder)],
            env={**os.environ, **dbt_environment(self._settings)},
            cwd=self._settings.project_root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # so that it and its children can be ended together
            start_new_session=True,
        )
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def read() -> None:
            for line in process.stdout or ():
                lines.put(line.rstrip("\n"))
            lines.put(None)

        threading.Thread(target=read, name="dbt-output", daemon=True).start()
        self._process, self._lines = process, lines

    def _wait_for(self, answer: str, lines: deque[str], should_continue: Callable[[], bool]) -> Ended | None:
        """Reads until the answer comes, which is then in `_answer`. If the process ends before, or has to: how it ended."""
        while True:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                if should_continue():
                    continue
                self.stop()
                return Ended(None, list(lines))
            if line is None:
                status = self._process.wait() if self._process is not None else None
                self.stop()
                return Ended(status or FAILED_TO_START, list(lines))
            if line.startswith(answer):
                self._answer = line
                return None
            if line.startswith(INVOCATION):
                self.invocation_id = line.split()[1]
            if line and not line.startswith(MARK):
                lines.append(line)

    def __enter__(self) -> WarmDbt:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def project_state(root: Path) -> str:
    """A hash of the names, sizes and times of the project's files: another one means that dbt has to read the project again."""
    digest = hashlib.sha256()
    for path in _files(root):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for name in PROJECT_FILES:
        path = root / name
        yield from sorted(path.rglob("*")) if path.is_dir() else [path]
