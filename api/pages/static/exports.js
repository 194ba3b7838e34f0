import { get, link } from "./address.js";
import { call } from "./api.js";
import { el, fill, input, name, select } from "./dom.js";
import { bytes, count, moment, sentence } from "./format.js";
import { field, form, formatOptions } from "./forms.js";
import { anchor, card, empty, settings } from "./parts.js";
import { table } from "./table.js";

const EXPORTS = "/analytics/exports";
const REPORTS = "/analytics/reports";
const SECONDS_BETWEEN_LOOKS = 4;
const MOST_LOOKS = 75;
const zone = () => get("timezone");
const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
let looks = 0;

const typeOptions = () => Object.keys(settings.exportTypes).map((key) => [key, sentence(key)]);
const PERIODS = [["7d", "Last 7 days"], ["30d", "Last 30 days"], ["90d", "Last 90 days"]];
const DAY = 86_400_000;
const isoDate = (time) => new Date(time).toISOString().slice(0, 10);

/** A select of time ranges, the dates of a custom one, and what both say as the API takes it. */
function rangeFields() {
  const from = input("From", { type: "date", required: true, value: isoDate(Date.now() - 30 * DAY) });
  const to = input("To", { type: "date", required: true, value: isoDate(Date.now()) });
  const show = (period) => [from, to].forEach((node) => {
    node.hidden = period !== "custom";
    // a hidden field that is required could not be sent
    field(node).disabled = node.hidden;
  });
  const period = select("Time range", [...PERIODS, ["custom", "From … to …"]], "30d", show);
  show("30d");
  return {
    nodes: [period, from, to],
    body: () => ({
      time_range: field(period).value,
      ...(field(period).value === "custom" ? { start_date: field(from).value, end_date: field(to).value } : {}),
    }),
  };
}

function exportForm(reload) {
  const range = rangeFields();
  const campaigns = input("Campaign ids, with commas", { type: "text", placeholder: "all" });
  const showCampaigns = (kind) => {
    campaigns.hidden = !settings.exportTypes[kind]?.takesCampaigns;
  };
  const type = select("What", typeOptions(), "campaign_performance", showCampaigns);
  showCampaigns(field(type).value);
  const format = select("Format", formatOptions(), "csv");
  return form("Make an export", [type, format, range.nodes, campaigns], "Make it", async () => {
    const ids = campaigns.hidden ? [] : field(campaigns).value.split(",").map((text) => text.trim()).filter(Boolean);
    await call("/analytics/export", {
      method: "POST",
      headers: { "Idempotency-Key": crypto.randomUUID() },
      body: { export_type: field(type).value, format: field(format).value, ...range.body(), ...(ids.length ? { campaign_ids: ids } : {}) },
    });
    await reload();
    return "The export is being written. It appears in the list.";
  }, { note: settings.query?.exportType ? ["Any metrics by any dimensions: ask on the page ", anchor(link("query"), "Query"), ", and export the answer there."] : null });
}

function reportForm(reload) {
  const title = input("Name", { type: "text", required: true, maxlength: 200, placeholder: "Weekly overview" });
  const type = select("What", typeOptions(), "workspace_overview");
  const format = select("Format", formatOptions(), "csv");
  const period = select("Time range", PERIODS, "7d");
  const frequency = select("How often", [["daily", "Every day"], ["weekly", "Every Monday"], ["monthly", "On the first of the month"]], "weekly");
  const at = input("At", { type: "time", required: true, value: "08:00" });
  const timezone = input("Time zone", { type: "text", required: true, value: zone() || ownZone });
  const recipients = input("Mail to, with commas", { type: "text", placeholder: "ana@example.com" });
  return form("Make a report", [title, type, format, period, frequency, at, timezone, recipients], "Make it", async () => {
    const often = field(frequency).value;
    await call(REPORTS, {
      method: "POST",
      body: {
        name: field(title).value,
        export: { export_type: field(type).value, format: field(format).value, time_range: field(period).value },
        schedule: {
          frequency: often,
          at: field(at).value,
          timezone: field(timezone).value,
          ...(often === "weekly" ? { weekday: "monday" } : {}),
          ...(often === "monthly" ? { day_of_month: 1 } : {}),
        },
        recipients: field(recipients).value.split(",").map((text) => text.trim()).filter(Boolean),
      },
    });
    await reload();
    return "The report is made.";
  });
}

function action(text, about, work, reload) {
  return el(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-label": `${text}: ${about}`,
      onclick: async (event) => {
        event.target.disabled = true;
        try {
          await work();
          await reload();
        } catch (error) {
          event.target.disabled = false;
          event.target.after(el("small", { class: "notice", role: "alert" }, error.message));
        }
      },
    },
    text,
  );
}

