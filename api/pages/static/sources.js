import { get, timeRange } from "./address.js";
import { call } from "./api.js";
import { el, name } from "./dom.js";
import { count, moment, sentence } from "./format.js";
import { card, controls as timeControls, tableCard } from "./parts.js";

export const controls = () => timeControls();

const zone = () => get("timezone");
const time = (title, field) => ({ title, name: field, isText: true, isDate: true, value: (row) => row[field], show: (value) => moment(value, zone()) });
const text = (title, field, show = (value) => (value === null || value === undefined ? "–" : name(value, 300))) => ({ title, name: field, isText: true, value: (row) => row[field], show });
const long = (title, field) => ({ ...text(title, field), isLong: true });
const amount = (title, field) => ({ title, name: field, value: (row) => row[field], show: count });

const SOURCES = [
  text("Provider", "provider"),
  text("Name", "name"),
  text("Status", "status", sentence),
  text("Signed", "is_signed", (value) => (value === null ? "–" : value ? "Yes" : "No")),
  amount("Bodies", "bodies"),
  amount("Rejected", "bodies_rejected"),
  amount("Wrong signatures", "signature_failures"),
  time("Last body", "last_body_at"),
  long("Last rejection", "last_rejection"),
  long("What to do", "advice"),
];
const EVENTS = [text("Provider", "provider"), text("Event", "event_type", sentence), amount("Events", "events"), time("Last happened", "last_occurred_at"), time("Last loaded", "last_loaded_at")];
const REJECTED = [text("Problem", "problem", sentence), text("Provider", "provider"), amount("Events", "events"), time("Last loaded", "last_loaded_at"), long("What to do", "advice")];
const QUALITY = [text("Problem", "problem", sentence), text("Provider", "provider"), amount("Events", "events"), time("First", "first_loaded_at"), time("Last", "last_loaded_at"), long("What to do", "advice")];
const LEFT_OUT = [text("Reason", "reason", sentence), text("Provider", "provider"), amount("Events", "events"), time("Last", "last_loaded_at")];

export async function render() {
  const [received, quality, fresh] = await Promise.all([
    call("/analytics/sources", { query: timeRange() }),
    call("/analytics/data-quality"),
    call("/analytics/freshness"),
  ]);
  const { data } = fresh;
  const last = data.last_batch;
  const nodes = [
    controls(),
    card(
      "How fresh the numbers are",
      el(
        "p",
        { class: data.is_late ? "notice" : "answer small" },
        `All numbers include what was loaded up to ${moment(data.data_through, zone())}. `,
        data.is_late ? `Newer data should be there since ${moment(data.late_after, zone())}.` : `Newer data is due by ${moment(data.late_after, zone())}.`,
      ),
      el(
        "p",
        { class: "note" },
        `The last build, number ${last.batch_id}, ${last.status === "published" ? "was published" : `is ${sentence(last.status).toLowerCase()}`}; it began ${moment(last.started_at, zone())}. `,
        data.build_interval_seconds === null ? "New mail is built once a day." : `New mail is built every ${count(data.build_interval_seconds)} seconds.`,
      ),
    ),
    tableCard("Sources of mail events", SOURCES, received.data.sources, {
      file: "sources",
      note: "Bodies are counted as they arrive. Their events are in the numbers after the next build.",
      empty: "Nothing has been received yet. The operator creates a source with the command mailmart sources create, and pastes its URL into the mail provider's settings.",
    }),
    tableCard("Events received in this time range", EVENTS, received.data.events, { file: "events", empty: "No event of this time range was received. Check the sources above, or choose a longer time range." }),
    tableCard("Rejected in this time range", REJECTED, received.data.rejected, { file: "rejected", empty: "Nothing was rejected." }),
    tableCard("Problems of all data", QUALITY, quality.data.problems, { file: "data-quality", note: "Everything that was received and does not count, from all time.", empty: "There is no problem." }),
    tableCard("Left out on purpose", LEFT_OUT, quality.data.left_out, { file: "left-out", note: "Events that are not about a message, or that repeat another event.", empty: "Nothing was left out." }),
  ];
  return { nodes, range: received.data.time_range, dataAsOf: fresh.meta.data_as_of };
}
