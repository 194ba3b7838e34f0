"""Scrapes a metrics server."""

from __future__ import annotations

import urllib.request


def samples(port: int) -> dict[str, float]:
    """The metrics' values, by name with labels."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    values = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in values}
