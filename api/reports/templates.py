"""The contents of mails and webhooks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from zoneinfo import ZoneInfo

import orjson

from api.reports.mail_charts import NO_CHARTS, MailChart, MailCharts
from api.reports.smtp import InlineImage, Mail

STOP = "Stop the report mail of this workspace"
NO_MAIL = "There is nothing to draw in this time range."


@dataclass(frozen=True)
class RunNotification:
    """A run whose export has ended.

    Attributes:
        error: why there is no file; None if there is one.
        download_url: the link to the file, valid until `expires_at`; None without a file.
    """

    run_id: str
    scheduled_for: datetime
    exported_at: datetime
    error: str | None
    report_id: str
    name: str
    workspace_id: str
    timezone: str
    export_id: str | None
    export_status: str | None
    export_type: str
    format: str
    row_count: int | None
    file_size_bytes: int | None
    sha256: str | None
    data_as_of: datetime | None
    download_url: str | None
    expires_at: datetime | None


def webhook_body(notification: RunNotification) -> bytes:
    """The JSON body of a webhook. It is the same at each attempt, unless the report was changed or its file deleted."""
    has_file = notification.download_url is not None
    body = {
        "type": "report.completed" if has_file else "report.failed",
        "timestamp": notification.exported_at,
        "data": {
            "report_id": notification.report_id,
            "report_name": notification.name,
            "workspace_id": notification.workspace_id,
            "run_id": notification.run_id,
            "scheduled_for": notification.scheduled_for,
            "export_id": notification.export_id,
            "export_type": notification.export_type,
            "export_status": notification.export_status,
            "format": notification.format,
            "row_count": notification.row_count if has_file else None,
            "file_size_bytes": notification.file_size_bytes if has_file else None,
            "sha256": notification.sha256 if has_file else None,
            "data_as_of": notification.data_as_of if has_file else None,
            "download_url": notification.download_url,
            "expires_at": notification.expires_at,
            "error": notification.error,
        },
    }
    return orjson.dumps(body, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


def run_mail(notification: RunNotification, recipient: str, opt_out_url: str, made: MailCharts = NO_CHARTS) -> Mail:
    """The mail to one recipient of a report, with its charts, and with a link to opt out of such mail."""
    zone = ZoneInfo(notification.timezone)
    facts = [("Report", notification.name), ("Due", _local_time(notification.scheduled_for, zone))]
    facts.append(("Contents", f"{notification.export_type.replace('_', ' ')} ({notification.format})"))
    if notification.download_url is None or notification.expires_at is None:
        title, action = "The report could not be created", notification.error or ""
        link_as_text, link_as_html = action, escape(action)
    else:
        title = "The report is ready"
        if notification.row_count is not None:
            facts.append(("Rows", f"{notification.row_count:,}"))
        if notification.data_as_of is not None:
            facts.append(("Data until", _local_time(notification.data_as_of, zone)))
        until = _local_time(notification.expires_at, zone)
        link_as_text = f"Download it until {until}. Anyone with this link can download it:\n{notification.download_url}"
        link_as_html = (
            f'<a href="{escape(notification.download_url)}">Download it</a> until {escape(until)}.'
            " Anyone with this link can download it."
        )
    why = f"You receive this mail because your address is a recipient of the report (workspace {notification.workspace_id})."
    facts_as_text = [f"{label}: {value}" for label, value in facts]
    note = [made.note, ""] if made.note else []
    charts_as_text = [line for chart in made.charts for line in _chart_as_text(chart)]
    text = "\n".join(
        [f"{title}.", "", *facts_as_text, "", link_as_text, "", *charts_as_text, *note, why, f"{STOP}: {opt_out_url}", ""]
    )
    rows = "".join(f"<tr><td>{label}&nbsp;</td><td>{escape(value)}</td></tr>" for label, value in facts)
    charts_as_html, images = _charts_as_html(made, notification.run_id)
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head>'
        '<body style="font-family: sans-serif; line-height: 1.4">'
        f'<p>{title}.</p><table dir="auto">{rows}</table><p>{link_as_html}</p>{charts_as_html}<p><small>{escape(why)}'
        f' <a href="{escape(opt_out_url)}">{STOP}</a>.</small></p></body></html>'
    )
    subject = notification.name if notification.download_url is not None else f"{notification.name}: could not be created"
    # different for each recipient and the same at each attempt, so that mail clients can detect duplicates
    name = f"{notification.run_id}.{hashlib.sha256(recipient.encode()).hexdigest()[:12]}"
    return Mail(recipient, subject, text, html, name, notification.exported_at, opt_out_url, images)


def _chart_as_text(chart: MailChart) -> list[str]:
    """Title, description and numbers, for those who do not see the picture."""
    lines = [chart.title, "-" * min(len(chart.title), 60)]
    if chart.description:
        lines.append(chart.description)
    if not chart.rows:
        return [*lines, NO_MAIL, ""]
    widths = [max(len(row[index]) for row in (chart.columns, *chart.rows)) for index in range(len(chart.columns))]
    for row in (chart.columns, *chart.rows) if any(chart.columns) else chart.rows:
        aligned = enumerate(zip(row, widths, strict=True))
        cells = [cell.ljust(width) if index < chart.names else cell.rjust(width) for index, (cell, width) in aligned]
        lines.append("  ".join(cells).rstrip())
    return [*lines, *([_left_out(chart)] if chart.rows_left_out else []), ""]


def _charts_as_html(made: MailCharts, run_id: str) -> tuple[str, tuple[InlineImage, ...]]:
    """The pictures with what programs show in their place; numbers as a table where there is no picture."""
    parts: list[str] = []
    images: list[InlineImage] = []
    for number, chart in enumerate(made.charts, 1):
        parts.append(f'<h2 dir="auto" style="font-size: 1.1em; margin: 1.5em 0 0.3em">{escape(chart.title)}</h2>')
        if chart.description:
            parts.append(f"<p><small>{escape(chart.description)}</small></p>")
        if chart.png:
            content_id = f"chart{number}.{run_id}@mailmart"
            images.append(InlineImage(content_id, f"{chart.name}.png", chart.png))
            width, height = chart.size
            alternative = f"{chart.title}. {chart.description} The numbers are in the text of this mail and in the file."
            parts.append(
                f'<p><img src="cid:{content_id}" alt="{escape(alternative)}" width="{width}" height="{height}"'
                ' style="max-width: 100%; height: auto"></p>'
            )
        elif chart.rows:
            parts.append(f"<p>This chart could not be drawn. These are its numbers:</p>{_table_as_html(chart)}")
        else:
            parts.append(f"<p>{NO_MAIL}</p>")
    if made.note:
        parts.append(f"<p>{escape(made.note)}</p>")
    return "".join(parts), tuple(images)


def _table_as_html(chart: MailChart) -> str:
    rows = "".join(_row_as_html("td", row, chart.names) for row in chart.rows)
    left_out = f"<p>{_left_out(chart)}</p>" if chart.rows_left_out else ""
    return f'<table dir="auto" cellpadding="4">{_row_as_html("th", chart.columns, chart.names)}{rows}</table>{left_out}'


def _row_as_html(tag: str, cells: Sequence[str], names: int) -> str:
    sides = ("left" if index < names else "right" for index in range(len(cells)))
    aligned = (f'<{tag} align="{side}">{escape(cell)}</{tag}>' for side, cell in zip(sides, cells, strict=True))
    return f"<tr>{''.join(aligned)}</tr>"


def _left_out(chart: MailChart) -> str:
    return f"… and {chart.rows_left_out:,} rows more, which are in the file."


def _local_time(moment: datetime, zone: ZoneInfo) -> str:
    """For people, and the instant as in files (RFC 3339), which is the same in every zone and when the clocks go back."""
    local = moment.astimezone(zone)
    return f"{local.day} {local:%B %Y, %H:%M} ({zone.key}), {moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
