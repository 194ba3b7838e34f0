// Every operation, through the TypeScript SDK: openapi-generator's typescript-fetch, with the files of our own.
// The recorder in front of the service refuses the first request of each operation, and loses a response to a request for an
// export. The time zone is America/New_York.
import assert from "node:assert/strict";
import process from "node:process";
import {
  ApiError,
  Client,
  ConnectionFailed,
  ErrorCode,
  ExportFailed,
  ExportStatus,
  ExportTimeout,
  GroupBy,
  ReportWeekday,
  TimeRangePeriod,
  pages,
  utcDay,
  type ReportRequest,
  type Retry,
  type VegaLiteDocument,
} from "mailmart-client";

const [address = "", key = "", workspaceId = "", campaignId = ""] = process.argv.slice(2);
const retries: Retry[] = [];
const client = new Client({ url: `${address}/`, key, retries: { onRetry: (retry) => retries.push(retry) } });
const api = client.analytics;
const day = (daysAgo: number): string => new Date(Date.now() - daysAgo * 86_400_000).toISOString().slice(0, 10);

const started = Date.now();
const found = await api.getCampaignAnalytics({
  workspaceId,
  campaignId,
  timeRange: "30d",
  groupBy: GroupBy.WEEK,
});
assert.ok(Date.now() - started >= 1000);
const [{ reason, attempt, wait, isRetryAfter } = assert.fail("no retry")] = retries;
assert.deepEqual({ reason, attempt, wait, isRetryAfter }, { reason: "HTTP 429", attempt: 2, wait: 1, isRetryAfter: true });
const sent: number = found.data.summary.emailsSent;
assert.equal(sent, 5000);
assert.equal(found.data.rates.openRate, 30);
assert.equal(found.data.timeRange.period, TimeRangePeriod.LAST_30_DAYS);
const firstDay: string | undefined = found.data.timeSeries[0]?.date;
assert.ok(firstDay !== undefined && firstDay <= day(0));
assert.match(firstDay, /^\d{4}-\d\d-\d\d$/);
const asOf: Date = found.meta.dataAsOf;
assert.ok(asOf.getTime() <= Date.now());

const overview = await api.getWorkspaceOverview({
  workspaceId,
  timeRange: "custom",
  startDate: day(20),
  endDate: day(0),
});
assert.equal(overview.data.summary.emailsSent, 5001);
assert.equal(utcDay(overview.data.timeRange.start), day(20));

const deliverability = await api.getDeliverability({
  workspaceId,
  campaignId,
  timeRange: "90d",
});
assert.equal(deliverability.data.overall.bounceRate, 2);
assert.equal(deliverability.data.blacklistStatus.lastCheck, null);

const providers = await api.getProviders({ workspaceId, campaignId, timeRange: "90d" });
assert.equal(providers.data.providers[0]?.summary.emailsSent, 5000);
assert.equal(providers.data.providers[0]?.differenceFromOthers, null);

const steps = await api.getCampaignSteps({ workspaceId, campaignId, timeRange: "90d" });
assert.equal(steps.data.steps[0]?.step, null);
assert.equal(steps.data.steps[0]?.rates.openRate, 30);

const links = await api.getCampaignLinks({ workspaceId, campaignId, timeRange: "90d" });
assert.equal(links.data.summary.emailsClicked, 245);
assert.equal(links.data.links[0]?.link, null);

const timing = await api.getTiming({ workspaceId, campaignId, timeRange: "90d" });
assert.equal(timing.data.percentiles[1]?.messages, 1470);
assert.equal(timing.data.maturity[0]?.openedShare, null);

const heatmap = await api.getEngagementHeatmap({
  workspaceId,
  timeRange: "90d",
  timezone: "Europe/Berlin",
  granularity: "hour",
});
assert.equal(heatmap.data.heatmap.reduce((sum, cell) => sum + cell.emailsSent, 0), 5001);
const best = heatmap.data.optimalSendTime;
assert.ok(best !== null && best.hour >= 0 && best.hour < 24);

const series = await api.getWorkspaceSeries({ workspaceId, groupBy: GroupBy.MONTH });
assert.equal(series.data.timeSeries.reduce((sum, point) => sum + point.sent, 0), 5001);

