"""What the demo prints when it is ready: the URL of the documentation, the API key, and commands to try."""

from __future__ import annotations

import shutil
from datetime import date, timedelta

from api.settings import Settings

WORKSPACE = "ws_demo_1"
CAMPAIGN = "cmp_demo_1"
EXPORT = '{"export_type": "campaign_performance", "format": "csv", "time_range": "30d"}'


def greeting(settings: Settings, key: str, today: date) -> str:
    """The text, with a sign-in link, and a `curl` command a line for the demo's largest campaign, its workspace and an export.

    The link has the key in its fragment, which browsers send to no server.
    """
    url = settings.local_url
    workspace = f"{url}/api/v1/workspaces/{WORKSPACE}"
    campaign = f"{workspace}/campaigns/{CAMPAIGN}/analytics"
    week = f"timeRange=custom&startDate={today - timedelta(days=6)}&endDate={today}"
    pretty = " | python3 -m json.tool" if shutil.which("python3") else ""
    curl = f"curl -s -H 'Authorization: Bearer {key}'"

    def get(url: str) -> str:
        return f"{curl} '{url}'{pretty}"

    return f"""
mailmart is ready.

  Look at it       {url}/#key={key}
  Documentation    {url}/docs
  Workspace        {WORKSPACE}
  API key          {key}
  Stop             Ctrl-C

Commands to try in another terminal:

# one campaign
{get(campaign)}

# the same campaign in the last seven days, by week
{get(f"{campaign}?{week}&groupBy=week")}

# the workspace: overview, deliverability, best hours to send
{get(f"{workspace}/analytics/overview?timeRange=90d")}
{get(f"{workspace}/analytics/deliverability")}
{get(f"{workspace}/analytics/engagement-heatmap?timezone=Asia/Kathmandu")}

# request an export, then get its status and download URL
{curl} -H 'Content-Type: application/json' -d '{EXPORT}' '{workspace}/analytics/export'{pretty}
{get(f"{workspace}/analytics/exports?limit=1")}
"""
