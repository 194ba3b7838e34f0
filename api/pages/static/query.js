// Any metrics by any dimensions. The question is in the address; metrics and dimensions come from the contract.

import { change, get, getAll, link, timeRangeOfBody } from "./address.js";
import { call } from "./api.js";
import { chart } from "./chart.js";
import { el, name, select } from "./dom.js";
import { count, date, number, percent, relative, points } from "./format.js";
import { field, form, formatOptions } from "./forms.js";
import { anchor, controls as timeControls, empty, LONG, settings } from "./parts.js";
import { session } from "./session.js";
import { csvButton, table } from "./table.js";

const MOST_METRICS = 4;
const MOST_DIMENSIONS = 2;
const CHART = "metrics";
const GRANULARITIES = [["", "All together"], ["day", "By day"], ["week", "By week"], ["month", "By month"], ["hour", "By hour"]];
const COMPARED = [["", "Nothing"], ["previous_period", "Previous period"], ["previous_year", "Previous year"]];

const requestedMetrics = () => (getAll("metric").length ? getAll("metric") : ["sent", "open_rate"].filter((metric) => settings.query.metrics.some(([key]) => key === metric)));
const requestedDimensions = () => getAll("dimension");

/** Selects for a list of the address: one for each value, and an empty one to add another. */
function choices(label, field, options, values, most) {
  const nodes = [...values, ""].slice(0, most).map((value, index) =>
    select(index ? `${label} ${index + 1}` : label, [["", index ? "none" : "–"], ...options], value, (chosen) => {
      const next = [...values];
      next[index] = chosen;
      change({ [field]: [...new Set(next.filter(Boolean))], cursor: null });
    }),
  );
  return nodes;
}

export const controls = () => {
  if (!settings.query) return timeControls();
  const { metrics, dimensions } = settings.query;
  return timeControls({
    others: [
      choices("Metric", "metric", metrics, requestedMetrics(), MOST_METRICS),
      choices("For each", "dimension", dimensions, requestedDimensions(), MOST_DIMENSIONS),
      select("Over time", GRANULARITIES, get("granularity"), (value) => change({ granularity: value, cursor: null })),
      select("Compared with", COMPARED, get("against"), (value) => change({ against: value, cursor: null })),
      select("Only where", [["", "everything"], ...dimensions], get("where"), (value) => change({ where: value, is: value ? getAll("is") : null, cursor: null })),
      get("where")
        ? el(
            "label",
            { class: "field" },
            el("span", {}, "is one of, with commas"),
            el("input", { type: "text", value: getAll("is").join(", "), onchange: (event) => change({ is: event.target.value.split(",").map((text) => text.trim()).filter(Boolean), cursor: null }) }),
          )
        : null,
    ],
  });
};

/** The question of the address, without its time range. */
function question() {
  const own = { metric: requestedMetrics(), dimension: requestedDimensions(), is: getAll("is") };
  for (const name of ["granularity", "against", "where"]) if (get(name)) own[name] = get(name);
  return own;
}

/** A description of dbt's, whose words of code are in backquotes. */
const withCode = (text) => String(text).split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));

const SHOWN = { percent, count, number };

function columnsOf(data, meta) {
  const { definitions } = meta;
  const columns = [];
  if (get("granularity")) columns.push({ title: "Time", name: "time", isText: true, isDate: true, value: (row) => row.time, show: (value) => (String(value).length > 10 ? String(value).slice(0, 16).replace("T", " ") : date(value)) });
  for (const dimension of requestedDimensions()) {
    const { label = dimension, names = {} } = definitions[dimension] ?? {};
    const shown = (value) => (names[value] ? el("span", { title: value }, name(names[value])) : name(value));
    columns.push({ title: label, name: dimension, isText: true, value: (row) => row.dimensions[dimension], show: (value) => (value === "" || value === null ? "(none)" : shown(value)) });
  }
  for (const metric of requestedMetrics()) {
    const { label = metric, unit } = definitions[metric] ?? {};
    const show = SHOWN[unit] ?? number;
    columns.push({
      title: label,
      name: metric,
      isCell: true,
      value: (row) => row.metrics[metric].value,
      show: (value, row) => {
        const { low, high } = row.metrics[metric];
        return low === undefined || low === null ? show(value) : el("span", { title: `95 % interval: ${show(low)} to ${show(high)}` }, show(value));
      },
    });
    if (data.rows.some((row) => row.metrics[metric].change !== undefined)) {
      columns.push({
        title: `${label}, change`,
        name: `${metric}_change`,
        value: (row) => row.metrics[metric].change,
        show: (value) => (value === null || value === undefined ? "–" : unit === "percent" ? points(value) : relative(value)),
      });
    }
  }
  return columns;
}

