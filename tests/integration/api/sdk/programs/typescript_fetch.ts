// Every operation, through openapi-generator's typescript-fetch SDK.
import assert from "node:assert/strict";
import process from "node:process";
import {
  AnalyticsApi,
  Configuration,
  ErrorCode,
  ErrorResponseFromJSON,
  EventsApi,
  ExportFormat,
  ExportStatus,
  ExportType,
  ExportsApi,
  FixedTimeRangePeriod,
  Granularity,
  GroupBy,
  LongTimeRangePeriod,
  Metric,
  ReportFrequency,
  ReportWeekday,
  ReportsApi,
  ResponseError,
  TimeRangePeriod,
} from "mailmart-client";

const [basePath = "", accessToken = "", workspaceId = "", campaignId = ""] = process.argv.slice(2);
const api = new AnalyticsApi(new Configuration({ basePath, accessToken }));
const today = new Date();
const daysAgo = (days: number): Date => new Date(today.getTime() - days * 86_400_000);

const found = await api.getCampaignAnalytics({
  workspaceId,
  campaignId,
  timeRange: TimeRangePeriod.LAST_30_DAYS,
  groupBy: GroupBy.WEEK,
});
const sent: number = found.data.summary.emailsSent;
assert.equal(sent, 5000);
assert.equal(found.data.rates.openRate, 30);
assert.equal(found.data.timeRange.period, TimeRangePeriod.LAST_30_DAYS);
const firstDay: Date | undefined = found.data.timeSeries[0]?.date;
assert.ok(firstDay !== undefined && firstDay <= today);
assert.ok(found.meta.dataAsOf <= today);

const overview = await api.getWorkspaceOverview({
  workspaceId,
  timeRange: TimeRangePeriod.CUSTOM,
  startDate: daysAgo(20),
  endDate: today,
});
assert.equal(overview.data.summary.emailsSent, 5001);
assert.equal(overview.data.timeRange.start.toISOString().slice(0, 10), daysAgo(20).toISOString().slice(0, 10));

const deliverability = await api.getDeliverability({
  workspaceId,
  campaignId,
  timeRange: FixedTimeRangePeriod.LAST_90_DAYS,
});
assert.equal(deliverability.data.overall.bounceRate, 2);
assert.equal(deliverability.data.blacklistStatus.lastCheck, null);

const heatmap = await api.getEngagementHeatmap({
  workspaceId,
  timeRange: LongTimeRangePeriod.LAST_90_DAYS,
  timezone: "Europe/Berlin",
  granularity: Granularity.HOUR,
});
assert.equal(heatmap.data.heatmap.reduce((sum, cell) => sum + cell.emailsSent, 0), 5001);
const best = heatmap.data.optimalSendTime;
assert.ok(best !== null && best.hour >= 0 && best.hour < 24);

const comparison = await api.compareCampaigns({
  workspaceId,
  compareCampaignsRequest: { campaignIds: new Set([campaignId, "cmp_idle"]), metrics: new Set([Metric.OPEN_RATE]) },
});
assert.deepEqual(comparison.data.comparison.map((compared) => compared.metrics.openRate), [30, 0]);
assert.equal(comparison.data.statisticalSignificance[0]?.pValue, null);

const freshness = await api.getFreshness({ workspaceId });
assert.equal(freshness.data.isLate, false);
assert.ok(freshness.data.dataThrough < freshness.data.lateAfter);

const received = await api.getSources({ workspaceId });
assert.deepEqual(received.data.sources.map((row) => [row.provider, row.sourceId ?? null]), [["native", null]]);

const quality = await api.getDataQuality({ workspaceId });
assert.deepEqual(quality.data.problems, []);

const exports = new ExportsApi(new Configuration({ basePath, accessToken }));
const wanted = await exports.createExport({
  workspaceId,
  idempotencyKey: "typescript-fetch",
  exportRequest: {
    exportType: ExportType.CAMPAIGN_PERFORMANCE,
    format: ExportFormat.CSV,
    campaignIds: new Set([campaignId]),
  },
});
const exportId: string = wanted.data.exportId;
assert.equal((await exports.getExport({ workspaceId, exportId })).data.downloadUrl, null);
const listed = await exports.listExports({ workspaceId, limit: 100 });
assert.ok(listed.data.exports.some((one) => one.exportId === exportId));
await exports.deleteExport({ workspaceId, exportId });
assert.equal((await exports.getExport({ workspaceId, exportId })).data.status, ExportStatus.CANCELED);

const reports = new ReportsApi(new Configuration({ basePath, accessToken }));
const report = await reports.createReport({
  workspaceId,
  reportRequest: {
    name: "Weekly, of typescript-fetch",
    _export: { exportType: ExportType.WORKSPACE_OVERVIEW, format: ExportFormat.JSON },
    schedule: { frequency: ReportFrequency.WEEKLY, weekday: ReportWeekday.MONDAY, at: "08:00" },
    webhookUrl: "https://hooks.example.com/in",
  },
});
assert.ok(report.data.webhookSecret?.startsWith("whsec_"));
const nextRunAt: Date | null = report.data.nextRunAt;
assert.equal(nextRunAt?.getUTCDay(), 1);
const reportId: string = report.data.reportId;
const changed = await reports.updateReport({ workspaceId, reportId, reportChanges: { webhookUrl: null, isEnabled: false } });
assert.equal(changed.data.webhookUrl, null);
assert.equal(changed.data.nextRunAt, null);
assert.equal((await reports.getReport({ workspaceId, reportId })).data.schedule.weekday, ReportWeekday.MONDAY);
const allReports = await reports.listReports({ workspaceId, limit: 100 });
assert.ok(allReports.data.reports.some((one) => one.reportId === reportId));
assert.deepEqual((await reports.listReportRuns({ workspaceId, reportId })).data.runs, []);
await reports.deleteReport({ workspaceId, reportId });

const events = new EventsApi(new Configuration({ basePath, accessToken }));
const stored = await events.sendEvents({
  workspaceId,
  eventsRequest: {
    events: [
      {
        eventId: "sdk_1",
        messageId: "sdk_1",
        eventType: "sent",
        occurredAt: new Date("2020-01-02T00:00:00Z"),
        recipient: "jane@example.com",
        tags: ["sdk"],
      },
    ],
  },
});
assert.equal(stored.data.accepted, 1);
assert.deepEqual(stored.data.rejections, []);

try {
  await api.getCampaignAnalytics({ workspaceId, campaignId: "nope" });
  assert.fail("a campaign that is not there was found");
} catch (error) {
  assert.ok(error instanceof ResponseError, String(error));
  const { code } = ErrorResponseFromJSON(await error.response.json()).error;
  assert.equal(code, ErrorCode.CAMPAIGN_NOT_FOUND);
}
