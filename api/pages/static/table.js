// Tables, and the same rows as a file.

import { el } from "./dom.js";

/** A table of rows. A column: {title, value(row), show(value, row), isText, name}; numbers are to the right. `isLong`: sentences. */
export function table(caption, columns, rows) {
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", { class: "visually-hidden" }, caption),
      el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col", class: column.isCheck ? "check" : column.isText ? null : "number" }, column.title)))),
      el(
        "tbody",
        {},
        rows.map((row) =>
          el(
            "tr",
            {},
            columns.map((column, index) => {
              const value = column.value(row);
              const shown = column.show ? column.show(value, row) : String(value ?? "–");
              return index === 0 && !column.isCell
                ? el("th", { scope: "row", class: column.isText ? "text" : "number" }, shown)
                : el("td", { class: column.isDate ? null : column.isLong ? "text long" : column.isText ? "text" : "number" }, shown);
            }),
          ),
        ),
      ),
    ),
  );
}

function cell(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  // a spreadsheet would run a text that begins like this as a formula
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The rows as CSV, as the API sent them. */
export function csv(columns, rows) {
  const lines = [columns.map((column) => cell(column.name ?? column.title)), ...rows.map((row) => columns.map((column) => cell(column.value(row))))];
  return `${lines.map((line) => line.join(",")).join("\r\n")}\r\n`;
}

/** A button that saves the rows as a file. */
export function csvButton(fileName, columns, rows) {
  return el(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-label": `Download ${fileName} as CSV`,
      onclick: () => {
        const url = URL.createObjectURL(new Blob([csv(columns, rows)], { type: "text/csv" }));
        el("a", { href: url, download: `${fileName}.csv` }).click();
        setTimeout(() => URL.revokeObjectURL(url), 1000);
      },
    },
    "CSV",
  );
}
