"""`mailmart bench api` measures endpoints and their controls, and leaves nothing behind.

pgbench runs for a second at least, with all processors. So only one endpoint of each kind is measured here; what the controls
answer is compared for all of them. With MAILMART_TEST_BENCH_ENDPOINTS=all, all are measured.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from api.settings import Settings
from tests.support.command import mailmart

ENDPOINTS = (
    "campaign_analytics",
    "compare_campaigns",
    "data_quality",
    "deliverability",
    "engagement_heatmap",
    "workspace_overview",
)
MEASURES_ALL = os.environ.get("MAILMART_TEST_BENCH_ENDPOINTS") == "all"


@pytest.mark.timeout(900)
def test_endpoints_are_measured_beside_their_controls(home: Path) -> None:
    arguments = ["bench", "api", "--messages", "2000", "--days", "30", "--seconds", "0.1", "--rounds", "1", "--connections", "2"]
    chosen = [] if MEASURES_ALL else [option for endpoint in ENDPOINTS for option in ("--endpoint", endpoint)]
    result = mailmart(Settings(None, None, home), *arguments, *chosen)
    assert result.exit_code == 0, result.output
    for endpoint in ENDPOINTS:
        tables = re.findall(rf"^{endpoint}(?: \(.*\))?\n((?:  .*\n)+)", result.output, re.MULTILINE)
        assert len(tables) == 2, result.output
        measured, ratios = tables
        labels = ("uncached", "bare WSGI", "its SQL in pgbench, prepared", "its SQL in pgbench", "cached")
        assert [label for label in labels if not re.search(rf"^  {label} +\d", measured, re.MULTILINE)] == [], measured
        compared = ("bare WSGI", "its SQL in pgbench, prepared", "its SQL in pgbench")
        assert [label for label in compared if not re.search(rf"^  uncached / {label} +\d", ratios, re.MULTILINE)] == [], ratios
        assert re.search(r"^  cached / static Flask route +\d", ratios, re.MULTILINE), ratios
    measured_too = "workspace_series" in result.output
    assert measured_too == MEASURES_ALL, result.output
    assert re.search(r"static Flask route +\d.*\n  static bare WSGI +\d", result.output), result.output
    assert list(home.iterdir()) == []
