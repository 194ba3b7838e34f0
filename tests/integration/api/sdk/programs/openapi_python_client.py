"""Every operation, through openapi-python-client's SDK, with the files of our own.

The recorder in front of the service refuses the first request of each operation, and loses a response to a request for an
export.
"""
# ruff: noqa: PT017 - no pytest in a program that runs by itself

from __future__ import annotations

import asyncio
import logging
import sys
import time
from datetime import UTC, date, datetime, timedelta

from mailmart_client import (
    ApiError,
    ConnectionFailed,
    ExportFailed,
    ExportTimeout,
    Retries,
    connect,
    pages,
    pages_async,
    wait_for_export,
    wait_for_export_async,
)
from mailmart_client.api.analytics import (
    compare_campaigns,
    compare_campaigns_chart,
    get_campaign_analytics,
    get_campaign_analytics_chart,
    get_campaign_links,
    get_campaign_steps,
    get_campaigns,
    get_data_quality,
    get_deliverability,
    get_deliverability_chart,
    get_domains,
    get_engagement_heatmap,
    get_engagement_heatmap_chart,
    get_freshness,
    get_links,
    get_mailbox_health,
    get_mailboxes,
    get_providers,
    get_sources,
    get_timing,
    get_workspace_overview,
    get_workspace_overview_chart,
    get_workspace_series,
    get_workspace_series_chart,
    query_metrics,
    query_metrics_chart,
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
    CompareCampaignsChartRequest,
    CompareCampaignsRequest,
    EventsRequest,
    ExportQuery,
    ExportRequest,
    NativeEvent,
    OptimalSendTime,
    QueryMetricsChartRequest,
    QueryMetricsRequest,
    ReportChanges,
    ReportExportRequest,
    ReportRequest,
    ReportScheduleRequest,
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
client = connect(f"{address}/", key)

started = time.monotonic()
found = get_campaign_analytics.sync(workspace, campaign, client=client, time_range="30d", group_by="week")
assert time.monotonic() - started >= 1
path = f"/api/v1/workspaces/{workspace}/campaigns/{campaign}/analytics"
assert log.messages == [f"GET {path}: HTTP 429; attempt 2 of 5 in 1.0 s, as Retry-After says"]
sent: int = found.data.summary.emails_sent
rate: float = found.data.rates.open_rate
assert (sent, rate) == (5000, 30.0), (sent, rate)
assert found.data.time_range.period == "30d"
first_day: date = found.data.time_series[0].date
assert first_day <= today
as_of: datetime = found.meta.data_as_of
assert as_of.tzinfo is not None

overview = get_workspace_overview.sync(
    workspace,
    client=client,
    time_range="custom",
    start_date=today - timedelta(days=20),
    end_date=datetime.now(UTC),
)
assert overview.data.summary.emails_sent == 5001
assert overview.data.time_range.start.date() == today - timedelta(days=20)

series = get_workspace_series.sync(workspace, client=client, group_by="month")
assert sum(point.sent for point in series.data.time_series) == 5001

deliverability = get_deliverability.sync(workspace, client=client, time_range="90d", campaign_id=campaign)
assert deliverability.data.overall.bounce_rate == 2.0
assert deliverability.data.blacklist_status.last_check is None

providers = get_providers.sync(workspace, client=client, time_range="90d", campaign_id=campaign)
assert [(row.recipient_provider, row.summary.emails_sent) for row in providers.data.providers] == [("unknown", 5000)]
assert providers.data.providers[0].difference_from_others is None

steps = get_campaign_steps.sync(workspace, campaign, client=client, time_range="90d")
assert [(row.step, row.rates.open_rate) for row in steps.data.steps] == [(None, 30.0)]

links = get_campaign_links.sync(workspace, campaign, client=client, time_range="90d")
assert (links.data.summary.emails_clicked, links.data.links[0].link) == (245, None)

timing = get_timing.sync(workspace, client=client, time_range="90d", campaign_id=campaign)
assert [(row.delay, row.messages) for row in timing.data.percentiles][:2] == [("delivered", 4900), ("opened", 1470)]
assert timing.data.histogram[-1].to_seconds is not None
assert timing.data.maturity[0].opened_share is None

heatmap = get_engagement_heatmap.sync(
    workspace,
    client=client,
    time_range="90d",
    timezone="Europe/Berlin",
    granularity="hour",
)
assert sum(cell.emails_sent for cell in heatmap.data.heatmap) == 5001
best = heatmap.data.optimal_send_time
assert isinstance(best, OptimalSendTime), best
assert 0 <= best.hour < 24

comparison = compare_campaigns.sync(
    workspace,
    client=client,
    body=CompareCampaignsRequest(campaign_ids=[campaign, "cmp_idle"], metrics=["open_rate"]),
)
assert [compared.metrics.open_rate for compared in comparison.data.comparison] == [30.0, 0.0]
assert comparison.data.statistical_significance[0].p_value is None

of_campaigns = CompareCampaignsChartRequest(campaign_ids=[campaign, "cmp_idle"], theme="dark")
months = QueryMetricsChartRequest(metrics=["sent"], dimensions=["campaign"], time_range="90d", granularity="month")
volume = get_workspace_series_chart.sync(workspace, "volume", client=client, group_by="month")
total = sum(point.delivered + point.bounced for point in series.data.time_series)
assert sum(row["value"] for row in volume.data["values"]) == total > 0
charts = (
    volume,
    get_campaign_analytics_chart.sync(workspace, campaign, "funnel", client=client, time_range="90d"),
    get_workspace_overview_chart.sync(workspace, "top_campaigns", client=client, time_range="90d"),
    get_deliverability_chart.sync(workspace, "health", client=client, time_range="90d", campaign_id=campaign),
    get_engagement_heatmap_chart.sync(workspace, "by_hour", client=client, time_range="90d", timezone="Europe/Berlin"),
    compare_campaigns_chart.sync(workspace, "intervals", client=client, body=of_campaigns),
    query_metrics_chart.sync(workspace, "metrics", client=client, body=months),
)
assert {chart.schema for chart in charts} == {"https://vega.github.io/schema/vega-lite/v6.json"}
assert all(chart.data["values"] for chart in charts), charts

answer = query_metrics.sync(
    workspace,
    client=client,
    body=QueryMetricsRequest(metrics=["sent", "open_rate"], dimensions=["campaign"], time_range="90d"),
)
assert answer.data.rows[0].dimensions["campaign"] == campaign
assert answer.data.rows[0].metrics["open_rate"].value == 30.0
assert answer.data.totals["sent"].value == 5001
one_a_page = QueryMetricsRequest(metrics=["sent"], dimensions=["campaign"], time_range="90d", limit=1)
asked = [page.data.rows for page in pages(query_metrics.sync, workspace, client=client, body=one_a_page)]
assert [row.metrics["sent"].value for rows in asked for row in rows] == [5000, 1]

quality = get_data_quality.sync(workspace, client=client)
assert quality.data.problems == []

freshness = get_freshness.sync(workspace, client=client)
assert not freshness.data.is_late
assert freshness.data.data_through < freshness.data.late_after

ranked = [
    row for page in pages(get_campaigns.sync, workspace, client=client, sort="open_rate", limit=2) for row in page.data.campaigns
]
assert (ranked[0].campaign_id, ranked[0].rates.open_rate) == (campaign, 30.0)
assert len(ranked) == 3
assert [row.summary.emails_sent for row in get_mailboxes.sync(workspace, client=client, search="MBX").data.mailboxes] == [5000]
assert get_domains.sync(workspace, client=client).data.domains == []
assert get_links.sync(workspace, client=client, sort="clicks").data.links == []
assert get_mailbox_health.sync(workspace, client=client).data.mailboxes[0].factors.unsubscribe_rate == 0.24

received = get_sources.sync(workspace, client=client)
assert [(row.provider, row.source_id) for row in received.data.sources] == [("native", None)]

wanted = ExportRequest(export_type="campaign_performance", format="csv", campaign_ids=[campaign])
export = create_export.sync(workspace, client=client, body=wanted, idempotency_key="openapi-python-client")
assert export.data.status == "processing"
status = get_export.sync(workspace, export.data.export_id, client=client)
assert status.data.download_url is None
listed = list_exports.sync(workspace, client=client, limit=100)
assert export.data.export_id in [one.export_id for one in listed.data.exports]
try:
    wait_for_export(client, workspace, export.data.export_id, timeout=0)
except ExportTimeout as error:
    assert export.data.export_id in str(error), error
else:
    raise AssertionError("an export that nobody writes is completed")
assert delete_export.sync_detailed(workspace, export.data.export_id, client=client).status_code == 204
try:
    wait_for_export(client, workspace, export.data.export_id)
except ExportFailed as error:
    assert error.export.status == "canceled"
    assert str(error).endswith("is canceled"), error
else:
    raise AssertionError("a canceled export is completed")

# the connection breaks after this one is created: the request that is sent again finds it by its Idempotency-Key
body = ExportRequest(export_type="messages", format="ndjson", time_range="7d")
created = create_export.sync(workspace, client=client, body=body).data
assert "POST" in log.messages[-1], log.messages
assert "RemoteProtocolError" in log.messages[-1], log.messages
assert wait_for_export(client, workspace, created.export_id).row_count is not None
listed_ids: list[str] = []
for page in pages(list_exports.sync, workspace, client=client, limit=1):
    listed_ids += [one.export_id for one in page.data.exports]
    if export.data.export_id in listed_ids:
        break
assert listed_ids.index(created.export_id) == listed_ids.index(export.data.export_id) - 1, listed_ids

query = ExportQuery(metrics=["sent"], dimensions=["campaign"], time_range="90d", limit=10)
of_query = ExportRequest(export_type="query", format="csv", query=query)
queried = create_export.sync(workspace, client=client, body=of_query, idempotency_key="openapi-python-client-query").data
assert (queried.export_type, queried.status) == ("query", "processing")
delete_export.sync_detailed(workspace, queried.export_id, client=client)


async def asynchronous() -> None:
    async with connect(address, key, retries=Retries(first_wait=0.01)) as other:
        again = await create_export.asyncio(workspace, client=other, body=body)
        assert "RemoteProtocolError" in log.messages[-1], log.messages
        ids: list[str] = []
        async for some in pages_async(list_exports.asyncio, workspace, client=other, limit=2):
            ids += [one.export_id for one in some.data.exports]
            if created.export_id in ids:
                break
        assert ids[:3] == [again.data.export_id, queried.export_id, created.export_id], ids
        assert (await wait_for_export_async(other, workspace, created.export_id)).export_id == created.export_id
        await delete_export.asyncio_detailed(workspace, again.data.export_id, client=other)
        try:
            await get_freshness.asyncio("ws_of_others", client=other)
        except ApiError as error:
            assert (error.status, error.code) == (403, "FORBIDDEN"), error
        else:
            raise AssertionError("another workspace was read")


asyncio.run(asynchronous())
delete_export.sync_detailed(workspace, created.export_id, client=client)

new = ReportRequest(
    name="Weekly, of openapi-python-client",
    export=ReportExportRequest(export_type="workspace_overview", format="json"),
    schedule=ReportScheduleRequest(frequency="weekly", weekday="monday", at="08:00"),
    webhook_url="https://hooks.example.com/in",
)
# the response is lost, and the request is not sent again: it would make a second report
try:
    create_report.sync(workspace, client=client, body=new)
except ConnectionFailed as error:
    assert "POST" in str(error), error
else:
    raise AssertionError("a report was created twice")
lost = [one for page in pages(list_reports.sync, workspace, client=client) for one in page.data.reports if one.name == new.name]
(first,) = lost
delete_report.sync_detailed(workspace, first.report_id, client=client)
report = create_report.sync(workspace, client=client, body=new)
assert isinstance(report.data.webhook_secret, str)
next_run_at = report.data.next_run_at
assert isinstance(next_run_at, datetime)
assert next_run_at.weekday() == 0
report_id: str = report.data.report_id
changes = ReportChanges(webhook_url=None, is_enabled=False)
changed = update_report.sync(workspace, report_id, client=client, body=changes)
assert (changed.data.webhook_url, changed.data.next_run_at) == (None, None)
report = get_report.sync(workspace, report_id, client=client)
assert report.data.schedule.weekday == "monday"
reports = list_reports.sync(workspace, client=client, limit=100)
assert report_id in [one.report_id for one in reports.data.reports]
runs = list_report_runs.sync(workspace, report_id, client=client)
assert runs.data.runs == []
assert delete_report.sync_detailed(workspace, report_id, client=client).status_code == 204

event = NativeEvent(
    event_id="sdk_1",
    message_id="sdk_1",
    event_type="sent",
    occurred_at=datetime(2020, 1, 2, tzinfo=UTC),
    recipient="jane@example.com",
    tags=["sdk"],
)
stored = send_events.sync(workspace, client=client, body=EventsRequest(events=[event]))
assert (stored.data.accepted, stored.data.rejected, stored.data.rejections) == (1, 0, [])

try:
    get_campaign_analytics.sync(workspace, "nope", client=client)
except ApiError as error:
    assert (error.status, error.code, error.details) == (404, "CAMPAIGN_NOT_FOUND", {})
    assert error.request_id, error
    # a type checker finds a misspelt code
    assert error.code != "CAMPAIN_NOT_FOUND"  # type: ignore[comparison-overlap]
else:
    raise AssertionError("a campaign that is not there was found")
try:
    get_workspace_overview.sync(workspace, client=client, time_range="custom")
except ApiError as error:
    assert "start_date" in error.details, error.details
else:
    raise AssertionError("a custom time range without days was accepted")

for url, reason in (("", "empty"), ("127.0.0.1:8310", "http://")):
    try:
        connect(url, key)
    except ValueError as error:
        assert reason in str(error), error
    else:
        raise AssertionError(f"the URL {url!r} was accepted")
with connect("http://127.0.0.1:1/api/v1", key, retries=Retries(attempts=2, first_wait=0.01)).with_headers({"X": "y"}) as nobody:
    try:
        get_freshness.sync(workspace, client=nobody)
    except ConnectionFailed as error:
        assert "127.0.0.1:1/api/v1/workspaces/" in str(error), error
    else:
        raise AssertionError("nobody responded")
    assert "attempt 2 of 2" in log.messages[-1], log.messages
