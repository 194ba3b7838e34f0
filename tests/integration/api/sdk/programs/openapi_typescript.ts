// Every operation, through openapi-fetch with the types of openapi-typescript and the files of our own.
// The recorder in front of the service refuses the first request of each operation, and loses a response to a request for an
// export. The time zone is America/New_York.
import assert from "node:assert/strict";
import process from "node:process";
import createClient from "openapi-fetch";
import {
  ApiError,
  ConnectionFailed,
  ExportFailed,
  ExportTimeout,
  connection,
  download,
  ok,
  pages,
  waitForExport,
  type ExportStatus,
  type Metric,
  type ReportWeekday,
  type Retry,
  type VegaLiteDocument,
  type paths,
} from "mailmart-client";

const [baseUrl = "", key = "", workspaceId = "", campaignId = ""] = process.argv.slice(2);
const retries: Retry[] = [];
const onRetry = (retry: Retry): number => retries.push(retry);
const client = createClient<paths>(connection({ url: `${baseUrl}/`, key, retries: { onRetry } }));
const today = new Date();
const day = (daysAgo: number): string => new Date(today.getTime() - daysAgo * 86_400_000).toISOString().slice(0, 10);

const started = Date.now();
const found = await client.GET("/api/v1/workspaces/{workspaceId}/campaigns/{campaignId}/analytics", {
  params: { path: { workspaceId, campaignId }, query: { timeRange: "30d", groupBy: "week" } },
});
assert.ok(Date.now() - started >= 1000);
const [{ reason, attempt, wait, isRetryAfter } = assert.fail("no retry")] = retries;
assert.deepEqual({ reason, attempt, wait, isRetryAfter }, { reason: "HTTP 429", attempt: 2, wait: 1, isRetryAfter: true });
assert.ok(found.data !== undefined, JSON.stringify(found.error));
const success: true = found.data.success;
assert.ok(success);
const sent: number = found.data.data.summary.emails_sent;
assert.equal(sent, 5000);
assert.equal(found.data.data.rates.open_rate, 30);
assert.equal(found.data.data.time_range.period, "30d");
const firstDay: string | undefined = found.data.data.time_series[0]?.date;
assert.ok(firstDay !== undefined && firstDay <= day(0));
assert.ok(new Date(found.data.meta.data_as_of) <= today);

const overview = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/overview", {
  params: { path: { workspaceId }, query: { timeRange: "custom", startDate: day(20), endDate: today.toISOString() } },
});
assert.equal(overview.data?.data.summary.emails_sent, 5001);
assert.equal(overview.data?.data.time_range.start, `${day(20)}T00:00:00Z`);

const deliverability = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/deliverability", {
  params: { path: { workspaceId }, query: { timeRange: "90d", campaignId } },
});
assert.equal(deliverability.data?.data.overall.bounce_rate, 2);
assert.equal(deliverability.data?.data.blacklist_status.last_check, null);

const providers = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/providers", {
  params: { path: { workspaceId }, query: { timeRange: "90d", campaignId } },
});
assert.equal(providers.data?.data.providers[0]?.summary.emails_sent, 5000);
assert.equal(providers.data?.data.providers[0]?.difference_from_others, null);

const steps = await client.GET("/api/v1/workspaces/{workspaceId}/campaigns/{campaignId}/steps", {
  params: { path: { workspaceId, campaignId }, query: { timeRange: "90d" } },
});
assert.equal(steps.data?.data.steps[0]?.step, null);
assert.equal(steps.data?.data.steps[0]?.rates.open_rate, 30);

const links = await client.GET("/api/v1/workspaces/{workspaceId}/campaigns/{campaignId}/links", {
  params: { path: { workspaceId, campaignId }, query: { timeRange: "90d" } },
});
assert.equal(links.data?.data.summary.emails_clicked, 245);
assert.equal(links.data?.data.links[0]?.link, null);

const timing = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/timing", {
  params: { path: { workspaceId }, query: { timeRange: "90d", campaignId } },
});
assert.equal(timing.data?.data.percentiles[1]?.messages, 1470);
assert.equal(timing.data?.data.maturity[0]?.opened_share, null);