const comparison = await api.compareCampaigns({
  workspaceId,
  compareCampaignsRequest: { campaignIds: [campaignId, "cmp_idle"], metrics: ["open_rate"] },
});
assert.deepEqual(comparison.data.comparison.map((compared) => compared.metrics.openRate), [30, 0]);
assert.equal(comparison.data.statisticalSignificance[0]?.pValue, null);

const charts: VegaLiteDocument[] = [
  await api.getCampaignAnalyticsChart({ workspaceId, campaignId, chart: "funnel", timeRange: "90d" }),
  await api.getWorkspaceOverviewChart({ workspaceId, chart: "top_campaigns", timeRange: "90d" }),
  await api.getDeliverabilityChart({ workspaceId, campaignId, chart: "health", timeRange: "90d" }),
  await api.getEngagementHeatmapChart({ workspaceId, chart: "by_hour", timeRange: "90d", timezone: "Europe/Berlin" }),
  await api.getWorkspaceSeriesChart({ workspaceId, chart: "volume", groupBy: GroupBy.MONTH }),
  await api.compareCampaignsChart({
    workspaceId,
    chart: "intervals",
    compareCampaignsChartRequest: { campaignIds: [campaignId, "cmp_idle"], theme: "dark" },
  }),
  await api.queryMetricsChart({
    workspaceId,
    chart: "metrics",
    queryMetricsChartRequest: { metrics: ["sent"], dimensions: ["campaign"], timeRange: "90d", granularity: "month" },
  }),
];
for (const chart of charts) {
  assert.equal(chart.$schema, "https://vega.github.io/schema/vega-lite/v6.json");
  const rows: unknown = chart.data["values"];
  assert.ok(Array.isArray(rows) && rows.length > 0, chart.title);
}

const answer = await api.queryMetrics({
  workspaceId,
  queryMetricsRequest: { metrics: ["sent", "open_rate"], dimensions: ["campaign"], timeRange: "90d" },
});
assert.equal(answer.data.rows[0]?.dimensions["campaign"], campaignId);
assert.equal(answer.data.rows[0]?.metrics["open_rate"]?.value, 30);
assert.equal(answer.data.totals["sent"]?.value, 5001);
const asked: unknown[] = [];
for await (const page of pages((position) =>
  api.queryMetrics({
    workspaceId,
    queryMetricsRequest: { metrics: ["sent"], dimensions: ["campaign"], timeRange: "90d", limit: 1, ...position },
  }),
)) {
  asked.push(...page.data.rows.map((row) => row.metrics["sent"]?.value));
}
assert.deepEqual(asked, [5000, 1]);

const freshness = await api.getFreshness({ workspaceId });
assert.equal(freshness.data.isLate, false);
assert.ok(freshness.data.dataThrough < freshness.data.lateAfter);

const ranked: string[] = [];
for await (const page of pages((position) => api.getCampaigns({ workspaceId, sort: "open_rate", limit: 2, ...position }))) {
  ranked.push(...page.data.campaigns.map((row) => row.campaignId));
}
assert.deepEqual([ranked.length, ranked[0]], [3, campaignId]);
const mailboxes = await api.getMailboxes({ workspaceId, search: "MBX" });
assert.deepEqual(mailboxes.data.mailboxes.map((row) => row.summary.emailsSent), [5000]);
assert.deepEqual((await api.getDomains({ workspaceId })).data.domains, []);
assert.deepEqual((await api.getLinks({ workspaceId, sort: "clicks" })).data.links, []);
assert.equal((await api.getMailboxHealth({ workspaceId })).data.mailboxes[0]?.factors.unsubscribeRate, 0.24);

const received = await api.getSources({ workspaceId });
assert.deepEqual(received.data.sources.map((row) => [row.provider, row.sourceId ?? null]), [["native", null]]);

const quality = await api.getDataQuality({ workspaceId });
assert.deepEqual(quality.data.problems, []);

