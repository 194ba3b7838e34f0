// The parts that pages are made of.

import { chart } from "./chart.js";
import { el, fill, input, select } from "./dom.js";
import { call } from "./api.js";
import { change, get, PERIODS, previousWindow, timeRange } from "./address.js";
import { csvButton, table } from "./table.js";
import { percent, points, relative } from "./format.js";

export const settings = JSON.parse(document.body.dataset.settings);

export function card(title, ...children) {
  return el("section", { class: "card" }, el("h2", {}, title), children);
}

/** An endpoint's answer, and the numbers of the period before ({summary, rates, …}), or null if nothing is compared. */
export async function withPrevious(endpointName, path, query) {
  if (get("compare", "previous") === "none") return { ...(await call(path, { query })), before: null };
  if ("compare_to" in (settings.endpoints[endpointName]?.parameters ?? {})) {
    const answer = await call(path, { query: { ...query, compare_to: "previous_period" } });
    return { ...answer, before: answer.data.previous_period };
  }
  const answer = await call(path, { query });
  const { groupBy: _, ...others } = query;
  const before = await call(path, { query: { ...others, ...previousWindow(answer.data.time_range) } });
  return { ...answer, before: before.data };
}

/** A card with one of an endpoint's charts, its table and its CSV. */
export function chartCard(endpointName, chartName, path, options, { title, columns, rows, file, note, isOpen = false }) {
  const about = settings.endpoints[endpointName]?.charts.find((item) => item.name === chartName);
  const heading = title ?? about?.title ?? chartName;
  return el(
    "section",
    { class: "card" },
    el("div", { class: "card-head" }, el("h2", {}, heading), csvButton(file, columns, rows)),
    note && el("p", { class: "note" }, note),
    about ? chart(endpointName, about, path, options) : null,
    el("details", { open: isOpen || !about }, el("summary", {}, "Table"), table(heading, columns, rows)),
  );
}

export const LONG = 20;

/** A card with a table. Columns that are empty in every row are left out, and a long table can be opened. */
export function tableCard(title, all, rows, { file, note, empty }) {
  const columns = all.filter((column) => rows.some((row) => column.value(row) !== null && column.value(row) !== undefined));
  const shown = rows.length ? table(title, columns, rows) : el("p", { class: "empty-line" }, empty);
  return el(
    "section",
    { class: "card" },
    el("div", { class: "card-head" }, el("h2", {}, title), rows.length ? csvButton(file, all, rows) : null),
    note && el("p", { class: "note" }, note),
    rows.length > LONG ? el("details", {}, el("summary", {}, `Table of ${rows.length} rows`), shown) : shown,
  );
}

/** One number with its change. `better`: higher, lower, or null if neither is. */
export function tile({ label, value, detail, isBad = false, now, before, unit = "percent", better = null, help }) {
  return el(
    "div",
    { class: "tile" },
    el("dt", { title: help }, label),
    el("dd", { class: "big" }, value),
    detail && el("dd", { class: isBad ? "detail bad" : "detail" }, detail),
    delta(now, before, unit, better),
  );
}

function delta(now, before, unit, better) {
  if (before === undefined || before === null || now === null || now === undefined) return null;
  const difference = now - before;
  if (unit === "percent") {
    const rounded = Math.round(difference * 100) / 100;
    const text = rounded === 0 ? "no change" : `${points(rounded)}`;
    return el("dd", { class: `delta ${mood(rounded, before, better)}` }, `${arrow(rounded)} ${text}`, el("span", { class: "was" }, ` from ${percent(before)}`));
  }
  if (before === 0) return el("dd", { class: "delta" }, now === 0 ? "no change" : "none before");
  const share = (100 * difference) / before;
  return el("dd", { class: `delta ${mood(difference, before, better)}` }, difference === 0 ? "no change" : `${arrow(difference)} ${relative(share)}`);
}

function arrow(value) {
  return value > 0 ? "▲" : value < 0 ? "▼" : "";
}

/** Good or bad; of a change by less than a twentieth, neither: it is mostly chance. */
function mood(value, before, better) {
  if (!better || Math.abs(value) < 0.05 * Math.abs(before)) return "";
  return value > 0 === (better === "higher") ? "good" : "bad";
}

export function tiles(label, ...items) {
  return el("dl", { class: "tiles", "aria-label": label }, items);
}

/** What to say if there is nothing: what it means, and what to do next. */
export function empty(title, text, ...links) {
  return el("section", { class: "card empty" }, el("h2", {}, title), el("p", {}, text), links.length ? el("p", { class: "links" }, links) : null);
}

export function anchor(href, text, className = null) {
  return el("a", { href, class: className }, text);
}

/** The controls of the time range, and others beside it. */
export function controls({ periods = ["7d", "30d", "90d", "custom"], others = [], hasComparison = false } = {}) {
  const period = get("timeRange", "30d");
  const shown = PERIODS.filter(([key]) => periods.includes(key));
  const dates = el("span", { class: "dates" });
  const chosen = timeRange();
  const form = el(
    "form",
    { class: "controls", "aria-label": "What is shown", onsubmit: apply },
    select("Time range", shown, period, (value) => {
      if (value !== "custom") change({ timeRange: value, startDate: null, endDate: null });
      else showDates();
    }),
    dates,
    hasComparison
      ? select("Compared with", [["previous", "Previous period"], ["none", "Nothing"]], get("compare", "previous"), (value) =>
          change({ compare: value === "previous" ? null : value }),
        )
      : null,
    others,
  );
  function showDates() {
    const today = new Date().toISOString().slice(0, 10);
    const monthAgo = new Date(Date.now() - 30 * 86_400_000).toISOString().slice(0, 10);
    fill(
      dates,
      input("From", { type: "date", name: "startDate", required: true, value: chosen.startDate || monthAgo }),
      input("To", { type: "date", name: "endDate", required: true, value: chosen.endDate || today }),
      el("button", { type: "submit" }, "Show"),
    );
  }
  function apply(event) {
    event.preventDefault();
    const entered = new FormData(form);
    change({ timeRange: "custom", startDate: entered.get("startDate"), endDate: entered.get("endDate") });
  }
  if (period === "custom") showDates();
  return form;
}

export function groupBy() {
  return select("By", [["day", "Day"], ["week", "Week"], ["month", "Month"]], get("groupBy", "day"), (value) =>
    change({ groupBy: value === "day" ? null : value }),
  );
}
