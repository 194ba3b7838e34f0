import { get, link, timeRange } from "./address.js";
import { name } from "./dom.js";
import { count, date, percent, windowText } from "./format.js";
import { anchor, chartCard, controls as timeControls, empty, groupBy, tableCard, tile, tiles, withPrevious } from "./parts.js";

export const controls = () => timeControls({ others: [groupBy()], hasComparison: true });

const SERIES = [
  { title: "Date", name: "date", value: (row) => row.date, show: date, isText: true },
  ...[
    ["Sent", "sent"],
    ["Delivered", "delivered"],
    ["Opened", "opened"],
    ["Clicked", "clicked"],
    ["Replied", "replied"],
    ["Bounced", "bounced"],
    ["Spam complaints", "spam_complaints"],
  ].map(([title, field]) => ({ title, name: field, value: (row) => row[field], show: count })),
];
const STEPS = [
  { title: "Step", name: "step", value: (row) => row.step, isText: true },
  { title: "Messages", name: "messages", value: (row) => row.messages, show: count },
  { title: "Share", name: "share", value: (row) => row.share, show: (value, row) => (row.of ? `${percent(value)} of ${row.of}` : "–") },
];
const ENGAGEMENT = [
  { title: "Measure", name: "measure", value: (row) => row.measure, isText: true },
  { title: "All", name: "all", value: (row) => row.all, show: (value, row) => row.show(value) },
  { title: "Without machines", name: "without_machines", value: (row) => row.human, show: (value, row) => row.show(value) },
];

export async function render() {
  const id = get("id");
  if (!id) return { nodes: [empty("No campaign is chosen", "Open one from the list of campaigns.", anchor(link("campaigns"), "Campaigns"))] };
  const path = `/campaigns/${encodeURIComponent(id)}/analytics`;
  const query = { ...timeRange(), groupBy: get("groupBy") };
  const { data, meta, before } = await withPrevious("campaign_analytics", path, query);
  const { summary, rates, engagement_by_human: human } = data;
  const file = `campaign-${data.time_range.start.slice(0, 10)}-${data.time_range.end.slice(0, 10)}`;
  const nodes = [controls()];
  const title = name(data.campaign_name ?? data.campaign_id, 160);
  if (!summary.emails_sent) {
    nodes.push(
      empty("This campaign sent nothing in this time range", `No message was sent in ${windowText(data.time_range)}.`, anchor(link("campaign", { id, timeRange: "90d" }), "Last 90 days"), anchor(link("sources"), "What has been received")),
    );
    return { nodes, title, range: data.time_range, dataAsOf: meta.data_as_of };
  }
  const rate = (label, field, detail, better) => tile({ label, value: percent(rates[field]), detail, now: rates[field], before: before?.summary.emails_sent ? before.rates[field] : null, better });
  const steps = [
    { step: "Sent", messages: summary.emails_sent, share: null, of: "" },
    { step: "Delivered", messages: summary.emails_delivered, share: rates.delivery_rate, of: "sent" },
    { step: "Opened", messages: summary.emails_opened, share: rates.open_rate, of: "delivered" },
    { step: "Clicked", messages: summary.emails_clicked, share: rates.click_rate, of: "delivered" },
    { step: "Replied", messages: summary.emails_replied, share: rates.reply_rate, of: "delivered" },
  ];
  nodes.push(
    tiles(
      `Numbers of ${windowText(data.time_range)}`,
      tile({ label: "Sent", value: count(summary.emails_sent), detail: `${count(summary.emails_delivered)} delivered`, now: summary.emails_sent, before: before?.summary.emails_sent, unit: "count" }),
      rate("Open rate", "open_rate", `${percent(human.open_rate)} without machines`, "higher"),
      rate("Click rate", "click_rate", `${percent(rates.click_to_open_rate)} of those opened`, "higher"),
      rate("Reply rate", "reply_rate", `${count(summary.emails_replied)} replies`, "higher"),
      rate("Bounce rate", "bounce_rate", `${count(summary.emails_bounced)} bounces`, "lower"),
      rate("Unsubscribe rate", "unsubscribe_rate", `${count(summary.unsubscribes)} unsubscribed`, "lower"),
      rate("Spam rate", "spam_rate", `${count(summary.spam_complaints)} complaints`, "lower"),
    ),
    chartCard("campaign_analytics", "funnel", path, { query }, { columns: STEPS, rows: steps, file: `${file}-funnel`, isOpen: true }),
    chartCard("campaign_analytics", "engagement", path, { query }, {
      columns: SERIES,
      rows: data.time_series,
      file: `${file}-series`,
      note: "Every message counts on the day it was sent. The counts of the latest days still rise: people open and reply later.",
    }),
    tableCard(
      "People and machines",
      ENGAGEMENT,
      [
        { measure: "Opened", all: summary.emails_opened, human: human.emails_opened, show: count },
        { measure: "Open rate", all: rates.open_rate, human: human.open_rate, show: percent },
        { measure: "Clicked", all: summary.emails_clicked, human: human.emails_clicked, show: count },
        { measure: "Click rate", all: rates.click_rate, human: human.click_rate, show: percent },
      ],
      {
        file: `${file}-machines`,
        note:
          human.coverage === null
            ? "Mail programs and scanners open mail by themselves. No provider of this mail says which opens are by machines, so both columns are equal."
            : `Mail programs and scanners open mail by themselves. For ${percent(human.coverage)} of the opens and clicks, the provider says whether a machine made them; all others count as a person's.`,
      },
    ),
  );
  return { nodes, title, range: data.time_range, dataAsOf: meta.data_as_of };
}
