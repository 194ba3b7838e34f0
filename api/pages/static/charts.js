// The charts of every endpoint that has no page of its own: an analyst's new endpoint is here without a line of JavaScript.

import { timeRange, get } from "./address.js";
import { call } from "./api.js";
import { name } from "./dom.js";
import { number, sentence } from "./format.js";
import { chartCard, controls as timeControls, empty, groupBy, settings } from "./parts.js";

export const controls = () => timeControls({ others: [groupBy()] });

/** A column for each value of the rows, those of a nested object too. */
function columnsOf(row, path = []) {
  return Object.entries(row).flatMap(([key, value]) => {
    const whole = [...path, key];
    if (Array.isArray(value)) return [];
    if (value && typeof value === "object") return columnsOf(value, whole);
    return [
      {
        title: sentence(key),
        name: whole.join("."),
        isText: typeof value !== "number",
        value: (item) => whole.reduce((rest, part) => rest?.[part], item),
        show: (shown) => (typeof shown === "number" ? number(shown) : shown === null || shown === undefined ? "–" : name(shown)),
      },
    ];
  });
}

export async function render() {
  const shown = Object.entries(settings.endpoints).filter(([, endpoint]) => endpoint.is_on_charts_page);
  const nodes = [controls()];
  let dataAsOf;
  for (const [key, endpoint] of shown) {
    const all = { ...timeRange(), groupBy: get("groupBy"), timezone: get("timezone") };
    const takes = new Set(Object.keys(endpoint.parameters));
    if (takes.has("timeRange")) ["startDate", "endDate"].forEach((parameter) => takes.add(parameter));
    const query = Object.fromEntries(Object.entries(all).filter(([parameter]) => takes.has(parameter)));
    for (const about of endpoint.charts) {
      const { data, meta } = await call(endpoint.path, { query: { ...query, ...about.params } });
      dataAsOf = meta.data_as_of;
      const rows = [about.path.reduce((rest, part) => rest?.[part], data) ?? []].flat();
      const columns = rows.length ? columnsOf(rows[0]) : [];
      nodes.push(chartCard(key, about.name, endpoint.path, { query }, { columns, rows, file: `${key}-${about.name}`, note: about.description }));
    }
  }
  if (!shown.length) nodes.push(empty("There are no other charts", "An analyst adds a chart in YAML, beside an exposure: config.meta.charts."));
  return { nodes, dataAsOf };
}