const heatmap = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/engagement-heatmap", {
  params: { path: { workspaceId }, query: { timeRange: "90d", timezone: "Europe/Berlin", granularity: "hour" } },
});
assert.ok(heatmap.data !== undefined, JSON.stringify(heatmap.error));
assert.equal(heatmap.data.data.heatmap.reduce((sum, cell) => sum + cell.emails_sent, 0), 5001);
const best = heatmap.data.data.optimal_send_time;
assert.ok(best !== null && best.hour >= 0 && best.hour < 24);

const series = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/series", {
  params: { path: { workspaceId }, query: { groupBy: "month" } },
});
assert.equal(series.data?.data.time_series.reduce((sum, point) => sum + point.sent, 0), 5001);

const metrics: Metric[] = ["open_rate"];
const comparison = await client.POST("/api/v1/workspaces/{workspaceId}/analytics/compare", {
  params: { path: { workspaceId } },
  body: { campaign_ids: [campaignId, "cmp_idle"], metrics },
});
assert.deepEqual(comparison.data?.data.comparison.map((compared) => compared.metrics.open_rate), [30, 0]);
assert.equal(comparison.data?.data.statistical_significance[0]?.p_value, null);

const charts: VegaLiteDocument[] = [
  await ok(
    client.GET("/api/v1/workspaces/{workspaceId}/campaigns/{campaignId}/analytics/charts/{chart}", {
      params: { path: { workspaceId, campaignId, chart: "funnel" }, query: { timeRange: "90d" } },
    }),
  ),
  await ok(
    client.GET("/api/v1/workspaces/{workspaceId}/analytics/overview/charts/{chart}", {
      params: { path: { workspaceId, chart: "top_campaigns" }, query: { timeRange: "90d" } },
    }),
  ),
  await ok(
    client.GET("/api/v1/workspaces/{workspaceId}/analytics/deliverability/charts/{chart}", {
      params: { path: { workspaceId, chart: "health" }, query: { timeRange: "90d", campaignId } },
    }),
  ),
  await ok(
    client.GET("/api/v1/workspaces/{workspaceId}/analytics/engagement-heatmap/charts/{chart}", {
      params: { path: { workspaceId, chart: "by_hour" }, query: { timeRange: "90d", timezone: "Europe/Berlin" } },
    }),
  ),
  await ok(
    client.GET("/api/v1/workspaces/{workspaceId}/analytics/series/charts/{chart}", {
      params: { path: { workspaceId, chart: "volume" }, query: { groupBy: "month" } },
    }),
  ),
  await ok(
    client.POST("/api/v1/workspaces/{workspaceId}/analytics/compare/charts/{chart}", {
      params: { path: { workspaceId, chart: "intervals" } },
      body: { campaign_ids: [campaignId, "cmp_idle"], theme: "dark" },
    }),
  ),
  await ok(
    client.POST("/api/v1/workspaces/{workspaceId}/analytics/query/charts/{chart}", {
      params: { path: { workspaceId, chart: "metrics" } },
      body: { metrics: ["sent"], dimensions: ["campaign"], time_range: "90d", granularity: "month" },
    }),
  ),
];
for (const chart of charts) {
  assert.equal(chart.$schema, "https://vega.github.io/schema/vega-lite/v6.json");
  const rows: unknown = chart.data["values"];
  assert.ok(Array.isArray(rows) && rows.length > 0, chart.title);
}

const answer = await client.POST("/api/v1/workspaces/{workspaceId}/analytics/query", {
  params: { path: { workspaceId } },
  body: { metrics: ["sent", "open_rate"], dimensions: ["campaign"], time_range: "90d" },
});
assert.equal(answer.data?.data.rows[0]?.dimensions["campaign"], campaignId);
assert.equal(answer.data?.data.rows[0]?.metrics["open_rate"]?.value, 30);
assert.equal(answer.data?.data.totals["sent"]?.value, 5001);
const asked: unknown[] = [];
for await (const page of pages((position) =>
  ok(
    client.POST("/api/v1/workspaces/{workspaceId}/analytics/query", {
      params: { path: { workspaceId } },
      body: { metrics: ["sent"], dimensions: ["campaign"], time_range: "90d", limit: 1, ...position },
    }),
  ),
)) {
  asked.push(...page.data.rows.map((row) => row.metrics["sent"]?.value));
}
assert.deepEqual(asked, [5000, 1]);

