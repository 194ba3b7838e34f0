"""What people and programs are told of a run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

import orjson

from api.reports.smtp import Mail


@dataclass(frozen=True)
class RunNotification:
    """A run whose export has ended.

    Attributes:
        error: why there is no file; None where there is one.
        download_url: where the file is until `expires_at`; None without a file.
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


def webhook_body(outcome: RunNotification) -> bytes:
    """The JSON that a webhook gets: the same at each attempt, unless the report or its file is another one by then."""
    is_there = outcome.download_url is not None
    body = {
        "type": "report.completed" if is_there else "report.failed",
        "timestamp": outcome.exported_at,
        "data": {
            "report_id": outcome.report_id,
            "report_name": outcome.name,
            "workspace_id": outcome.workspace_id,
            "run_id": outcome.run_id,
            "scheduled_for": outcome.scheduled_for,
            "export_id": outcome.export_id,
            "export_type": outcome.export_type,
            "export_status": outcome.export_status,
            "format": outcome.format,
            "row_count": outcome.row_count if is_there else None,
            "file_size_bytes": outcome.file_size_bytes if is_there else None,
            "sha256": outcome.sha256 if is_there else None,
            "data_as_of": outcome.data_as_of if is_there else None,
            "download_url": outcome.download_url,
            "expires_at": outcome.expires_at,
            "error": outcome.error,
        },
    }
    return orjson.dumps(body, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


def mail_of(outcome: RunNotification, recipient: str) -> Mail:
    """The mail to one of a report's people."""
    zone = ZoneInfo(outcome.timezone)
    facts = [("Report", outcome.name), ("Due", _said(outcome.scheduled_for, zone))]
    facts.append(("Contents", f"{outcome.export_type.replace('_', ' ')} ({outcome.format})"))
    if outcome.download_url is None or outcome.expires_at is None:
        title, action = "The report could not be made", outcome.error or ""
        link_as_text, link_as_html = action, escape(action)
    else:
        title = "The report is ready"
        if outcome.row_count is not None:
            facts.append(("Rows", f"{outcome.row_count:,}"))
        if outcome.data_as_of is not None:
            facts.append(("Data until", _said(outcome.data_as_of, zone)))
        until = _said(outcome.expires_at, zone)
        link_as_text = f"Download it until {until}. Whoever has this link can:\n{outcome.download_url}"
        link_as_html = (
            f'<a href="{escape(outcome.download_url)}">Download it</a> until {escape(until)}. Whoever has this link can.'
        )
    why = f"You get this because your address is in the report's recipients (workspace {outcome.workspace_id})."
    text = "\n".join([f"{title}.", "", *(f"{label}: {value}" for label, value in facts), "", link_as_text, "", why, ""])
    rows = "".join(f"<tr><td>{label}&nbsp;</td><td>{escape(value)}</td></tr>" for label, value in facts)
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"></head><body>'
        f'<p>{title}.</p><table dir="auto">{rows}</table><p>{link_as_html}</p><p><small>{escape(why)}</small></p></body></html>'
    )
    subject = outcome.name if outcome.download_url is not None else f"{outcome.name}: could not be made"
    # another one for each recipient, and the same at each attempt: what arrives twice can be seen to be one
    name = f"{outcome.run_id}.{hashlib.sha256(recipient.encode()).hexdigest()[:12]}"
    return Mail(recipient, subject, text, html, name, outcome.exported_at)


def _said(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local.day} {local:%B %Y, %H:%M} ({zone.key})"
