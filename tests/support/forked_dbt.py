"""Imports dbt and parses the project once in a run, whatever the number of workers, and forks a process for each command.

On little data that is most of a command's time; what is compiled already, and no garbage collection, save half of the rest.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from click import Command

from api.dbt.build_process import run_build
from api.dbt.installed_parse import INSTALLED
from api.dbt.warm_server import freeze_memory
from api.settings import PROJECT_ROOT
from tests.support.manifest import parsed_project
from tests.support.parse_command import parse_arguments, parse_environment
from tests.support.run_folder import is_running, once_per_run, run_folder

if TYPE_CHECKING:
    from tests.support.parsed_project import ParsedProject

CLIENT = Path(__file__).with_name("forked_dbt_client.py")
SOCKET = "socket"
# the folder of a parse that tests share
SMALL_PROJECT = "small_project"
MAILMART = """
import sys
from api.cli import main
from api.dbt import runner

end = sys.argv.index("--")
dbt = sys.argv[1:end]
runner.dbt_command = lambda *arguments: [*dbt, *arguments]
del sys.argv[1 : end + 1]
main()
"""


def run_forked(arguments: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs a dbt command to its end.

    Raises:
        TimeoutExpired: it took longer than `timeout` seconds, and was killed.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as connection:
        out, err = Path(folder, "out"), Path(folder, "err")
        connection.connect(_server())
        request = {"arguments": list(arguments), "env": dict(env), "cwd": str(cwd), "out": str(out), "err": str(err)}
        connection.sendall(json.dumps({**request, "is_nightly": False, "process_group": None}).encode() + b"\n")
        responses = connection.makefile()
        pid = int(responses.readline())
        connection.settimeout(timeout)
        try:
            code = responses.readline()
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), timeout) from None
        # a process that was killed sends no exit code
        return subprocess.CompletedProcess(["dbt", *arguments], int(code or -1), out.read_text(), err.read_text())


def forked_build_command(arguments: Sequence[str]) -> list[str]:
    """In place of `api.dbt.build_process.build_command`: the same, in a process that has imported dbt already."""
    return [sys.executable, "-I", str(CLIENT), _server(), "nightly", *arguments]


def forked_dbt_command(*arguments: str) -> list[str]:
    """In place of `api.dbt.runner.dbt_command`: the same, in a process that has imported dbt already."""
    return [sys.executable, "-I", str(CLIENT), _server(), "dbt", *arguments]


def mailmart_command(*arguments: str) -> list[str]:
    """The command line of `mailmart` in a process of its own, whose dbt commands run in a process that has imported dbt."""
    return [sys.executable, "-c", MAILMART, *forked_dbt_command(), "--", *arguments]


@lru_cache(1)
def _server() -> str:
    """The socket of the run's server; the first caller of all the run's processes starts it."""
    folder = run_folder() / "dbt"
    once_per_run("dbt", lambda: _start(folder))
    return str(folder / SOCKET)


def _start(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)],
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
        )
    assert process.stdout is not None
    with process.stdout as ready:
        is_ready = ready.readline() == b"ready\n"
    assert is_ready, log.read_text()


def _end_with_run() -> None:
    """Ends this process soon after the run's main process, which may not be the one that has started it."""

    def watch() -> None:
        while is_running():
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-run", daemon=True).start()


def _serve(folder: Path) -> None:
    _end_with_run()
    from api.dbt.lean_serialization import generate_methods_when_they_are_called

    generate_methods_when_they_are_called()
    from dbt.cli.main import cli

    from api.dbt.lean_templates import read_templates, write_templates
    from tests.support.lean_dbt import leave_out_what_nobody_reads
    from tests.support.parsed_project import ParsedProject

    leave_out_what_nobody_reads()
    with contextlib.redirect_stdout(sys.stderr):
        parsed = parsed_project(partial(_parse, cli))
    if not read_templates(parsed):
        read_templates(INSTALLED)
    project = ParsedProject(parsed)
    project.compile_templates()
    write_templates(parsed)
    freeze_memory()
    gc.disable()
    # children are reaped by the kernel
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / SOCKET))
        server.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = server.accept()
            project.load_other(run_folder() / SMALL_PROJECT)
            if os.fork() == 0:
                server.close()
                _run(cli, project, connection)
            connection.close()


def _parse(cli: Command, folder: Path) -> None:
    os.environ.update(parse_environment())
    cli.main(parse_arguments(folder), standalone_mode=False)


def _run(cli: Command, project: ParsedProject, connection: socket.socket) -> NoReturn:
    """Runs the requested command; sends the id of this process when it begins, and the exit code when it ends."""
    from tests.support.lean_dbt import close_connections

    code = 70
    try:
        request = json.loads(connection.makefile().readline())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if request["process_group"] is not None:
            os.setpgid(0, request["process_group"])
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        for descriptor, path in ((1, request["out"]), (2, request["err"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
        connection.sendall(b"%d\n" % os.getpid())
        manifest = project.prepare(request["arguments"], request["env"], request["cwd"])
        if request["is_nightly"]:
            sys.exit(run_build(request["arguments"], manifest))
        # dbt passes the command line on to the macros
        sys.argv = ["dbt", *request["arguments"]]
        cli.main(request["arguments"], prog_name="dbt", obj={"manifest": manifest})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        close_connections()
        connection.sendall(b"%d\n" % code)
        os._exit(code)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
