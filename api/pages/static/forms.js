// Forms that send something, and say in their own place what came of it.

import { el, fill } from "./dom.js";
import { sentence } from "./format.js";
import { settings } from "./parts.js";

export const formatOptions = () => settings.exportFormats.map((key) => [key, key === "json" || key === "csv" ? key.toUpperCase() : sentence(key)]);

/** The control of a label. */
export function field(node) {
  return node.querySelector("select, input, textarea");
}

/** A form. `send` returns what to say after it: a text, or nodes. */
export function form(title, fields, button, send, { note } = {}) {
  const answer = el("p", { class: "note", role: "status" });
  const submit = el("button", { type: "submit", class: "primary" }, button);
  return el(
    "form",
    {
      class: "card",
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        answer.className = "note";
        answer.textContent = "Sending …";
        try {
          fill(answer, await send());
        } catch (error) {
          answer.className = "notice";
          const details = Object.entries(error.details ?? {}).map(([key, texts]) => `${key}: ${texts.join(" ")}`);
          fill(answer, error.message, details.length ? ` ${details.join(" ")}` : "");
        } finally {
          submit.disabled = false;
        }
      },
    },
    el("h2", {}, title),
    note && el("p", { class: "note" }, note),
    el("div", { class: "controls inline" }, fields, submit),
    answer,
  );
}
