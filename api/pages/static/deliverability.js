import { change, get, link, timeRange } from "./address.js";
import { call } from "./api.js";
import { el, name } from "./dom.js";
import { count, date, moment, number, percent, share } from "./format.js";
import { anchor, card, chartCard, controls as timeControls, empty, settings, tableCard, tile, tiles } from "./parts.js";

const PATH = "/analytics/deliverability";
const MAX_DOMAINS = 5;
const parameters = () => settings.endpoints.deliverability?.parameters ?? {};

export const controls = () => {
  const choices = parameters().timeRange ?? [];
  return timeControls({ periods: choices.length ? choices : undefined, others: [filter("Sending domain (id)", "domainId"), filter("Campaign (id)", "campaignId")] });
};

function filter(label, field) {
  return el("label", { class: "field" }, el("span", {}, label), el("input", { type: "text", value: get(field), maxlength: 400, placeholder: "all", onchange: (event) => change({ [field]: event.target.value.trim() }) }));
}

const REASONS = [
  { title: "Reason", name: "reason", isText: true, value: (row) => row.reason },
  { title: "Bounces", name: "count", value: (row) => row.count, show: count },
  { title: "Share of all bounces", name: "percentage", value: (row) => row.percentage, show: share },
];
const TREND = [
  { title: "Date", name: "date", isText: true, value: (row) => row.date, show: date },
  { title: "Health score", name: "score", value: (row) => row.score, show: count },
];
/** What a health score asks for. */
const verdictOf = (score) => (score === null ? "No mail in the last 30 days" : score >= 80 ? "Good" : score >= 60 ? "Watch it" : "Act now");
const HEALTH = [
  { title: "Mailbox", name: "email", isText: true, value: (row) => row.email ?? row.mailbox_id, show: (value) => name(value) },
  { title: "Verdict", name: "verdict", isText: true, value: (row) => verdictOf(row.health_score), show: (value) => (value === "Act now" ? el("strong", { class: "bad" }, "Rest it") : value) },
  { title: "Health score", name: "health_score", value: (row) => row.health_score, show: count },
  { title: "Change", name: "health_score_change", value: (row) => row.health_score_change, show: (value) => (value > 0 ? `+${number(value)}` : number(value)) },
  { title: "Sent in 30 days", name: "sent_last_30_days", value: (row) => row.sent_last_30_days, show: count },
  ...[
    ["Hard bounces", "hard_bounce"],
    ["Complaints", "spam_complaint"],
    ["Unsubscribes", "unsubscribe"],
    ["Drop of mail", "drop_of_sent"],
  ].map(([title, factor]) => ({ title, name: `${factor}_cost`, value: (row) => row.factors[`${factor}_cost`], show: (value) => (value ? `−${number(value)}` : "0") })),
];

const summary = (title, field) => ({ title, name: field, value: (row) => row.summary[field], show: count });
const rate = (title, field) => ({ title, name: field, value: (row) => row.rates[field], show: percent });
const DOMAINS = [
  { title: "Sending domain", name: "domain", isText: true, value: (row) => row.domain ?? row.domain_id, show: (value, row) => anchor(link("deliverability", { domainId: row.domain_id }), name(value)) },
  summary("Sent", "emails_sent"),
  rate("Delivered", "delivery_rate"),
  rate("Bounced", "bounce_rate"),
  rate("Spam", "spam_rate"),
  rate("Opened", "open_rate"),
];

function has(path) {
  return Object.values(settings.endpoints).some((endpoint) => endpoint.path === path && endpoint.method === "get");
}

/** The domains whose addresses are on a blacklist. Each is a request, so this is for a few domains only. */
async function listedDomains(query, domains) {
  if (domains.length > MAX_DOMAINS) return [];
  const answers = await Promise.all(domains.map((row) => call(PATH, { query: { ...query, domainId: row.domain_id } }).catch(() => null)));
  return domains.filter((row, index) => answers[index]?.data.blacklist_status.any_ip_blacklisted);
}

