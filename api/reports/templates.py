"""The contents of mails and webhooks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from zoneinfo import ZoneInfo

import orjson

from api.reports.smtp import Mail

STOP = "Stop the report mail of this workspace"


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


def run_mail(notification: RunNotification, recipient: str, opt_out_url: str) -> Mail:
    """The mail to one recipient of a report, with a link to opt out of such mail."""
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
    text = "\n".join([f"{title}.", "", *facts_as_text, "", link_as_text, "", why, f"{STOP}: {opt_out_url}", ""])
    rows = "".join(f"<tr><td>{label}&nbsp;</td><td>{escape(value)}</td></tr>" for label, value in facts)
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"></head><body>'
        f'<p>{title}.</p><table dir="auto">{rows}</table><p>{link_as_html}</p><p><small>{escape(why)}'
        f' <a href="{escape(opt_out_url)}">{STOP}</a>.</small></p></body></html>'
    )
    subject = notification.name if notification.download_url is not None else f"{notification.name}: could not be created"
    # different for each recipient and the same at each attempt, so that mail clients can detect duplicates
    name = f"{notification.run_id}.{hashlib.sha256(recipient.encode()).hexdigest()[:12]}"
    return Mail(recipient, subject, text, html, name, notification.exported_at, opt_out_url)


def _local_time(moment: datetime, zone: ZoneInfo) -> str:
    """For people, and the instant as in files (RFC 3339), which is the same in every zone and when the clocks go back."""
    local = moment.astimezone(zone)
    return f"{local.day} {local:%B %Y, %H:%M} ({zone.key}), {moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
