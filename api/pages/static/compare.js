import { change, getAll, link, timeRangeOfBody } from "./address.js";
import { call } from "./api.js";
import { el, name } from "./dom.js";
import { count, number, percent, points, sentence, words } from "./format.js";
import { anchor, card, chartCard, controls as timeControls, empty, tableCard } from "./parts.js";

const PATH = "/analytics/compare";
const LOWER_IS_BETTER = ["bounce_rate", "spam_rate", "unsubscribe_rate"];
const METRICS = ["open_rate", "click_rate", "reply_rate", "delivery_rate", "bounce_rate", "unsubscribe_rate", "spam_rate"];

/** With the ids, so that a wrong one can be replaced. */
export const controls = () => el("div", { class: "stack" }, timeControls(), chooser(getAll("id")));

function chooser(ids) {
  const field = el("textarea", { rows: Math.max(3, ids.length), spellcheck: "false" });
  field.value = ids.join("\n");
  return el(
    "form",
    {
      class: "card",
      onsubmit: (event) => {
        event.preventDefault();
        change({ id: [...new Set(field.value.split(/[\n,]/).map((text) => text.trim()).filter(Boolean))] });
      },
    },
    el("label", { class: "field wide" }, el("span", {}, "Campaign ids, one a line (2 to 10)"), field),
    el("p", { class: "links" }, el("button", { type: "submit" }, "Compare"), anchor(link("campaigns"), "Choose from the list")),
  );
}

function verdict(row, names) {
  const metric = words(row.metric);
  const better = LOWER_IS_BETTER.includes(row.metric) ? "lower" : "higher";
  const chance = row.p_value === null ? "" : row.p_value < 0.001 ? " (p below 0.001)" : ` (p = ${number(Math.round(row.p_value * 1000) / 1000)})`;
  const interval = row.lead && row.lead.low !== null ? `, between ${number(row.lead.low)} and ${number(row.lead.high)} points` : "";
  const ahead = row.lead && row.lead.difference !== null ? ` by ${points(Math.abs(row.lead.difference)).replace("+", "")}` : "";
  if (row.winner !== null) return ["good", [name(names.get(row.winner)), ` is better: its ${metric} is ${better}${ahead}${interval}. This is hardly chance${chance}.`]];
  if (row.leading === null) return ["", ["No campaign is ahead."]];
  const needed = row.needed_sample_size ? ` With about ${count(row.needed_sample_size)} messages a campaign, such a difference would show.` : "";
  if (row.p_value === null) return ["", [name(names.get(row.leading)), ` is ahead${ahead}, but there is too little mail to say anything.${needed}`]];
  return ["", [name(names.get(row.leading)), ` is ahead${ahead}. That can be chance${chance}.${needed}`]];
}

/** All rates in a sentence: which campaign to take, as far as the numbers say. */
function summary(rows, names) {
  const clear = rows.filter((row) => row.winner !== null);
  if (!clear.length) return "No rate differs by more than chance would explain. Take either, or send more mail first.";
  const winners = [...new Set(clear.map((row) => row.winner))];
  const parts = winners.map((winner, index) => {
    const rates = clear.filter((row) => row.winner === winner).map((row) => words(row.metric));
    return [index ? "; " : "", name(names.get(winner)), ` is better in ${rates.join(", ")}`];
  });
  return [parts, winners.length === 1 ? ". No other rate differs by more than chance would explain." : ". Decide by the rate that matters to you."];
}

export async function render() {
  const ids = getAll("id");
  const nodes = [controls()];
  if (ids.length < 2) {
    nodes.push(empty("Choose at least two campaigns", "Write their ids above, or choose them in the list of campaigns.", anchor(link("campaigns"), "Campaigns")));
    return { nodes };
  }
  const body = { campaign_ids: ids, ...timeRangeOfBody(), metrics: METRICS };
  const { data, meta } = await call(PATH, { method: "POST", body });
  if (data.confidence_intervals.every((row) => !row.trials)) {
    nodes.push(
      empty(
        "These campaigns sent no mail in this time range",
        "There is nothing to compare. Choose a longer time range, or other campaigns.",
        anchor(link("compare", { id: ids, timeRange: "90d" }), "Last 90 days"),
        anchor(link("campaigns"), "Campaigns"),
      ),
    );
    return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
  }
  const names = new Map(data.comparison.map((row) => [row.campaign_id, row.campaign_name ?? row.campaign_id]));
  const rates = [
    { title: "Campaign", name: "campaign_name", isText: true, value: (row) => row.campaign_name ?? row.campaign_id, show: (value, row) => anchor(link("campaign", { id: row.campaign_id }), name(value)) },
    ...METRICS.map((metric) => ({ title: words(metric).replace(" rate", "").replace(/^./, (first) => first.toUpperCase()), name: metric, value: (row) => row.metrics[metric], show: percent })),
  ];
  const intervals = [
    { title: "Rate", name: "metric", isText: true, value: (row) => row.metric, show: words },
    { title: "Campaign", name: "campaign_id", isText: true, value: (row) => row.campaign_id, show: (value) => name(names.get(value) ?? value) },
    { title: "Messages", name: "successes", value: (row) => row.successes, show: count },
    { title: "Of", name: "trials", value: (row) => row.trials, show: count },
    { title: "At least", name: "low", value: (row) => row.low, show: percent },
    { title: "At most", name: "high", value: (row) => row.high, show: percent },
  ];
  nodes.push(
    card(
      "What the comparison says",
      el("p", {}, summary(data.statistical_significance, names)),
      el(
        "ul",
        { class: "verdicts" },
        data.statistical_significance.map((row) => {
          const [mood, text] = verdict(row, names);
          return el("li", { class: mood, "data-metric": row.metric }, el("strong", {}, sentence(row.metric)), el("span", {}, text));
        }),
      ),
    ),
    tableCard("Rates", rates, data.comparison, { file: "comparison", empty: "" }),
    chartCard("compare_campaigns", "intervals", PATH, { method: "POST", body }, {
      columns: intervals,
      rows: data.confidence_intervals,
      file: "comparison-intervals",
      note: "Each bar is the 95 % interval of the rate. If two bars overlap much, the difference may be chance.",
    }),
  );
  return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
}