const quality = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/data-quality", {
  params: { path: { workspaceId } },
});
assert.deepEqual(quality.data?.data.problems, []);

const freshness = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/freshness", {
  params: { path: { workspaceId } },
});
assert.equal(freshness.data?.data.is_late, false);

const ranked = await client.GET("/api/v1/workspaces/{workspaceId}/campaigns", {
  params: { path: { workspaceId }, query: { sort: "open_rate", limit: 2 } },
});
assert.deepEqual(ranked.data?.data.campaigns.map((row) => [row.campaign_id, row.rates.open_rate])[0], [campaignId, 30]);
assert.equal(typeof ranked.data?.data.next_cursor, "string");
const mailboxes = await client.GET("/api/v1/workspaces/{workspaceId}/mailboxes", {
  params: { path: { workspaceId }, query: { search: "MBX" } },
});
assert.deepEqual(mailboxes.data?.data.mailboxes.map((row) => row.summary.emails_sent), [5000]);
const domains = await client.GET("/api/v1/workspaces/{workspaceId}/domains", { params: { path: { workspaceId } } });
assert.deepEqual(domains.data?.data.domains, []);
const clicked = await client.GET("/api/v1/workspaces/{workspaceId}/links", { params: { path: { workspaceId }, query: { sort: "clicks" } } });
assert.deepEqual(clicked.data?.data.links, []);
const health = await client.GET("/api/v1/workspaces/{workspaceId}/mailboxes/health", { params: { path: { workspaceId } } });
assert.equal(health.data?.data.mailboxes[0]?.factors.unsubscribe_rate, 0.24);

const received = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/sources", {
  params: { path: { workspaceId } },
});
assert.deepEqual(received.data?.data.sources.map((row) => [row.provider, row.source_id]), [["native", null]]);

const wanted = await client.POST("/api/v1/workspaces/{workspaceId}/analytics/export", {
  params: { path: { workspaceId }, header: { "Idempotency-Key": "openapi-typescript" } },
  body: { export_type: "campaign_performance", format: "csv", campaign_ids: [campaignId] },
});
assert.ok(wanted.data !== undefined, JSON.stringify(wanted.error));
const exportId: string = wanted.data.data.export_id;
const exported = { params: { path: { workspaceId, exportId } } };
const status = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/exports/{exportId}", exported);
assert.equal(status.data?.data.download_url, null);
const listed = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/exports", {
  params: { path: { workspaceId }, query: { limit: 100 } },
});
assert.ok(listed.data?.data.exports.some((one) => one.export_id === exportId));
await assert.rejects(waitForExport(client, workspaceId, exportId, { timeout: 0 }), ExportTimeout);
const ended = await client.DELETE("/api/v1/workspaces/{workspaceId}/analytics/exports/{exportId}", exported);
assert.equal(ended.response.status, 204);
const after = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/exports/{exportId}", exported);
const canceled: ExportStatus | undefined = after.data?.data.status;
assert.equal(canceled, "canceled");
await assert.rejects(
  waitForExport(client, workspaceId, exportId),
  (error) => error instanceof ExportFailed && error.export.status === "canceled",
);

// the connection breaks after this one is created: the request that is sent again finds it by its Idempotency-Key
const created = await ok(
  client.POST("/api/v1/workspaces/{workspaceId}/analytics/export", {
    params: { path: { workspaceId } },
    body: { export_type: "messages", format: "ndjson", time_range: "7d" },
  }),
);
assert.equal(retries.at(-1)?.method, "POST");
assert.equal(retries.at(-1)?.isRetryAfter, false);
const written = await waitForExport(client, workspaceId, created.data.export_id);
assert.equal(new TextDecoder().decode(await download(written)).trim().split("\n").length, written.row_count);
const ids: string[] = [];
const all = pages((position) =>
  ok(
    client.GET("/api/v1/workspaces/{workspaceId}/analytics/exports", {
      params: { path: { workspaceId }, query: { limit: 1, ...position } },
    }),
  ),
);
for await (const page of all) {
  ids.push(...page.data.exports.map((one) => one.export_id));
  if (ids.includes(exportId)) break;
}
assert.equal(ids.indexOf(created.data.export_id), ids.indexOf(exportId) - 1);
await client.DELETE("/api/v1/workspaces/{workspaceId}/analytics/exports/{exportId}", {
  params: { path: { workspaceId, exportId: created.data.export_id } },
});

