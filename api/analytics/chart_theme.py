"""The one look of all charts: Vega-Lite's `config`.

The colours are those of Okabe and Ito, which people with any kind of colour vision can distinguish, darkened or lightened until
each has a contrast of 3:1 on the background of its theme. A scale of one measure goes from pale to dark blue.
"""

from __future__ import annotations

from typing import Any

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LIGHT_COLOURS = ["#0072b2", "#c75000", "#00795a", "#a8487c", "#8a6d00", "#2b8cbe", "#5b5b66"]
DARK_COLOURS = ["#56b4e9", "#f0902e", "#33c49a", "#dd8fb8", "#e6c84a", "#8fc7ff", "#b5b8c4"]
LIGHT_RAMP = ["#e8f1f8", "#a6cbe3", "#4d97c4", "#08619c", "#06305a"]
DARK_RAMP = ["#1c2b3d", "#1f4e77", "#2b7bb5", "#66b2e6", "#cfe8fb"]


def _config(text: str, muted: str, grid: str, colours: list[str], ramp: list[str]) -> dict[str, Any]:
    return {
        "background": "transparent",
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None},
        "axis": {
            "labelColor": muted,
            "titleColor": muted,
            "titleFontWeight": 500,
            "titleFontSize": 12,
            "labelFontSize": 12,
            "gridColor": grid,
            "domainColor": grid,
            "tickColor": grid,
            "labelPadding": 6,
            "titlePadding": 10,
        },
        "axisX": {"grid": False, "labelOverlap": True, "labelSeparation": 8},
        "axisXTemporal": {"labelFlush": True},
        "axisXQuantitative": {"tickCount": 6, "grid": True, "domain": False, "ticks": False},
        "axisY": {"domain": False, "ticks": False, "tickCount": 5},
        "legend": {
            "orient": "top",
            "labelColor": text,
            "titleColor": muted,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "symbolStrokeWidth": 3,
            "labelLimit": 260,
            "columnPadding": 18,
            "offset": 8,
        },
        "header": {"labelColor": text, "titleColor": muted, "labelFontSize": 12, "titleFontSize": 12, "labelFontWeight": 600},
        "title": {"color": text, "anchor": "start", "fontSize": 14, "fontWeight": 600},
        "mark": {"color": colours[0], "tooltip": True},
        "line": {"strokeWidth": 2.25},
        "bar": {"color": colours[0], "cornerRadiusEnd": 2},
        "rule": {"color": muted},
        "text": {"color": text, "fontSize": 12},
        "range": {"category": colours, "heatmap": ramp, "ramp": ramp, "ordinal": ramp},
    }


LIGHT = _config("#1b1f2a", "#565d6d", "#e3e6ec", LIGHT_COLOURS, LIGHT_RAMP)
DARK = _config("#eceff5", "#a9b0bf", "#323846", DARK_COLOURS, DARK_RAMP)
