"""compose.logins.yaml and the systemd units give each process the URL of its own login, and no other's."""

from __future__ import annotations

import yaml

from api.settings import PREFIX, PROCESS_DATABASE_URLS
from tests.support.compose import DEPLOY

SERVICES = {"serve": "server", "intake": "intake", "worker": "worker", "scheduler": "scheduler"}


def test_a_container_has_its_own_url_only() -> None:
    services = yaml.safe_load((DEPLOY / "compose.logins.yaml").read_text())["services"]
    assert set(services) == set(SERVICES.values())
    for process, field in PROCESS_DATABASE_URLS.items():
        environment = dict(services[SERVICES[process]]["environment"])
        assert environment.pop("MAILMART_DATABASE_URL") == f"${{{PREFIX}{field.upper()}:?set it in .env}}"
        assert {name for name, value in environment.items() if value == ""} == {
            *(PREFIX + name.upper() for name in PROCESS_DATABASE_URLS.values()),
            *("DATABASE_PASSWORD", "POSTGRES_PASSWORD"),
        }


def test_a_unit_reads_its_own_file() -> None:
    for process in PROCESS_DATABASE_URLS:
        unit = (DEPLOY / "systemd" / f"mailmart-{process}.service").read_text()
        files = [line for line in unit.splitlines() if line.startswith("EnvironmentFile=-")]
        assert files == [f"EnvironmentFile=-/etc/mailmart/{process}.env"]
