"""Skips a test if an external program is not installed."""

from __future__ import annotations

import pytest

from api.tools.sdk.programs import missing


def needs(*programs: str) -> pytest.MarkDecorator:
    """Marks a test that runs these programs."""
    absent = missing(programs)
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")