function exportsCard(exports, reload) {
  const columns = [
    { title: "Export", isText: true, value: (row) => row.export_type, show: sentence },
    { title: "Format", isText: true, value: (row) => row.format },
    { title: "Requested", isText: true, value: (row) => row.created_at, show: (value) => moment(value, zone()) },
    { title: "Status", isText: true, value: (row) => row.status, show: (value, row) => (value === "processing" ? `Being written, ${row.progress} %` : value === "failed" ? `Failed: ${row.error?.message ?? ""}` : sentence(value)) },
    { title: "Rows", value: (row) => row.row_count, show: count },
    { title: "Size", value: (row) => row.file_size_bytes, show: bytes },
    {
      title: "File",
      isText: true,
      value: (row) => row.export_id,
      show: (value, row) =>
        el(
          "span",
          { class: "actions" },
          row.download_url ? el("a", { href: row.download_url, "aria-label": `Download ${row.export_type}, ${row.format}` }, "Download") : null,
          row.status === "processing"
            ? action("Cancel", value, () => call(`${EXPORTS}/${encodeURIComponent(value)}`, { method: "DELETE" }), reload)
            : action("Delete", value, () => call(`${EXPORTS}/${encodeURIComponent(value)}`, { method: "DELETE" }), reload),
        ),
    },
  ];
  return card("Exports", exports.length ? table("Exports", columns, exports) : el("p", { class: "empty-line" }, "There is no export yet. Make one above: its file is kept for a week."));
}

function scheduleText({ frequency, at, timezone, weekday, day_of_month: day }) {
  const when = frequency === "weekly" ? `Every ${sentence(weekday)}` : frequency === "monthly" ? `On day ${day} of the month` : "Every day";
  return `${when} at ${at}, ${timezone}`;
}

function reportsCard(reports, reload) {
  const path = (id) => `${REPORTS}/${encodeURIComponent(id)}`;
  const columns = [
    { title: "Report", isText: true, value: (row) => row.name, show: (value) => name(value) },
    { title: "What", isText: true, value: (row) => row.export.export_type, show: (value, row) => `${sentence(value)}, ${row.export.format}` },
    { title: "When", isText: true, value: (row) => row.schedule, show: scheduleText },
    { title: "To", isText: true, value: (row) => row.recipients, show: (value, row) => name([...value, ...(row.webhook_url ? ["a webhook"] : [])].join(", ") || "nobody") },
    { title: "Next", isText: true, value: (row) => row.next_run_at, show: (value, row) => (row.is_enabled ? moment(value, zone()) : "Paused") },
    {
      title: "Change",
      isText: true,
      value: (row) => row.report_id,
      show: (id, row) =>
        el(
          "span",
          { class: "actions" },
          action(row.is_enabled ? "Pause" : "Resume", row.name.slice(0, 80), () => call(path(id), { method: "PATCH", body: { is_enabled: !row.is_enabled } }), reload),
          action("Delete", row.name.slice(0, 80), () => call(path(id), { method: "DELETE" }), reload),
        ),
    },
  ];
  return card("Reports", reports.length ? table("Reports", columns, reports) : el("p", { class: "empty-line" }, "There is no report yet. A report is an export on a schedule, sent by mail or webhook."));
}

export async function render({ scopes }) {
  const mayExport = scopes.includes("export");
  const mayReport = scopes.includes("reports");
  const exportList = el("div");
  const reportList = el("div");
  async function reload() {
    const [exports, reports] = await Promise.all([
      mayExport ? call(EXPORTS, { query: { limit: 50 } }) : null,
      mayReport ? call(REPORTS, { query: { limit: 50 } }) : null,
    ]);
    if (exports) fill(exportList, exportsCard(exports.data.exports, reload));
    if (reports) fill(reportList, reportsCard(reports.data.reports, reload));
    if (exports?.data.exports.some((row) => row.status === "processing") && looks < MOST_LOOKS) {
      looks += 1;
      setTimeout(() => exportList.isConnected && reload().catch(() => {}), SECONDS_BETWEEN_LOOKS * 1000);
    }
  }
  looks = 0;
  await reload();
  return {
    nodes: [
      mayExport ? [exportForm(reload), exportList] : empty("This key may not make exports", "The operator can make one that may: mailmart keys create … --scope export."),
      mayReport ? [reportForm(reload), reportList] : empty("This key may not make reports", "The operator can make one that may: mailmart keys create … --scope reports."),
    ],
  };
}
