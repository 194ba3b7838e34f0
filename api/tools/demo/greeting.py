"""What the demo says when it serves: where to look, and lines to paste."""

from __future__ import annotations

import shutil
from datetime import date, timedelta

from api.processes.probe import address
from api.settings import Settings

WORKSPACE = "ws_demo_1"
CAMPAIGN = "cmp_demo_1"
EXPORT = '{"export_type": "campaign_performance", "format": "csv", "time_range": "30d"}'


def greeting(settings: Settings, key: str, today: date) -> str:
    """The address of the documentation and `curl` commands, a line each, for the demo's biggest campaign and an export."""
    workspace = f"{address(settings)}/api/v1/workspaces/{WORKSPACE}"
    campaign = f"{workspace}/campaigns/{CAMPAIGN}/analytics"
    week = f"timeRange=custom&startDate={today - timedelta(days=6)}&endDate={today}"
    urls = (
        campaign,
        f"{campaign}?{week}&groupBy=week",
        f"{workspace}/analytics/overview?timeRange=90d",
        f"{workspace}/analytics/deliverability",
        f"{workspace}/analytics/engagement-heatmap?timezone=Asia/Kathmandu",
    )
    pretty = " | python3 -m json.tool" if shutil.which("python3") else ""
    curl = f"curl -s -H 'Authorization: Bearer {key}'"
    lines = "\n".join(f"{curl} '{url}'{pretty}" for url in urls)
    return f"""
mailmart is ready. Documentation to try things out in: {address(settings)}/docs   (Ctrl-C stops everything)

API key of {WORKSPACE}: {key}

{lines}

A file of it, and then where it is:

{curl} -H 'Content-Type: application/json' -d '{EXPORT}' '{workspace}/analytics/export'{pretty}
{curl} '{workspace}/analytics/exports?limit=1'{pretty}
"""
