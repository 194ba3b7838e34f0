// The view that a page shows is in its address, so that the address is a link to it.

export const PERIODS = [
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
  ["90d", "Last 90 days"],
  ["custom", "From … to …"],
];

/** The parameters of the address. */
export function parameters() {
  return new URLSearchParams(location.search);
}

export function get(name, otherwise = "") {
  return parameters().get(name) ?? otherwise;
}

export function getAll(name) {
  return parameters().getAll(name).filter(Boolean);
}

/** The query of the time range, as the API takes it. */
export function timeRange() {
  const period = get("timeRange", "30d");
  return period === "custom"
    ? { timeRange: period, startDate: get("startDate"), endDate: get("endDate") }
    : { timeRange: period };
}

/** The same for a body. */
export function timeRangeOfBody() {
  const { timeRange: period, startDate, endDate } = timeRange();
  return period === "custom" ? { time_range: period, start_date: startDate, end_date: endDate } : { time_range: period };
}

/** Goes to the same page with other parameters; a value of null removes one. */
export function change(changes) {
  const next = parameters();
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const item of Array.isArray(value) ? value : [value]) if (item !== null && item !== "") next.append(name, item);
  }
  const text = next.toString();
  history.pushState(null, "", text ? `?${text}` : location.pathname);
  dispatchEvent(new Event("addresschange"));
}

/** A link to a page that keeps the time range, the zone and the comparison. */
export function link(page, own = {}) {
  const next = new URLSearchParams();
  // a link with a time range of its own has no dates of another one
  const range = "timeRange" in own ? [] : ["timeRange", "startDate", "endDate"];
  for (const name of [...range, "timezone", "compare"]) {
    const value = get(name);
    if (value) next.set(name, value);
  }
  for (const [name, value] of Object.entries(own)) for (const item of [value].flat()) next.append(name, item);
  const text = next.toString();
  return `./${page}${text ? `?${text}` : ""}`;
}

/** The window before one of the API's: as many dates, ending the day before. */
export function previousWindow(range) {
  const days = 86_400_000;
  const start = Date.parse(`${range.start.slice(0, 10)}T00:00:00Z`);
  const end = Date.parse(`${range.end.slice(0, 10)}T00:00:00Z`);
  const dates = Math.round((end - start) / days) + 1;
  const iso = (time) => new Date(time).toISOString().slice(0, 10);
  return { timeRange: "custom", startDate: iso(start - dates * days), endDate: iso(start - days) };
}
