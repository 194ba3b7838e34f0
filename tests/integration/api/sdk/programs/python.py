"""Every operation, through the Python SDK: openapi-generator's, with the hand-written files.

The recorder in front of the service refuses the first request of each operation, and loses a response to a request for an
export.
"""
# ruff: noqa: PT017 - no pytest in a program that runs by itself

from __future__ import annotations

import logging
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from mailmart_client import (
    ApiError,
    Client,
    CompareCampaignsChartRequest,
    CompareCampaignsRequest,
    ConnectionFailed,
    ErrorCode,
    EventsRequest,
    ExportFailed,
    ExportQuery,
    ExportRequest,
    ExportStatus,
    ExportTimeout,
    GroupBy,
    NativeEvent,
    QueryMetricsChartRequest,
    QueryMetricsRequest,
    ReportChanges,
    ReportExportRequest,
    ReportRequest,
    ReportScheduleRequest,
    ReportWeekday,
    Retries,
    TimeRangePeriod,
    pages,
)

address, key, workspace, campaign = sys.argv[1:]
today: date = datetime.now(UTC).date()


class Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


log = Messages()
logging.getLogger("mailmart_client").addHandler(log)

with Client(f"{address}/", key) as client:
    api = client.analytics

    started = time.monotonic()
    found = api.get_campaign_analytics(workspace, campaign, time_range="30d", group_by=GroupBy.WEEK)
    assert time.monotonic() - started >= 1
    path = f"/api/v1/workspaces/{workspace}/campaigns/{campaign}/analytics"
    assert log.messages == [f"GET {path}: HTTP 429; attempt 2 of 5 in 1.0 s, as Retry-After says"]
    sent: int = found.data.summary.emails_sent
    rate: float = found.data.rates.open_rate
    assert (sent, rate) == (5000, 30.0), (sent, rate)
    assert found.data.time_range.period is TimeRangePeriod.LAST_30_DAYS
    first_day: date = found.data.time_series[0].date
    assert first_day <= today
    as_of: datetime = found.meta.data_as_of
    assert as_of.tzinfo is not None

    overview = api.get_workspace_overview(workspace, time_range="custom", start_date=today - timedelta(days=20), end_date=today)
    assert overview.data.summary.emails_sent == 5001
    assert overview.data.time_range.start.date() == today - timedelta(days=20)

    series = api.get_workspace_series(workspace, group_by=GroupBy.MONTH)
    assert sum(point.sent for point in series.data.time_series) == 5001

    deliverability = api.get_deliverability(workspace, time_range="90d", campaign_id=campaign)
    assert deliverability.data.overall.bounce_rate == 2.0
    assert deliverability.data.blacklist_status.last_check is None

    providers = api.get_providers(workspace, time_range="90d", campaign_id=campaign)
    assert [(row.recipient_provider, row.summary.emails_sent) for row in providers.data.providers] == [("unknown", 5000)]
    assert providers.data.providers[0].difference_from_others is None

    steps = api.get_campaign_steps(workspace, campaign, time_range="90d")
    assert [(row.step, row.rates.open_rate) for row in steps.data.steps] == [(None, 30.0)]

    links = api.get_campaign_links(workspace, campaign, time_range="90d")
    assert (links.data.summary.emails_clicked, links.data.links[0].link) == (245, None)

    timing = api.get_timing(workspace, time_range="90d", campaign_id=campaign)
    assert [(row.delay, row.messages) for row in timing.data.percentiles][:2] == [("delivered", 4900), ("opened", 1470)]
    assert timing.data.histogram[-1].to_seconds is not None
    assert timing.data.maturity[0].opened_share is None

    heatmap = api.get_engagement_heatmap(workspace, time_range="90d", timezone="Europe/Berlin", granularity="hour")
    assert sum(cell.emails_sent for cell in heatmap.data.heatmap) == 5001
    best = heatmap.data.optimal_send_time
    assert best is not None
    assert 0 <= best.hour < 24

    comparison = api.compare_campaigns(
        workspace, CompareCampaignsRequest(campaign_ids=[campaign, "cmp_idle"], metrics=["open_rate"])
    )
    assert [compared.metrics.open_rate for compared in comparison.data.comparison] == [30.0, 0.0]
    assert comparison.data.statistical_significance[0].p_value is None

    of_campaigns = CompareCampaignsChartRequest(campaign_ids=[campaign, "cmp_idle"], theme="dark")
    months = QueryMetricsChartRequest(metrics=["sent"], dimensions=["campaign"], time_range="90d", granularity="month")
    volume = api.get_workspace_series_chart(workspace, "volume", group_by=GroupBy.MONTH)
    total = sum(point.delivered + point.bounced for point in series.data.time_series)
    assert sum(row["value"] for row in volume.data["values"]) == total > 0
    charts = (
        volume,
        api.get_campaign_analytics_chart(workspace, campaign, "funnel", time_range="90d"),
        api.get_workspace_overview_chart(workspace, "top_campaigns", time_range="90d"),
        api.get_deliverability_chart(workspace, "health", time_range="90d", campaign_id=campaign),
        api.get_engagement_heatmap_chart(workspace, "by_hour", time_range="90d", timezone="Europe/Berlin"),
        api.compare_campaigns_chart(workspace, "intervals", of_campaigns),
        api.query_metrics_chart(workspace, "metrics", months),
    )
    assert {chart.var_schema for chart in charts} == {"https://vega.github.io/schema/vega-lite/v6.json"}
    assert all(chart.data["values"] for chart in charts), charts

    answer = api.query_metrics(
        workspace, QueryMetricsRequest(metrics=["sent", "open_rate"], dimensions=["campaign"], time_range="90d")
    )
    assert answer.data.rows[0].dimensions == {"campaign": campaign}
    assert answer.data.rows[0].metrics["open_rate"].value == 30.0
    assert answer.data.totals["sent"].value == 5001
    one_a_page = QueryMetricsRequest(metrics=["sent"], dimensions=["campaign"], time_range="90d", limit=1)
    asked = [page.data.rows for page in pages(api.query_metrics, workspace, one_a_page)]
    assert [row.metrics["sent"].value for rows in asked for row in rows] == [5000, 1]
    assert one_a_page.cursor is None

    assert api.get_data_quality(workspace).data.problems == []

    freshness = api.get_freshness(workspace).data
    assert not freshness.is_late
    assert freshness.data_through < freshness.late_after

    ranked = [row for page in pages(api.get_campaigns, workspace, sort="open_rate", limit=2) for row in page.data.campaigns]
    assert (ranked[0].campaign_id, ranked[0].rates.open_rate) == (campaign, 30.0)
    assert len(ranked) == 3
    last: date | None = ranked[0].last_sent_on
    assert last is not None
    assert [row.summary.emails_sent for row in api.get_mailboxes(workspace, search="MBX").data.mailboxes] == [5000]
    assert api.get_domains(workspace).data.domains == []
    assert api.get_links(workspace, sort="clicks").data.links == []
    assert api.get_mailbox_health(workspace, order="desc").data.mailboxes[0].factors.unsubscribe_rate == 0.24
    compared = api.get_workspace_overview(workspace, time_range="30d", compare_to="previous_period").data
    assert compared.previous_period is not None
    assert compared.previous_period.summary.emails_sent == 0
    assert overview.data.previous_period is None

    assert [(row.provider, row.source_id) for row in api.get_sources(workspace).data.sources] == [("native", None)]

    exports = client.exports
    wanted = ExportRequest(export_type="campaign_performance", format="csv", campaign_ids=[campaign])
    export = exports.create_export(workspace, wanted, idempotency_key="python").data
    assert export.status is ExportStatus.PROCESSING
    assert exports.create_export(workspace, wanted, idempotency_key="python").data.export_id == export.export_id
    assert exports.get_export(workspace, export.export_id).data.download_url is None
    try:
        client.wait_for_export(workspace, export.export_id, timeout=0)
    except ExportTimeout as error:
        assert export.export_id in str(error), error
    else:
        raise AssertionError("an export that nobody writes is completed")
    exports.delete_export(workspace, export.export_id)
    try:
        client.wait_for_export(workspace, export.export_id)
    except ExportFailed as error:
        assert error.export.status is ExportStatus.CANCELED
    else:
        raise AssertionError("a canceled export is completed")

    # the connection breaks after this one is created: the request that is sent again finds it by its Idempotency-Key
    created = exports.create_export(workspace, ExportRequest(export_type="messages", format="ndjson", time_range="7d")).data
    assert "POST" in log.messages[-1], log.messages
    assert "ProtocolError" in log.messages[-1], log.messages
    statuses: list[ExportStatus] = []
    written = client.wait_for_export(workspace, created.export_id, on_progress=lambda status: statuses.append(status.status))
    assert statuses == [ExportStatus.PROCESSING] * 2
    with tempfile.TemporaryDirectory() as folder:
        file = client.download(written, Path(folder) / "messages.ndjson")
        assert len(file.read_text().splitlines()) == written.row_count
        assert [path.name for path in Path(folder).iterdir()] == ["messages.ndjson"]
    listed: list[str] = []
    for page in pages(exports.list_exports, workspace, limit=1):
        listed += [one.export_id for one in page.data.exports]
        if export.export_id in listed:
            break
    assert listed.index(created.export_id) == listed.index(export.export_id) - 1, listed
    exports.delete_export(workspace, created.export_id)
    query = ExportQuery(metrics=["sent"], dimensions=["campaign"], time_range="90d", limit=10)
    of_query = ExportRequest(export_type="query", format="csv", query=query)
    queried = exports.create_export(workspace, of_query, idempotency_key="python-query").data
    assert (queried.export_type, queried.status) == ("query", ExportStatus.PROCESSING)
    exports.delete_export(workspace, queried.export_id)

    reports = client.reports
    new = ReportRequest(
        name="Weekly, of the Python SDK",
        export=ReportExportRequest(export_type="workspace_overview", format="json"),
        schedule=ReportScheduleRequest(frequency="weekly", weekday="monday", at="08:00"),
        webhook_url="https://hooks.example.com/in",
    )
    # the response is lost, and the request is not sent again: it would make a second report
    try:
        reports.create_report(workspace, new)
    except ConnectionFailed as error:
        assert "POST" in str(error), error
    else:
        raise AssertionError("a report was created twice")
    (first,) = [one for page in pages(reports.list_reports, workspace) for one in page.data.reports if one.name == new.name]
    reports.delete_report(workspace, first.report_id)
    report = reports.create_report(workspace, new).data
    assert report.webhook_secret is not None
    assert report.next_run_at is not None
    assert report.next_run_at.weekday() == 0
    changed = reports.update_report(workspace, report.report_id, ReportChanges(webhook_url=None, is_enabled=False)).data
    assert (changed.webhook_url, changed.next_run_at) == (None, None)
    assert reports.get_report(workspace, report.report_id).data.schedule.weekday is ReportWeekday.MONDAY
    assert report.report_id in [found.report_id for found in reports.list_reports(workspace, limit=100).data.reports]
    assert reports.list_report_runs(workspace, report.report_id).data.runs == []
    reports.delete_report(workspace, report.report_id)

    event = NativeEvent(
        event_id="sdk_1",
        message_id="sdk_1",
        event_type="sent",
        occurred_at=datetime(2020, 1, 2, tzinfo=UTC),
        recipient="jane@example.com",
        tags=["sdk"],
    )
    stored = client.events.send_events(workspace, EventsRequest(events=[event])).data
    assert (stored.accepted, stored.rejected, stored.rejections) == (1, 0, [])

    try:
        api.get_campaign_analytics(workspace, "nope")
    except ApiError as error:
        assert (error.status, error.code, error.details) == (404, ErrorCode.CAMPAIGN_NOT_FOUND, {})
        assert error.request_id, error
        # a type checker finds a misspelt code
        assert error.code != "CAMPAIN_NOT_FOUND"  # type: ignore[comparison-overlap]
    else:
        raise AssertionError("a campaign that is not there was found")
    try:
        api.get_workspace_overview(workspace, time_range="custom")
    except ApiError as error:
        # by the argument's name, in the message too
        assert "start_date" in error.details, error.details
        assert "\n  start_date: " in str(error), error
    else:
        raise AssertionError("a custom time range without days was accepted")
    try:
        api.get_workspace_overview(workspace, time_range="custom", start_date=today, end_date=today - timedelta(days=1))
    except ApiError as error:
        assert error.code == "INVALID_TIME_RANGE", error
        assert list(error.details), error
    else:
        raise AssertionError("a window that ends before it starts was accepted")

for url, reason in (("", "empty"), ("127.0.0.1:8310", "http://"), ("ftp://127.0.0.1", "http://")):
    try:
        Client(url, key)
    except ValueError as error:
        assert reason in str(error), error
    else:
        raise AssertionError(f"the URL {url!r} was accepted")
with Client(f"{address}/api/v1/", key) as same:
    assert not same.analytics.get_freshness(workspace).data.is_late

with Client("http://127.0.0.1:1", key, retries=Retries(attempts=2, first_wait=0.01)) as nobody:
    try:
        nobody.analytics.get_freshness(workspace)
    except ConnectionFailed as error:
        assert "127.0.0.1" in str(error), error
    else:
        raise AssertionError("nobody responded")
    assert "attempt 2 of 2" in log.messages[-1], log.messages
