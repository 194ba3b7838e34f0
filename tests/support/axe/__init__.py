"""axe-core, which finds what keeps people from using a page: its source, to be run in a browser."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from api.settings import PROJECT_ROOT
from api.tools.sdk.npm import npm_packages


@cache
def axe_source() -> str:
    """The script; the network is used only if it is not installed yet.

    Raises:
        ProgramMissing: npm is not installed.
    """
    packages = npm_packages(PROJECT_ROOT / "build" / "axe", Path(__file__).parent)
    return (packages / "axe-core" / "axe.min.js").read_text()
