import { get, link, timeRange } from "./address.js";
import { call } from "./api.js";
import { name } from "./dom.js";
import { count, date, percent, windowText } from "./format.js";
import { anchor, chartCard, controls as timeControls, empty, groupBy, tableCard, tile, tiles, withPrevious } from "./parts.js";

export const controls = () => timeControls({ others: [groupBy()], hasComparison: true });

/** A day leads to what happened to its mail; a week or a month is only a date. */
function dateLink(value) {
  if (get("groupBy", "day") !== "day") return date(value);
  return anchor(link("deliverability", { timeRange: "custom", startDate: value, endDate: value }), date(value));
}

const SERIES = [
  { title: "Date", name: "date", value: (row) => row.date, show: dateLink, isText: true },
  ...[
    ["Sent", "sent"],
    ["Delivered", "delivered"],
    ["Opened", "opened"],
    ["Clicked", "clicked"],
    ["Replied", "replied"],
    ["Bounced", "bounced"],
    ["Spam complaints", "spam_complaints"],
  ].map(([title, field]) => ({ title, name: field, value: (row) => row[field], show: count })),
  ...[
    ["Open rate", "open_rate"],
    ["Without machines", "human_open_rate"],
    ["Click rate", "click_rate"],
    ["Reply rate", "reply_rate"],
    ["Bounce rate", "bounce_rate"],
  ].map(([title, field]) => ({ title, name: field, value: (row) => row[field], show: percent })),
];
const TOP = [
  { title: "Campaign", name: "campaign_name", value: (row) => row.campaign_name ?? row.campaign_id, show: (value, row) => anchor(link("campaign", { id: row.campaign_id }), name(value)), isText: true },
  { title: "Open rate", name: "open_rate", value: (row) => row.open_rate, show: percent },
  { title: "Reply rate", name: "reply_rate", value: (row) => row.reply_rate, show: percent },
];

export async function render() {
  const range = timeRange();
  const seriesQuery = { ...range, groupBy: get("groupBy") };
  const [{ data, meta, before }, series] = await Promise.all([
    withPrevious("workspace_overview", "/analytics/overview", range),
    call("/analytics/series", { query: seriesQuery }),
  ]);
  const { summary, rates, engagement_by_human: human } = data;
  const file = `overview-${data.time_range.start.slice(0, 10)}-${data.time_range.end.slice(0, 10)}`;
  const nodes = [controls()];
  if (!summary.emails_sent) {
    nodes.push(
      empty(
        "No mail was sent in this time range",
        `No message was sent in ${windowText(data.time_range)}. Choose a longer time range, or see what has been received so far.`,
        anchor(link("", { timeRange: "90d" }), "Last 90 days"),
        anchor(link("sources"), "What has been received"),
      ),
    );
    return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
  }
  const previous = (group, field) => before?.[group][field];
  nodes.push(
    tiles(
      `Numbers of ${windowText(data.time_range)}`,
      tile({ label: "Sent", value: count(summary.emails_sent), detail: `${count(summary.emails_delivered)} delivered`, now: summary.emails_sent, before: previous("summary", "emails_sent"), unit: "count" }),
      tile({ label: "Delivery rate", value: percent(rates.delivery_rate), detail: "of sent", now: rates.delivery_rate, before: previous("rates", "delivery_rate"), better: "higher" }),
      tile({ label: "Open rate", value: percent(rates.open_rate), detail: `${percent(human.open_rate)} without machines`, now: rates.open_rate, before: previous("rates", "open_rate"), better: "higher" }),
      tile({ label: "Click rate", value: percent(rates.click_rate), detail: `${percent(human.click_rate)} without machines`, now: rates.click_rate, before: previous("rates", "click_rate"), better: "higher" }),
      tile({ label: "Reply rate", value: percent(rates.reply_rate), detail: `${count(summary.emails_replied)} replies`, now: rates.reply_rate, before: previous("rates", "reply_rate"), better: "higher" }),
      tile({ label: "Campaigns", value: count(summary.total_campaigns), detail: `${count(summary.active_campaigns)} sending now` }),
    ),
    chartCard("workspace_series", "engagement", "/analytics/series", { query: seriesQuery }, {
      columns: SERIES,
      rows: series.data.time_series,
      file,
      note: "Every message counts on the day it was sent. The counts of the latest days still rise: people open and reply later. In the table, the date of a day is a link to its bounces, domains and mailboxes.",
    }),
    chartCard("workspace_series", "volume", "/analytics/series", { query: seriesQuery }, { columns: SERIES, rows: series.data.time_series, file: `${file}-mail` }),
    tableCard("Best campaigns", TOP, data.top_campaigns, {
      file: `${file}-best-campaigns`,
      note: "Ranked by the lower end of the 95 % interval of the reply rate, so that a campaign with few messages does not win by chance.",
      empty: "No campaign sent mail in this time range.",
    }),
  );
  return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
}
