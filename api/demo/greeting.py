"""What the demo says when it serves: where to look, and lines to paste."""

from __future__ import annotations

import shutil
from datetime import date, timedelta

from api.settings import Settings

WORKSPACE = "ws_demo_1"
CAMPAIGN = "cmp_demo_1"


def greeting(settings: Settings, key: str, today: date) -> str:
    """The address of the documentation and `curl` commands, a line each, for the demo's biggest campaign."""
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
    lines = "\n".join(f"curl -s -H 'Authorization: Bearer {key}' '{url}'{pretty}" for url in urls)
    return f"""
mailmart is ready. Documentation to try things out in: {address(settings)}/docs   (Ctrl-C stops everything)

API key of {WORKSPACE}: {key}

{lines}
"""


def address(settings: Settings) -> str:
    """The service's address as a client on this machine writes it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - read, not listened at
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{settings.port}"