export async function render() {
  const query = { ...timeRange(), campaignId: get("campaignId"), domainId: get("domainId") };
  const [{ data, meta }, health, domains] = await Promise.all([
    call(PATH, { query }),
    has("/mailboxes/health") ? call("/mailboxes/health", { query: { ...query, limit: 50 } }) : null,
    has("/domains") && !query.domainId ? call("/domains", { query: { ...timeRange(), campaignId: query.campaignId, limit: 50 } }) : null,
  ]);
  const { overall, bounce_analysis: bounces, blacklist_status: lists } = data;
  const score = overall.health_score;
  const verdict = verdictOf(score);
  const listed = lists.any_ip_blacklisted && domains ? await listedDomains(query, domains.data.domains) : [];
  const file = `deliverability-${data.time_range.start.slice(0, 10)}-${data.time_range.end.slice(0, 10)}`;
  const hasMail = overall.estimated_inbox_placement_rate > 0 || overall.bounce_rate > 0 || overall.spam_rate > 0;
  const shown = (value) => (hasMail ? percent(value) : "–");
  const nodes = [
    controls(),
    tiles(
      "Deliverability",
      tile({ label: "Health score", value: score === null ? "–" : `${count(score)} of 100`, detail: verdict }),
      tile({ label: "Inbox placement", value: shown(overall.estimated_inbox_placement_rate), detail: "estimated: sent without bounces and complaints" }),
      tile({ label: "Bounce rate", value: shown(overall.bounce_rate), detail: `${count(bounces.hard_bounces)} hard, ${count(bounces.soft_bounces)} soft` }),
      tile({ label: "Hard bounce rate", value: shown(bounces.hard_bounce_rate), detail: bounces.hard_bounce_rate > 2 ? "above 2 %, where providers react" : "providers react above 2 %", isBad: bounces.hard_bounce_rate > 2 }),
      tile({ label: "Spam rate", value: shown(overall.spam_rate), detail: overall.spam_rate > 0.3 ? "above Gmail's limit of 0.3 %" : "Gmail's limit is 0.3 %", isBad: overall.spam_rate > 0.3 }),
    ),
    card(
      "Blacklists",
      el(
        "p",
        { class: lists.any_ip_blacklisted ? "notice" : "" },
        lists.ips_checked === 0
          ? "No sending address is known, so none was checked. They come from the tables smtp_ip_addresses and domain_ip_assignments."
          : lists.ips_checked === 1
          ? `The sending address ${lists.any_ip_blacklisted ? "is on a blacklist. Rest its domains until it is removed." : "is on no blacklist."}`
          : lists.any_ip_blacklisted
            ? `At least one of ${count(lists.ips_checked)} sending addresses is on a blacklist. Rest its domains until it is removed.`
            : `None of ${count(lists.ips_checked)} sending addresses is on a blacklist.`,
        listed.length ? [" It sends for ", listed.map((row, index) => [index ? ", " : "", anchor(link("deliverability", { domainId: row.domain_id }), name(row.domain ?? row.domain_id))]), "."] : "",
        lists.last_check ? ` Last check: ${moment(lists.last_check, get("timezone"))}.` : "",
      ),
    ),
    data.reputation_trend.length
      ? chartCard("deliverability", "health", PATH, { query }, {
          columns: TREND,
          rows: data.reputation_trend,
          file: `${file}-health`,
          note: "100 is good. Hard bounces and complaints cost most, then unsubscribes and a sudden drop of mail.",
        })
      : empty("There is no health score yet", "A mailbox has one when it has sent mail in the last 30 days.", anchor(link("sources"), "What has been received")),
    domains
      ? tableCard("Sending domains", DOMAINS, domains.data.domains, { file: `${file}-domains`, note: "Open one to see its own numbers: a blacklist or a bad mailbox mostly hits one domain.", empty: "No domain sent mail in this time range." })
      : get("domainId")
        ? el("p", {}, anchor(link("deliverability"), "All sending domains"))
        : null,
    health
      ? tableCard("Mailboxes, the worst first", HEALTH, health.data.mailboxes, { file: `${file}-mailboxes`, note: "Rest a mailbox below 60: send nothing from it for some days, then little. The last four columns are the points that each factor takes off 100.", empty: "No mailbox has a score." })
      : null,
    bounces.top_bounce_reasons.length
      ? chartCard("deliverability", "bounce_reasons", PATH, { query }, { columns: REASONS, rows: bounces.top_bounce_reasons, file: `${file}-bounces`, isOpen: true })
      : card("Why mail bounced", el("p", { class: "empty-line" }, "Nothing bounced in this time range.")),
  ];
  return { nodes, range: data.time_range, dataAsOf: meta.data_as_of };
}