const name = "Weekly, of openapi-typescript";
const makeReport = () =>
  client.POST("/api/v1/workspaces/{workspaceId}/analytics/reports", {
    params: { path: { workspaceId } },
    body: {
      name,
      export: { export_type: "workspace_overview", format: "json" },
      schedule: { frequency: "weekly", weekday: "monday", at: "08:00" },
      webhook_url: "https://hooks.example.com/in",
    },
  });
// the response is lost, and the request is not sent again: it would make a second report
await assert.rejects(makeReport(), ConnectionFailed);
const lost = await ok(
  client.GET("/api/v1/workspaces/{workspaceId}/analytics/reports", { params: { path: { workspaceId }, query: { limit: 100 } } }),
);
const made = lost.data.reports.filter((one) => one.name === name);
assert.equal(made.length, 1);
await client.DELETE("/api/v1/workspaces/{workspaceId}/analytics/reports/{reportId}", {
  params: { path: { workspaceId, reportId: made[0]?.report_id ?? "" } },
});
const report = await makeReport();
assert.ok(report.data !== undefined, JSON.stringify(report.error));
assert.ok(report.data.data.webhook_secret?.startsWith("whsec_"));
assert.equal(new Date(report.data.data.next_run_at ?? "").getUTCDay(), 1);
const reportId: string = report.data.data.report_id;
const reported = { params: { path: { workspaceId, reportId } } };
const changed = await client.PATCH("/api/v1/workspaces/{workspaceId}/analytics/reports/{reportId}", {
  ...reported,
  body: { webhook_url: null, is_enabled: false },
});
assert.equal(changed.data?.data.webhook_url, null);
assert.equal(changed.data?.data.next_run_at, null);
const read = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/reports/{reportId}", reported);
const weekday: ReportWeekday | undefined = read.data?.data.schedule.weekday;
assert.equal(weekday, "monday");
const reports = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/reports", {
  params: { path: { workspaceId }, query: { limit: 100 } },
});
assert.ok(reports.data?.data.reports.some((one) => one.report_id === reportId));
const runs = await client.GET("/api/v1/workspaces/{workspaceId}/analytics/reports/{reportId}/runs", reported);
assert.deepEqual(runs.data?.data.runs, []);
const removed = await client.DELETE("/api/v1/workspaces/{workspaceId}/analytics/reports/{reportId}", reported);
assert.equal(removed.response.status, 204);

const stored = await client.POST("/api/v1/workspaces/{workspaceId}/events", {
  params: { path: { workspaceId } },
  body: {
    events: [
      {
        event_id: "sdk_1",
        message_id: "sdk_1",
        event_type: "sent",
        occurred_at: "2020-01-02T00:00:00Z",
        recipient: "jane@example.com",
        tags: ["sdk"],
      },
    ],
  },
});
assert.equal(stored.data?.data.accepted, 1);
assert.deepEqual(stored.data?.data.rejections, []);

const missing = client.GET("/api/v1/workspaces/{workspaceId}/campaigns/{campaignId}/analytics", {
  params: { path: { workspaceId, campaignId: "nope" } },
});
await assert.rejects(missing, (error) => {
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.status, 404);
  assert.equal(error.code, "CAMPAIGN_NOT_FOUND");
  assert.ok(error.requestId !== null);
  // @ts-expect-error - a misspelt code is found by the compiler
  assert.ok(error.code !== "CAMPAIN_NOT_FOUND");
  return true;
});
assert.throws(() => connection({ url: "", key }), /the URL of the service is empty/);
assert.throws(() => connection({ url: "127.0.0.1:8310", key }), /does not begin with http/);
const nobody = createClient<paths>(
  connection({ url: "http://127.0.0.1:1/api/v1", key, retries: { attempts: 2, firstWait: 0.01, onRetry } }),
);
const unreachable = nobody.GET("/api/v1/workspaces/{workspaceId}/analytics/freshness", { params: { path: { workspaceId } } });
await assert.rejects(unreachable, ConnectionFailed);
assert.equal(retries.at(-1)?.attempt, 2);