const exports = client.exports;
const wanted = await exports.createExport({
  workspaceId,
  idempotencyKey: "typescript-fetch",
  exportRequest: { exportType: "campaign_performance", format: "csv", campaignIds: [campaignId] },
});
const exportId: string = wanted.data.exportId;
assert.equal((await exports.getExport({ workspaceId, exportId })).data.downloadUrl, null);
await assert.rejects(client.waitForExport(workspaceId, exportId, { timeout: 0 }), ExportTimeout);
await exports.deleteExport({ workspaceId, exportId });
await assert.rejects(
  client.waitForExport(workspaceId, exportId),
  (error) => error instanceof ExportFailed && error.export.status === ExportStatus.CANCELED,
);

// the connection breaks after this one is created: the request that is sent again finds it by its Idempotency-Key
const created = await exports.createExport({
  workspaceId,
  exportRequest: { exportType: "messages", format: "ndjson", timeRange: "7d" },
});
assert.equal(retries.at(-1)?.method, "POST");
assert.equal(retries.at(-1)?.isRetryAfter, false);
const statuses: ExportStatus[] = [];
const written = await client.waitForExport(workspaceId, created.data.exportId, {
  onProgress: ({ status }) => statuses.push(status),
});
assert.deepEqual(statuses, ["processing", "processing"]);
const file = new TextDecoder().decode(await client.download(written));
assert.equal(file.trim().split("\n").length, written.rowCount);
const listed: string[] = [];
for await (const page of pages((position) => exports.listExports({ workspaceId, limit: 1, ...position }))) {
  listed.push(...page.data.exports.map((one) => one.exportId));
  if (listed.includes(exportId)) break;
}
assert.equal(listed.indexOf(created.data.exportId), listed.indexOf(exportId) - 1);
await exports.deleteExport({ workspaceId, exportId: created.data.exportId });

const reports = client.reports;
const reportRequest: ReportRequest = {
  name: "Weekly, of typescript-fetch",
  export: { exportType: "workspace_overview", format: "json" },
  schedule: { frequency: "weekly", weekday: "monday", at: "08:00" },
  webhookUrl: "https://hooks.example.com/in",
};
// the response is lost, and the request is not sent again: it would make a second report
await assert.rejects(reports.createReport({ workspaceId, reportRequest }), ConnectionFailed);
const lost: string[] = [];
for await (const page of pages((position) => reports.listReports({ workspaceId, ...position }))) {
  lost.push(...page.data.reports.filter(({ name }) => name === reportRequest.name).map((one) => one.reportId));
}
assert.equal(lost.length, 1);
await reports.deleteReport({ workspaceId, reportId: lost[0] ?? "" });
const report = await reports.createReport({ workspaceId, reportRequest });
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

const stored = await client.events.sendEvents({
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

await assert.rejects(api.getCampaignAnalytics({ workspaceId, campaignId: "nope" }), (error) => {
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.status, 404);
  assert.equal(error.code, ErrorCode.CAMPAIGN_NOT_FOUND);
  // @ts-expect-error - a misspelt code is found by the compiler
  assert.ok(error.code !== "CAMPAIN_NOT_FOUND");
  assert.ok(error.requestId !== null);
  return true;
});
await assert.rejects(
  api.getWorkspaceOverview({ workspaceId, timeRange: "custom" }),
  (error) => error instanceof ApiError && String(error).includes("\n  startDate: "),
);
await assert.rejects(
  api.getWorkspaceOverview({ workspaceId, timeRange: "custom", startDate: day(0), endDate: day(1) }),
  (error) => error instanceof ApiError && error.code === "INVALID_TIME_RANGE" && Object.keys(error.details).length > 0,
);

assert.throws(() => new Client({ url: "", key }), /the URL of the service is empty/);
assert.throws(() => new Client({ url: "127.0.0.1:8310", key }), /does not begin with http/);
const same = new Client({ url: `${address}/api/v1/`, key });
assert.equal((await same.analytics.getFreshness({ workspaceId })).data.isLate, false);

const nobody = new Client({
  url: "http://127.0.0.1:1",
  key,
  retries: { attempts: 2, firstWait: 0.01, onRetry: (retry) => retries.push(retry) },
});
await assert.rejects(nobody.analytics.getFreshness({ workspaceId }), ConnectionFailed);
assert.equal(retries.at(-1)?.attempt, 2);
