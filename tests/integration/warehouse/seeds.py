"""The rows of the project's seeds: a test states no copy of them."""

from __future__ import annotations

import csv

from api.settings import PROJECT_ROOT


def seed(name: str) -> list[dict[str, str]]:
    """The rows of a seed, as texts."""
    with (PROJECT_ROOT / "seeds" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
