"""Every operation, through openapi-python-client's SDK."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta

from mailmart_client import AuthenticatedClient
from mailmart_client.api.analytics import (
    compare_campaigns,
    get_campaign_analytics,
    get_data_quality,
    get_deliverability,
    get_engagement_heatmap,
    get_freshness,
    get_sources,
    get_workspace_overview,
)
from mailmart_client.api.events import send_events
from mailmart_client.api.exports import create_export, delete_export, get_export, list_exports
from mailmart_client.api.reports import (
    create_report,
    delete_report,
    get_report,
    list_report_runs,
    list_reports,
    update_report,
)
from mailmart_client.models import (
    CampaignAnalyticsResponse,
    CompareCampaignsRequest,
    CompareCampaignsResponse,
    DataQualityResponse,
    DeliverabilityResponse,
    EngagementHeatmapResponse,
    ErrorCode,
    ErrorResponse,
    EventsRequest,
    EventsResponse,
    ExportFormat,
    ExportListResponse,
    ExportRequest,
    ExportResponse,
    ExportStatus,
    ExportType,
    FixedTimeRangePeriod,
    FreshnessResponse,
    Granularity,
    GroupBy,
    LongTimeRangePeriod,
    Metric,
    NativeEvent,
    OptimalSendTime,
    ReportChanges,
    ReportExportRequest,
    ReportFrequency,
    ReportListResponse,
    ReportRequest,
    ReportResponse,
    ReportRunListResponse,
    ReportScheduleRequest,
    ReportWeekday,
    SourcesResponse,
    TimeRangePeriod,
    WorkspaceOverviewResponse,
)

address, key, workspace, campaign = sys.argv[1:]
today: date = datetime.now(UTC).date()

client = AuthenticatedClient(base_url=address, token=key)

found = get_campaign_analytics.sync(
    workspace, campaign, client=client, time_range=TimeRangePeriod.LAST_30_DAYS, group_by=GroupBy.WEEK
)
assert isinstance(found, CampaignAnalyticsResponse), found
sent: int = found.data.summary.emails_sent
rate: float = found.data.rates.open_rate
assert (sent, rate) == (5000, 30.0), (sent, rate)
assert found.data.time_range.period is TimeRangePeriod.LAST_30_DAYS
first_day: date = found.data.time_series[0].date
assert first_day <= today
as_of: datetime = found.meta.data_as_of
assert as_of.tzinfo is not None

overview = get_workspace_overview.sync(
    workspace,
    client=client,
    time_range=TimeRangePeriod.CUSTOM,
    start_date=today - timedelta(days=20),
    end_date=datetime.now(UTC),
)
assert isinstance(overview, WorkspaceOverviewResponse), overview
assert overview.data.summary.emails_sent == 5001
assert overview.data.time_range.start.date() == today - timedelta(days=20)

deliverability = get_deliverability.sync(
    workspace, client=client, time_range=FixedTimeRangePeriod.LAST_90_DAYS, campaign_id=campaign
)
assert isinstance(deliverability, DeliverabilityResponse), deliverability
assert deliverability.data.overall.bounce_rate == 2.0
assert deliverability.data.blacklist_status.last_check is None

heatmap = get_engagement_heatmap.sync(
    workspace,
    client=client,
    time_range=LongTimeRangePeriod.LAST_90_DAYS,
    timezone="Europe/Berlin",
    granularity=Granularity.HOUR,
)
assert isinstance(heatmap, EngagementHeatmapResponse), heatmap
assert sum(cell.emails_sent for cell in heatmap.data.heatmap) == 5001
best = heatmap.data.optimal_send_time
assert isinstance(best, OptimalSendTime), best
assert 0 <= best.hour < 24

comparison = compare_campaigns.sync(
    workspace,
    client=client,
    body=CompareCampaignsRequest(campaign_ids=[campaign, "cmp_idle"], metrics=[Metric.OPEN_RATE]),
)
assert isinstance(comparison, CompareCampaignsResponse), comparison
assert [compared.metrics.open_rate for compared in comparison.data.comparison] == [30.0, 0.0]
assert comparison.data.statistical_significance[0].p_value is None

quality = get_data_quality.sync(workspace, client=client)
assert isinstance(quality, DataQualityResponse), quality
assert quality.data.problems == []

freshness = get_freshness.sync(workspace, client=client)
assert isinstance(freshness, FreshnessResponse), freshness
assert not freshness.data.is_late
assert freshness.data.data_through < freshness.data.late_after

received = get_sources.sync(workspace, client=client)
assert isinstance(received, SourcesResponse), received
assert [(row.provider, row.source_id) for row in received.data.sources] == [("native", None)]

wanted = ExportRequest(export_type=ExportType.CAMPAIGN_PERFORMANCE, format_=ExportFormat.CSV, campaign_ids=[campaign])
export = create_export.sync(workspace, client=client, body=wanted, idempotency_key="openapi-python-client")
assert isinstance(export, ExportResponse), export
assert export.data.status is ExportStatus.PROCESSING
status = get_export.sync(workspace, export.data.export_id, client=client)
assert isinstance(status, ExportResponse), status
assert status.data.download_url is None
listed = list_exports.sync(workspace, client=client, limit=100)
assert isinstance(listed, ExportListResponse), listed
assert export.data.export_id in [one.export_id for one in listed.data.exports]
assert delete_export.sync(workspace, export.data.export_id, client=client) is None
status = get_export.sync(workspace, export.data.export_id, client=client)
assert isinstance(status, ExportResponse), status
assert status.data.status is ExportStatus.CANCELED

new = ReportRequest(
    name="Weekly, of openapi-python-client",
    export=ReportExportRequest(export_type=ExportType.WORKSPACE_OVERVIEW, format_=ExportFormat.JSON),
    schedule=ReportScheduleRequest(frequency=ReportFrequency.WEEKLY, weekday=ReportWeekday.MONDAY, at="08:00"),
    webhook_url="https://hooks.example.com/in",
)
report = create_report.sync(workspace, client=client, body=new)
assert isinstance(report, ReportResponse), report
assert isinstance(report.data.webhook_secret, str)
next_run_at = report.data.next_run_at
assert isinstance(next_run_at, datetime)
assert next_run_at.weekday() == 0
report_id: str = report.data.report_id
changes = ReportChanges(webhook_url=None, is_enabled=False)
changed = update_report.sync(workspace, report_id, client=client, body=changes)
assert isinstance(changed, ReportResponse), changed
assert (changed.data.webhook_url, changed.data.next_run_at) == (None, None)
report = get_report.sync(workspace, report_id, client=client)
assert isinstance(report, ReportResponse), report
assert report.data.schedule.weekday is ReportWeekday.MONDAY
reports = list_reports.sync(workspace, client=client, limit=100)
assert isinstance(reports, ReportListResponse), reports
assert report_id in [one.report_id for one in reports.data.reports]
runs = list_report_runs.sync(workspace, report_id, client=client)
assert isinstance(runs, ReportRunListResponse), runs
assert runs.data.runs == []
assert delete_report.sync(workspace, report_id, client=client) is None

event = NativeEvent(
    event_id="sdk_1",
    message_id="sdk_1",
    event_type="sent",
    occurred_at=datetime(2020, 1, 2, tzinfo=UTC),
    recipient="jane@example.com",
    tags=["sdk"],
)
stored = send_events.sync(workspace, client=client, body=EventsRequest(events=[event]))
assert isinstance(stored, EventsResponse), stored
assert (stored.data.accepted, stored.data.rejected, stored.data.rejections) == (1, 0, [])

missing = get_campaign_analytics.sync(workspace, "nope", client=client)
assert isinstance(missing, ErrorResponse), missing
assert missing.error.code is ErrorCode.CAMPAIGN_NOT_FOUND
