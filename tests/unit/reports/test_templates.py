"""The numbers of a chart in a mail: names to the left, numbers to the right."""

from __future__ import annotations

from datetime import UTC, datetime

from api.reports.mail_charts import MailChart, MailCharts
from api.reports.templates import RunNotification, run_mail

NOW = datetime(2026, 11, 27, tzinfo=UTC)
RUN = RunNotification(
    run_id="run",
    scheduled_for=NOW,
    exported_at=NOW,
    error=None,
    report_id="rep",
    name="Weekly",
    workspace_id="ws",
    timezone="UTC",
    export_id="exp",
    export_status="completed",
    export_type="campaign_comparison",
    format="csv",
    row_count=2,
    file_size_bytes=10,
    sha256="0",
    data_as_of=NOW,
    download_url="https://mart.example/file",
    expires_at=NOW,
)


def test_names_are_left_and_numbers_right() -> None:
    rows = (("open_rate", "cmp_1", "9.85"), ("click_rate", "cmp_10", "10.00"))
    chart = MailChart("intervals", "Intervals", "", ("Metric", "Campaign", "Low"), rows, 0, names=2)
    mail = run_mail(RUN, "ana@example.com", "https://mart.example/stop", MailCharts((chart,)))
    assert "Metric      Campaign    Low\nopen_rate   cmp_1      9.85\nclick_rate  cmp_10    10.00\n" in mail.text
    assert '<td align="left">cmp_1</td><td align="right">9.85</td>' in mail.html
