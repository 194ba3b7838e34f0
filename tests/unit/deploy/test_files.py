"""The Dockerfile, compose.yaml and the systemd units, as far as they can be checked without Docker and systemd."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.settings import PROJECT_ROOT
from tests.support.compose import DEPLOY, read_services, required_variables, stop_order

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAMS = Path(sys.executable).parent


def services() -> dict[str, dict[str, Any]]:
    return read_services(dict.fromkeys(required_variables(), "secret"))


def instructions(name: str) -> list[str]:
    """The arguments of an instruction of the Dockerfile, of each time that it is there."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


@pytest.mark.skipif(not (PROGRAMS / "hadolint").exists(), reason="hadolint is not installed")
def test_hadolint_accepts_the_dockerfile() -> None:
    done = subprocess.run([PROGRAMS / "hadolint", "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_dockerfile_copies_is_in_its_context() -> None:
    copied = [path for line in instructions("COPY") if not line.startswith("--from") for path in line.split()[:-1]]
    assert [path for path in copied if not (PROJECT_ROOT / path).exists()] == []
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == set(copied)


def test_the_image_does_not_run_as_root() -> None:
    assert instructions("USER") == ["10001"]
    assert instructions("ENTRYPOINT") == ['["mailmart"]']
    # image names without a registry's address
    assert all(re.fullmatch(r"python:\S+( AS \w+)?", image) for image in instructions("FROM"))


@pytest.mark.slow
def test_compose_follows_its_specification() -> None:
    done = subprocess.run(
        [PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_stops_what_takes_new_work_before_what_does_it() -> None:
    order = [name for name in stop_order(services()) if name != "migrate"]
    assert order.index("server") < order.index("scheduler") < order.index("worker") < order.index("postgres")
    assert order.index("server") < order.index("valkey")
    assert order.index("intake") < min(order.index("valkey"), order.index("postgres"))


def test_compose_gives_services_two_minutes_and_restarts_them() -> None:
    for name in ("server", "intake", "scheduler", "worker"):
        service = services()[name]
        assert (service["stop_grace_period"], service["restart"]) == ("2m", "unless-stopped")
        assert service["volumes"] == ["home:/var/lib/mailmart"]
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for name in ("server", "intake", "postgres", "valkey"):
        assert services()[name]["healthcheck"]["test"][0] == "CMD"
    # the same check in the image, for those who run it without compose
    (check,) = instructions("HEALTHCHECK")
    assert "/healthz" in check


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_units(path: Path, tmp_path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    service = unit["Service"]
    assert (service["KillMode"], service["TimeoutStopSec"], service["User"]) == ("mixed", "120", "mailmart")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    # it checks that the program exists
    for other in UNITS:
        text = other.read_text().replace("/opt/mailmart/.venv/bin/mailmart", str(PROGRAMS / "mailmart"))
        (tmp_path / other.name).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / path.name], capture_output=True, text=True)
    # it only warns of what it does not know
    problems = [line for line in (done.stdout + done.stderr).splitlines() if path.name in line]
    assert (done.returncode, problems) == (0, []), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_units_commands_exist(path: Path) -> None:
    (command,) = re.findall(r"^ExecStart=/opt/mailmart/\.venv/bin/mailmart (.*)$", path.read_text(), re.MULTILINE)
    done = subprocess.run([PROGRAMS / "mailmart", *command.split(), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
