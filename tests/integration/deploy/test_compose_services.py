"""The services of deploy/compose.yaml without Docker: same commands, environment and order, on a copy of the image's files.

PostgreSQL is set up by the script that its container runs. Names and paths of containers are replaced by those of this machine.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
import redis

from api.embedded import postgres
from api.embedded.paths import Folders, find_folders
from api.settings import PROJECT_ROOT
from tests.support.compose import DEPLOY, read_services, required_variables, stop_order
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PROGRAMS = Path(sys.executable).parent
OURS = ("server", "intake", "scheduler", "worker")
pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Machine:
    """What takes the place of the containers: a folder with the image's files, one for the volume, and two servers."""

    image: Path
    volume: Path
    services: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, str]
    postgres_programs: Path
    postgres_port: str

    def start(self, name: str, log: Path) -> subprocess.Popen[bytes]:
        """Starts a service's command, as the image's entrypoint does."""
        with log.open("wb") as output:
            return subprocess.Popen(
                [PROGRAMS / "mailmart", *self.services[name]["command"]],
                cwd=self.image,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str) -> str:
        """`docker compose run --rm migrate …`."""
        done = subprocess.run(
            [PROGRAMS / "mailmart", *arguments],
            cwd=self.image,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_healthy(self, name: str) -> bool:
        """Runs the service's health check."""
        kind, program, *arguments = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        programs = {"python": Path(sys.executable), "pg_isready": self.postgres_programs / "pg_isready"}
        environment = {**self.environment, "PGPORT": self.postgres_port}
        done = subprocess.run([programs[program], *arguments], env=environment, capture_output=True, timeout=30)
        return done.returncode == 0

    def query(self, statement: LiteralString) -> Any:
        """The only value that the statement returns."""
        with psycopg.connect(self.environment["MAILMART_DATABASE_URL"], autocommit=True) as connection:
            connection.execute("set role mailmart_worker")
            row = connection.execute(statement).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Servers of its own: the roles of mailmart belong to a whole server."""
    top = Path(tempfile.mkdtemp(prefix="mailmart-compose-"))
    top.chmod(0o755)
    home = top / "servers"
    home.mkdir()
    folders = find_folders(home)
    passwords = {name: secrets.token_hex(16) for name in required_variables()}
    services = read_services(passwords)
    try:
        postgres_port = free_port()
        postgres.start(folders, port=postgres_port, durable=False)
        _create_login(folders, postgres_port, passwords["DATABASE_PASSWORD"])
        with _valkey(services["valkey"], folders.valkey) as valkey_port:
            image, volume = _copy_image_files(top / "image"), top / "home"
            addresses = {"@postgres:5432/": f"@127.0.0.1:{postgres_port}/", "//valkey:6379/": f"//127.0.0.1:{valkey_port}/"}
            environment = _environment(services["server"], addresses, image, volume)
            yield Machine(image, volume, services, environment, folders.binaries, str(postgres_port))
    finally:
        postgres.stop(folders)
        for folder in (folders.servers, folders.sockets, top):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _valkey(service: Mapping[str, Any], program: Path) -> Iterator[int]:
    """Runs the service's command, and gives its port."""
    port = free_port()
    _, *arguments = service["command"]
    process = subprocess.Popen(
        [program, *arguments, "--bind", "127.0.0.1", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with redis.Redis(port=port) as client:
            wait_until(lambda: _is_up(client), "Valkey")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _is_up(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _create_login(folders: Folders, port: int, password: str) -> None:
    """Runs the script of PostgreSQL's container as a superuser.

    The embedded server has a login and a database of these names already; they make way.
    """
    with psycopg.connect(postgres.superuser_conninfo(folders), autocommit=True) as connection:
        connection.execute("drop database mailmart")
        connection.execute("drop role mailmart")
    done = subprocess.run(
        ["bash", DEPLOY / "postgres" / "create-login.sh"],
        env={
            "PATH": f"{folders.binaries}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGPASSWORD": (folders.home / "superuser_password").read_text(),
            "DATABASE_PASSWORD": password,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def _copy_image_files(folder: Path) -> Path:
    """Copies what the Dockerfile copies."""
    folder.mkdir()
    for line in re.findall(r"^COPY (?!--)(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            to = folder / target / source if target == "./" else folder / target
            if (PROJECT_ROOT / source).is_dir():
                shutil.copytree(PROJECT_ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(PROJECT_ROOT / source, to)
    return folder


def _environment(service: Mapping[str, Any], addresses: Mapping[str, str], image: Path, volume: Path) -> dict[str, str]:
    """The service's environment, and the image's, with this machine's addresses and paths."""
    environment: dict[str, str] = dict(service["environment"])
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH"):
        (environment[name],) = re.findall(rf"{name}=(\S+)", dockerfile)
    assert environment["MAILMART_HOST"] == "0.0.0.0"  # noqa: S104
    for of_containers, here in {**addresses, environment["MAILMART_HOME"]: str(volume)}.items():
        environment = {name: value.replace(of_containers, here) for name, value in environment.items()}
    ports = {name: str(free_port()) for name in ("MAILMART_PORT", "MAILMART_INTAKE_PORT")}
    environment |= {**ports, "MAILMART_HOST": "127.0.0.1"}
    # the copied project, in place of the installed one
    return environment | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "PYTHONPATH": str(image), "DO_NOT_TRACK": "1"}


def test_the_services_start_in_order_are_healthy_and_stop_in_order(machine: Machine, tmp_path: Path) -> None:
    assert machine.is_healthy("postgres")
    # twice, as at the next `docker compose up`
    assert "applied" in machine.run("migrate")
    assert "up to date" in machine.run("migrate")
    running: dict[str, subprocess.Popen[bytes]] = {}
    order = [name for name in stop_order(machine.services) if name in OURS]
    try:
        for name in reversed(order):
            running[name] = machine.start(name, tmp_path / name)
        wait_until(lambda: machine.is_healthy("server"), "the server's health check")
        wait_until(lambda: machine.is_healthy("intake"), "the intake's health check")
        wait_until(lambda: machine.query("select count(*) from procrastinate.procrastinate_workers") == 1, "a worker")
        # a new installation has missed the last nightly run: the scheduler catches up, and is stopped during that build
        wait_until(lambda: machine.query("select count(*) from app.batches where status = 'running'") == 1, "a build")
        for name in order:
            assert running[name].poll() is None, (tmp_path / name).read_text()
            running[name].terminate()
            assert running[name].wait(120) == 0, (tmp_path / name).read_text()
        assert machine.query("select count(*) from procrastinate.procrastinate_workers") == 0
        # the project is read-only in a container: everything was written to the volume
        assert {path.name for path in machine.image.iterdir()}.isdisjoint({"target", "logs", ".mailmart"})
    finally:
        for process in running.values():
            process.kill()
    for name in order:
        assert "Traceback" not in (tmp_path / name).read_text()
