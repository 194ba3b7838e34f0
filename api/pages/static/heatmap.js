import { change, get, link, timeRange } from "./address.js";
import { call } from "./api.js";
import { el, select } from "./dom.js";
import { count, number, percent, sentence } from "./format.js";
import { anchor, card, chartCard, controls as timeControls, empty, settings } from "./parts.js";

const PATH = "/analytics/engagement-heatmap";

function zones() {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const all = Intl.supportedValuesOf ? Intl.supportedValuesOf("timeZone") : [];
  return [["", "Of the workspace"], ...[...new Set([get("timezone"), own, "UTC", ...all])].filter(Boolean)];
}

export const controls = () => {
  const choices = settings.endpoints.engagement_heatmap?.parameters.timeRange ?? [];
  return timeControls({
    periods: choices.length ? choices : undefined,
    others: [
      select("Cells", [["period", "Four periods a day"], ["hour", "Every hour"]], get("granularity", "period"), (value) => change({ granularity: value === "period" ? null : value })),
      select("Time zone", zones(), get("timezone"), (value) => change({ timezone: value })),
      el("label", { class: "field" }, el("span", {}, "Campaign (id)"), el("input", { type: "text", value: get("campaignId"), maxlength: 400, placeholder: "all", onchange: (event) => change({ campaignId: event.target.value.trim() }) })),
    ],
  });
};

const HOURS = new Intl.DateTimeFormat(navigator.language || "en", { hour: "numeric", timeZone: "UTC" });
const clock = (hour) => HOURS.format(new Date(Date.UTC(2020, 0, 1, hour)));
const PERIODS = { nighttime: "Night (0 to 6)", early_morning: "Early morning (6 to 9)", office_hours: "Office hours (9 to 17)", evening: "Evening (17 to 24)" };

export async function render() {
  const granularity = get("granularity", "period");
  const query = { ...timeRange(), campaignId: get("campaignId"), timezone: get("timezone"), granularity };
  const { data, meta } = await call(PATH, { query });
  const rows = data.heatmap;
  const best = data.optimal_send_time;
  const columns = [
    { title: "Day", name: "day_of_week", isText: true, value: (row) => row.day_of_week },
    granularity === "hour"
      ? { title: "Hour", name: "hour", isText: true, value: (row) => row.hour, show: clock }
      : { title: "Time", name: "time_period", isText: true, value: (row) => row.time_period, show: (value) => PERIODS[value] ?? sentence(value) },
    { title: "Sent", name: "emails_sent", value: (row) => row.emails_sent, show: count },
    { title: "Opened", name: "emails_opened", value: (row) => row.emails_opened, show: count },
    { title: "Open rate", name: "open_rate", value: (row) => row.open_rate, show: percent },
    { title: "Engagement score", name: "engagement_score", value: (row) => row.engagement_score, show: number },
  ];
  const nodes = [controls()];
  if (!rows.some((row) => row.emails_sent)) {
    nodes.push(empty("No mail was sent in this time range", "Choose a longer time range, or see what has been received so far.", anchor(link("heatmap", { timeRange: "90d" }), "Last 90 days"), anchor(link("sources"), "What has been received")));
    return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
  }
  const reasons = {
    NO_DIFFERENCE: "No hour of the week is better than the others beyond chance. Send when it suits you.",
    TOO_LITTLE_DATA: "There is too little mail to say which hour is best. Choose a longer time range, or wait for more mail.",
  };
  nodes.push(
    card(
      "Best time to send",
      best
        ? el(
            "div",
            {},
            el("p", { class: "answer" }, `${best.day_of_week}, ${clock(best.hour)} to ${clock((best.hour + 1) % 24)}`),
            el(
              "p",
              {},
              `The engagement score is expected to be ${number(best.estimated_score)} there, between ${number(best.low)} and ${number(best.high)}; that is ${number(best.lift)} % more than in all mail. ${count(best.emails_sent)} messages were sent in that hour.`,
            ),
          )
        : el("p", { class: "answer" }, reasons[data.optimal_send_time_reason] ?? "There is no best hour."),
      el("p", { class: "note" }, `Local times of ${data.timezone}.`),
    ),
    chartCard("engagement_heatmap", granularity === "hour" ? "by_hour" : "by_period", PATH, { query }, {
      columns,
      rows,
      file: `heatmap-${granularity}`,
      note: "Five shades with equal numbers of cells: the darkest (in dark mode, the brightest) has the highest engagement score, which weighs opens, clicks and replies. Cells with little mail differ by chance.",
    }),
  );
  return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
}
