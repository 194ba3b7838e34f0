// One chart in a page of somebody else. Its document is in this page: it sends no request, and keeps nothing.

import { picture } from "./chart.js";
import { el } from "./dom.js";

const { theme } = document.body.dataset;
const { config, usermeta, description = "", ...spec } = JSON.parse(document.body.dataset.document);
const themes = { light: config, dark: usermeta.dark };
const main = document.getElementById("main");
const language = navigator.language || "en";

document.title = spec.title;
if (spec.data.values.length) {
  // the picture has the title, which readers do not see there
  main.append(el("h1", { class: "visually-hidden" }, spec.title));
  // whoever embeds it may have chosen the theme
  main.append(picture({ name: "embedded", title: spec.title, description }, spec, theme ? { light: themes[theme], dark: themes[theme] } : themes));
} else {
  main.append(el("h1", {}, spec.title), el("p", {}, "No mail in this time range."));
}
const until = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(usermeta.data_as_of));
main.append(el("p", { class: "note" }, `Includes all events loaded up to ${until}.`));
