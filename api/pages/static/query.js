// Any metrics by any dimensions. The question is in the address; metrics and dimensions come from the contract.

import { change, get, getAll, link, timeRangeOfBody } from "./address.js";
import { call } from "./api.js";
import { picture } from "./chart.js";
import { el, name, select } from "./dom.js";
import { count, date, number, percent, relative, points } from "./format.js";
import { anchor, controls as timeControls, empty, LONG, settings } from "./parts.js";
import { csvButton, table } from "./table.js";

const MOST_METRICS = 4;
const MOST_DIMENSIONS = 2;
const MOST_SERIES = 7;
const GRANULARITIES = [["", "All together"], ["day", "By day"], ["week", "By week"], ["month", "By month"], ["hour", "By hour"]];
const COMPARED = [["", "Nothing"], ["previous_period", "The period before"], ["previous_year", "The year before"]];

const metricsAsked = () => (getAll("metric").length ? getAll("metric") : ["sent", "open_rate"].filter((metric) => settings.query.metrics.some(([key]) => key === metric)));
const dimensionsAsked = () => getAll("dimension");

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
      choices("Metric", "metric", metrics, metricsAsked(), MOST_METRICS),
      choices("For each", "dimension", dimensions, dimensionsAsked(), MOST_DIMENSIONS),
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
  const own = { metric: metricsAsked(), dimension: dimensionsAsked(), is: getAll("is") };
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
  for (const dimension of dimensionsAsked()) {
    columns.push({ title: definitions[dimension]?.label ?? dimension, name: dimension, isText: true, value: (row) => row.dimensions[dimension], show: (value) => (value === "" || value === null ? "(none)" : name(value)) });
  }
  for (const metric of metricsAsked()) {
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

/** The first metric as a Vega-Lite document: a line over time, else a bar for each value. */
function documentOf(data, meta) {
  const [metric] = metricsAsked();
  const { label = metric } = meta.definitions[metric] ?? {};
  const isOverTime = Boolean(get("granularity"));
  const part = (row) => dimensionsAsked().map((dimension) => String(row.dimensions[dimension] || "(none)").slice(0, 60)).join(", ");
  if (!isOverTime && !dimensionsAsked().length) return null;
  const values = data.rows.map((row) => ({ time: row.time, part: part(row), value: row.metrics[metric].value }));
  const parts = [...new Set(values.map((row) => row.part))];
  const x = { field: "time", type: "temporal", title: null, scale: { type: "utc" }, ...(get("granularity") === "hour" ? {} : { timeUnit: "utcyearmonthdate" }) };
  const y = { field: "value", type: "quantitative", title: label };
  if (!isOverTime) {
    return { data: { values: values.slice(0, 25) }, mark: "bar", encoding: { y: { field: "part", type: "nominal", sort: null, title: null }, x: y } };
  }
  const shown = parts.slice(0, MOST_SERIES);
  const color = parts.length > 1 ? { color: { field: "part", type: "nominal", title: null, scale: { domain: shown } } } : {};
  return { data: { values: values.filter((row) => shown.includes(row.part)) }, mark: { type: "line", point: true }, height: 280, encoding: { x, y, ...color } };
}

export async function render() {
  if (!settings.query) return { nodes: [empty("There is nothing to query yet", "Queries come with the next build that is published.")] };
  const metrics = metricsAsked();
  const dimensions = dimensionsAsked();
  const where = get("where");
  const values = getAll("is");
  const body = {
    metrics,
    ...(dimensions.length ? { dimensions } : {}),
    ...(where && values.length ? { filters: [{ dimension: where, operator: "in", values }] } : {}),
    ...timeRangeOfBody(),
    ...(get("granularity") ? { granularity: get("granularity") } : {}),
    ...(get("timezone") ? { timezone: get("timezone") } : {}),
    ...(get("against") ? { compare: get("against") } : {}),
    ...(get("cursor") ? { cursor: get("cursor") } : {}),
    limit: get("granularity") ? 1000 : 100,
  };
  const { data, meta } = await call(settings.query.path, { method: "POST", body });
  const columns = columnsOf(data, meta);
  const nodes = [controls()];
  const isNothing = ({ value }) => !value;
  if (data.rows.every((row) => Object.values(row.metrics).every(isNothing))) {
    nodes.push(
      empty("No mail is like that in this time range", "Choose a longer time range, or remove the filter.", anchor(link("query", { ...question(), timeRange: "90d" }), "Last 90 days"), anchor(link("sources"), "What has been received")),
    );
    return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
  }
  const spec = documentOf(data, meta);
  const title = metrics.map((metric) => meta.definitions[metric]?.label ?? metric).join(", ");
  nodes.push(
    el(
      "section",
      { class: "card" },
      el("div", { class: "card-head" }, el("h2", {}, title), csvButton("query", columns, data.rows)),
      spec && picture({ name: "query", title, description: "The numbers are in the table below." }, spec, settings.themes),
      data.rows.length > LONG ? el("details", {}, el("summary", {}, `Table of ${data.rows.length} rows`), table(title, columns, data.rows)) : table(title, columns, data.rows),
      meta.next_cursor && el("p", { class: "links" }, el("button", { type: "button", onclick: () => change({ cursor: meta.next_cursor }) }, "More rows")),
    ),
    el(
      "section",
      { class: "card" },
      el("h2", {}, "What the numbers mean"),
      el("dl", { class: "definitions" }, Object.values(meta.definitions).map(({ label, description, formula }) => [el("dt", {}, label), el("dd", {}, withCode(description), formula && el("span", { class: "note" }, ` ${formula}`))])),
    ),
  );
  return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
}
