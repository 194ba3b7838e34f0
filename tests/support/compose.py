"""Reads deploy/compose.yaml as Docker Compose does, as far as these tests need it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from api.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"
VARIABLE = re.compile(r"\$\{(\w+):\?[^}]*\}")


def read_services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The services, by name, with these values of the variables that must be set."""
    text = VARIABLE.sub(lambda match: variables[match[1]], (DEPLOY / "compose.yaml").read_text())
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return services


def required_variables() -> set[str]:
    """The variables that compose.yaml requires in .env."""
    return set(VARIABLE.findall((DEPLOY / "compose.yaml").read_text()))


def stop_order(services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The order in which Compose stops the services: each one before those that it depends on."""
    order: list[str] = []

    def visit(name: str) -> None:
        for dependency in services[name].get("depends_on", {}):
            visit(dependency)
        if name not in order:
            order.append(name)

    for name in services:
        visit(name)
    return order[::-1]
