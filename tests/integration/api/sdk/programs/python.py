"""Every operation, through openapi-generator's Python SDK."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta

from mailmart_client import (
    AnalyticsApi,
    ApiClient,
    CompareCampaignsRequest,
    Configuration,
    ErrorCode,
    ErrorResponse,
    EventsApi,
    EventsRequest,
    ExportFormat,
    ExportRequest,
    ExportsApi,
    ExportStatus,
    ExportType,
    FixedTimeRangePeriod,
    Granularity,
    GroupBy,
    LongTimeRangePeriod,
    Metric,
    NativeEvent,
    ReportChanges,
    ReportExportRequest,
    ReportFrequency,
    ReportRequest,
    ReportsApi,
    ReportScheduleRequest,
    ReportWeekday,
    TimeRangePeriod,
)
from mailmart_client.exceptions import NotFoundException

address, key, workspace, campaign = sys.argv[1:]
today: date = datetime.now(UTC).date()

with ApiClient(Configuration(host=address, access_token=key)) as client:
    api = AnalyticsApi(client)

    found = api.get_campaign_analytics(workspace, campaign, time_range=TimeRangePeriod.LAST_30_DAYS, group_by=GroupBy.WEEK)
    sent: int = found.data.summary.emails_sent
    rate: float = found.data.rates.open_rate
    assert (sent, rate) == (5000, 30.0), (sent, rate)
    assert found.data.time_range.period is TimeRangePeriod.LAST_30_DAYS
    first_day: date = found.data.time_series[0].var_date
    assert first_day <= today
    as_of: datetime = found.meta.data_as_of
    assert as_of.tzinfo is not None

    overview = api.get_workspace_overview(
        workspace, time_range=TimeRangePeriod.CUSTOM, start_date=today - timedelta(days=20), end_date=today
    )
    assert overview.data.summary.emails_sent == 5001
    assert overview.data.time_range.start.date() == today - timedelta(days=20)

    deliverability = api.get_deliverability(workspace, time_range=FixedTimeRangePeriod.LAST_90_DAYS, campaign_id=campaign)
    assert deliverability.data.overall.bounce_rate == 2.0
    assert deliverability.data.blacklist_status.last_check is None

    heatmap = api.get_engagement_heatmap(
        workspace, time_range=LongTimeRangePeriod.LAST_90_DAYS, timezone="Europe/Berlin", granularity=Granularity.HOUR
    )
    assert sum(cell.emails_sent for cell in heatmap.data.heatmap) == 5001
    best = heatmap.data.optimal_send_time
    assert best is not None
    assert 0 <= best.hour < 24

    comparison = api.compare_campaigns(
        workspace, CompareCampaignsRequest(campaign_ids=[campaign, "cmp_idle"], metrics=[Metric.OPEN_RATE])
    )
    assert [compared.metrics.open_rate for compared in comparison.data.comparison] == [30.0, 0.0]
    assert comparison.data.statistical_significance[0].p_value is None

    assert api.get_data_quality(workspace).data.problems == []

    freshness = api.get_freshness(workspace).data
    assert not freshness.is_late
    assert freshness.data_through < freshness.late_after

    assert [(row.provider, row.source_id) for row in api.get_sources(workspace).data.sources] == [("native", None)]

    exports = ExportsApi(client)
    wanted = ExportRequest(export_type=ExportType.CAMPAIGN_PERFORMANCE, format=ExportFormat.CSV, campaign_ids=[campaign])
    export = exports.create_export(workspace, wanted, idempotency_key="python").data
    assert export.status is ExportStatus.PROCESSING
    assert exports.create_export(workspace, wanted, idempotency_key="python").data.export_id == export.export_id
    assert exports.get_export(workspace, export.export_id).data.download_url is None
    assert export.export_id in [found.export_id for found in exports.list_exports(workspace, limit=100).data.exports]
    exports.delete_export(workspace, export.export_id)
    assert exports.get_export(workspace, export.export_id).data.status is ExportStatus.CANCELED

    reports = ReportsApi(client)
    report = reports.create_report(
        workspace,
        ReportRequest(
            name="Weekly, of the Python SDK",
            export=ReportExportRequest(export_type=ExportType.WORKSPACE_OVERVIEW, format=ExportFormat.JSON),
            schedule=ReportScheduleRequest(frequency=ReportFrequency.WEEKLY, weekday=ReportWeekday.MONDAY, at="08:00"),
            webhook_url="https://hooks.example.com/in",
        ),
    ).data
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
    stored = EventsApi(client).send_events(workspace, EventsRequest(events=[event])).data
    assert (stored.accepted, stored.rejected, stored.rejections) == (1, 0, [])

    try:
        api.get_campaign_analytics(workspace, "nope")
    except NotFoundException as error:
        problem = error.data
        assert isinstance(problem, ErrorResponse), problem
        assert problem.error.code is ErrorCode.CAMPAIGN_NOT_FOUND
    else:
        raise AssertionError("a campaign that is not there was found")
