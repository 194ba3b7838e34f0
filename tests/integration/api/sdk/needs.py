"""Skips a test where a program is missing that the project cannot bring along."""

from __future__ import annotations

import pytest

from api.tools.sdk.programs import missing


def needs(*programs: str) -> pytest.MarkDecorator:
    """Marks a test that runs these."""
    gone = missing(programs)
    return pytest.mark.skipif(bool(gone), reason=f"not on this machine: {', '.join(gone)}")
