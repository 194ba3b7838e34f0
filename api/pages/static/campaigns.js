import { change, get, link, timeRange } from "./address.js";
import { call } from "./api.js";
import { el, name, select } from "./dom.js";
import { count, date, percent, sentence } from "./format.js";
import { anchor, controls as timeControls, empty, settings } from "./parts.js";
import { csvButton, table } from "./table.js";

const SORTS = [
  ["emails_sent", "Sent"],
  ["open_rate", "Open rate"],
  ["click_rate", "Click rate"],
  ["reply_rate", "Reply rate"],
  ["bounce_rate", "Bounce rate"],
  ["last_sent_on", "Last sent"],
  ["campaign_name", "Name"],
];

function hasList() {
  return Object.values(settings.endpoints).some((endpoint) => endpoint.path === "/campaigns" && endpoint.method === "get");
}

export const controls = () =>
  timeControls({
    others: hasList()
      ? [
          select("Sorted by", SORTS, get("sort", "emails_sent"), (value) => change({ sort: value, cursor: null })),
          select("Order", [["desc", "Highest first"], ["asc", "Lowest first"]], get("order", "desc"), (value) => change({ order: value, cursor: null })),
          search(),
        ]
      : [],
  });

function search() {
  const field = el("input", { type: "search", value: get("search"), maxlength: 100, onchange: (event) => change({ search: event.target.value.trim(), cursor: null }) });
  return el("label", { class: "field" }, el("span", {}, "Name or id contains"), field);
}

const NAME = {
  title: "Campaign",
  name: "campaign_name",
  isText: true,
  isCell: true,
  value: (row) => row.campaign_name ?? row.campaign_id,
  show: (value, row) => anchor(link("campaign", { id: row.campaign_id }), name(value)),
};
const CHOOSE = {
  title: "Compare",
  isText: true,
  isCell: true,
  isCheck: true,
  value: (row) => row.campaign_id,
  show: (value, row) => el("input", { type: "checkbox", name: "id", value, "aria-label": `Compare ${String(row.campaign_name ?? value).slice(0, 120)}` }),
};
const summary = (title, field) => ({ title, name: field, value: (row) => row.summary[field], show: count });
// a campaign without mail has no rates
const rate = (title, field) => ({ title, name: field, value: (row) => row.rates[field], show: (value, row) => percent(row.summary.emails_sent ? value : null) });
const WHOLE = [
  NAME,
  { title: "Status", name: "campaign_status", isText: true, value: (row) => row.campaign_status, show: (value) => (value ? sentence(value) : "–") },
  { title: "Last sent", name: "last_sent_on", isText: true, isDate: true, value: (row) => row.last_sent_on, show: date },
  summary("Sent", "emails_sent"),
  rate("Delivered", "delivery_rate"),
  rate("Opened", "open_rate"),
  rate("Clicked", "click_rate"),
  rate("Replied", "reply_rate"),
  rate("Bounced", "bounce_rate"),
];
const BEST = [NAME, { title: "Open rate", name: "open_rate", value: (row) => row.open_rate, show: percent }, { title: "Reply rate", name: "reply_rate", value: (row) => row.reply_rate, show: percent }];

export async function render() {
  const range = timeRange();
  const { data, meta } = hasList()
    ? await call("/campaigns", { query: { ...range, sort: get("sort"), order: get("order"), search: get("search"), cursor: get("cursor"), limit: 50 } })
    : await call("/analytics/overview", { query: range });
  const rows = hasList() ? data.campaigns : data.top_campaigns;
  const columns = hasList() ? WHOLE : BEST;
  const nodes = [controls()];
  if (!rows.length) {
    nodes.push(
      get("search")
        ? empty("No campaign matches", `No name or id contains “${get("search")}”.`, anchor(link("campaigns"), "All campaigns"))
        : empty("No campaign sent mail in this time range", "Choose a longer time range, or see what has been received so far.", anchor(link("campaigns", { timeRange: "90d" }), "Last 90 days"), anchor(link("sources"), "What has been received")),
    );
    return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
  }
  const form = el(
    "form",
    {
      class: "card",
      onsubmit: (event) => {
        event.preventDefault();
        const chosen = new FormData(form).getAll("id");
        if (chosen.length < 2 || chosen.length > 10) {
          note.textContent = "Choose 2 to 10 campaigns.";
          return;
        }
        location.assign(link("compare", { id: chosen }));
      },
    },
  );
  const note = el("span", { class: "note", role: "status" });
  form.append(
    el("div", { class: "card-head" }, el("h2", {}, hasList() ? "All campaigns" : "Best campaigns"), csvButton("campaigns", columns, rows)),
    hasList() ? "" : el("p", { class: "note" }, "The five best of this time range, by the lower end of the 95 % interval of their reply rate. Any other campaign opens by its id."),
    hasList() ? "" : openById(),
    table(hasList() ? "All campaigns" : "Best campaigns", [CHOOSE, ...columns], rows),
    el("p", { class: "links" }, el("button", { type: "submit" }, "Compare the chosen ones"), " ", note),
  );
  nodes.push(form);
  if (data.next_cursor) nodes.push(el("p", { class: "links" }, el("button", { type: "button", onclick: () => change({ cursor: data.next_cursor }) }, "Next page")));
  return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
}

function openById() {
  const field = el("input", { type: "text", maxlength: 400 });
  return el(
    "p",
    { class: "controls inline" },
    el("label", { class: "field" }, el("span", {}, "Campaign id"), field),
    el("button", { type: "button", onclick: () => field.value.trim() && location.assign(link("campaign", { id: field.value.trim() })) }, "Open"),
  );
}