/** Makes a file of all rows. */
function exportForm(body, scopes) {
  const { exportType } = settings.query;
  if (!exportType) return null;
  if (!scopes.includes("export")) {
    return el("p", { class: "note" }, "This key may not make exports. The operator can make one that may: ", el("code", {}, "mailmart keys create … --scope export"), ".");
  }
  const format = select("Format", formatOptions(), "csv");
  return form(
    "Make an export of this query",
    [format],
    "Make it",
    async () => {
      await call("/analytics/export", {
        method: "POST",
        headers: { "Idempotency-Key": crypto.randomUUID() },
        body: { export_type: exportType, format: field(format).value, query: body },
      });
      return ["The export is being written. It is in the list of ", anchor(link("exports"), "exports"), "."];
    },
    { note: "The file has all rows, not only those of this page." },
  );
}

/** What a server signs to show this chart in a page of its own. */
function embedding(chart, params) {
  const claims = { aud: "mailmart-embed", workspace_id: session().workspace, chart, params };
  return el(
    "details",
    { class: "commands" },
    el("summary", {}, "Embed this chart"),
    el("p", { class: "note" }, "The claims of a token that shows this chart in a page of your own. Add iat and exp. Your server signs the token with MAILMART_EMBED_SECRET, and the frame's address is /embed?token=…"),
    el("pre", { tabindex: 0 }, JSON.stringify(claims, null, 2)),
  );
}

export async function render({ scopes }) {
  if (!settings.query) return { nodes: [empty("Queries are not available yet", "They are available after the next published build.")] };
  const metrics = requestedMetrics();
  const dimensions = requestedDimensions();
  const where = get("where");
  const values = getAll("is");
  // of all rows
  const whole = {
    metrics,
    ...(dimensions.length ? { dimensions } : {}),
    ...(where && values.length ? { filters: [{ dimension: where, operator: "in", values }] } : {}),
    ...timeRangeOfBody(),
    ...(get("granularity") ? { granularity: get("granularity") } : {}),
    ...(get("timezone") ? { timezone: get("timezone") } : {}),
    ...(get("against") ? { compare: get("against") } : {}),
  };
  const body = { ...whole, names: true, ...(get("cursor") ? { cursor: get("cursor") } : {}), limit: get("granularity") ? 1000 : 100 };
  const { data, meta } = await call(settings.query.path, { method: "POST", body });
  const columns = columnsOf(data, meta);
  const nodes = [controls()];
  const isNothing = ({ value }) => !value;
  if (data.rows.every((row) => Object.values(row.metrics).every(isNothing))) {
    nodes.push(
      empty("No mail matches the query in this time range", "Choose a longer time range, or remove the filter.", anchor(link("query", { ...question(), timeRange: "90d" }), "Last 90 days"), anchor(link("sources"), "What has been received")),
    );
    return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
  }
  const isDrawn = Boolean(get("granularity") || dimensions.length);
  const about = { name: CHART, title: meta.definitions[metrics[0]]?.label ?? metrics[0], description: "The numbers are in the table below." };
  const title = metrics.map((metric) => meta.definitions[metric]?.label ?? metric).join(", ");
  nodes.push(
    el(
      "section",
      { class: "card" },
      el("div", { class: "card-head" }, el("h2", {}, title), csvButton("query", columns, data.rows)),
      isDrawn && chart("query", about, settings.query.path, { method: "POST", body: whole }),
      data.rows.length > LONG ? el("details", {}, el("summary", {}, `Table of ${data.rows.length} rows`), table(title, columns, data.rows)) : table(title, columns, data.rows),
      meta.next_cursor && el("p", { class: "links" }, el("button", { type: "button", onclick: () => change({ cursor: meta.next_cursor }) }, "More rows")),
    ),
    el(
      "section",
      { class: "card" },
      el("h2", {}, "What the numbers mean"),
      el("dl", { class: "definitions" }, Object.values(meta.definitions).map(({ label, description, formula }) => [el("dt", {}, label), el("dd", {}, withCode(description), formula && el("span", { class: "note" }, ` ${formula}`))])),
    ),
    exportForm(whole, scopes),
    isDrawn && embedding(`${settings.query.path}/charts/${CHART}`, whole),
  );
  return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
}
