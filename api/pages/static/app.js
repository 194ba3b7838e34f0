// Starts a page: signs in, and shows what its address says.

import { asCurl, asPython, Failure, forgetRequests, identify } from "./api.js";
import { el, fill } from "./dom.js";
import { moment, windowText } from "./format.js";
import { get } from "./address.js";
import { clear, keyFromFragment, session, store } from "./session.js";

const MODULES = {
  overview: () => import("./overview.js"),
  campaigns: () => import("./campaigns.js"),
  campaign: () => import("./campaign.js"),
  compare: () => import("./compare.js"),
  deliverability: () => import("./deliverability.js"),
  heatmap: () => import("./heatmap.js"),
  sources: () => import("./sources.js"),
  query: () => import("./query.js"),
  exports: () => import("./exports.js"),
  charts: () => import("./charts.js"),
};
const page = document.body.dataset.page;
const pageTitle = document.title;
const content = document.getElementById("content");
const status = document.getElementById("status");
const title = document.getElementById("title");
const heading = title.textContent;
let turn = 0;

function setSignedIn(credential) {
  document.body.classList.toggle("signed-out", !credential);
  document.getElementById("menu").hidden = !credential;
  document.getElementById("account").hidden = !credential;
  document.getElementById("workspace").textContent = credential?.workspace ?? "";
  // on a narrow screen the menu scrolls, and this page may be at its end
  const menu = document.getElementById("menu");
  const current = menu.querySelector("[aria-current]");
  if (credential && current) menu.scrollLeft = current.offsetLeft - (menu.clientWidth - current.offsetWidth) / 2;
  document.getElementById("freshness").textContent = "";
  document.getElementById("window").textContent = "";
}

function forget() {
  clear();
  forgetRequests();
  turn += 1;
  setSignedIn(null);
  title.textContent = heading;
  document.title = pageTitle;
}

function showSignIn(problem = null) {
  forget();
  title.textContent = "Sign in";
  status.textContent = "";
  const field = el("input", { type: "password", id: "key", name: "key", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": problem ? "sign-in-problem" : null });
  const button = el("button", { type: "submit", class: "primary" }, "Sign in");
  const form = el(
    "form",
    {
      class: "card sign-in",
      onsubmit: async (event) => {
        event.preventDefault();
        button.disabled = true;
        await signIn(field.value.trim());
      },
    },
    problem && el("p", { class: "notice", id: "sign-in-problem", role: "alert" }, problem),
    el("label", { class: "field", for: "key" }, el("span", {}, "API key"), field),
    el("p", { class: "note" }, "It stays in this browser tab and is forgotten when you close the tab or sign out. The operator of this service creates keys: ", el("code", {}, "mailmart keys create --workspace …"), "."),
    button,
  );
  fill(content, form);
  field.focus();
}

async function signIn(key) {
  try {
    const { workspace_id: workspace, scopes } = await identify(key);
    store({ key, workspace, scopes });
    await show();
    document.getElementById("main").focus();
  } catch (error) {
    showSignIn(error.code === "UNAUTHORIZED" ? "This key is unknown, expired or revoked. Check that you copied all of it." : error.message);
  }
}

const HINTS = {
  UNREACHABLE: "Check the connection, then try again.",
  FORBIDDEN: "The key that you signed in with may not do this. Sign out and use another key, or ask the operator for one.",
  RATE_LIMIT_EXCEEDED: "A workspace may send only so many requests a minute. Wait a moment, then try again.",
  QUERY_TIMEOUT: "Choose a shorter time range.",
  CAMPAIGN_NOT_FOUND: "Check the id. A new campaign is known after the next build.",
  DOMAIN_NOT_FOUND: "Check the id. A new domain is known after the next build.",
  INVALID_TIME_RANGE: "Choose other dates.",
};

/** Whether this page was made before anything was published: the contract has no endpoint. */
const isBeforeTheFirstBuild = () => Object.keys(JSON.parse(document.body.dataset.settings).endpoints).length === 0;

function problem(error) {
  if (error.code === "WAREHOUSE_UNAVAILABLE" && isBeforeTheFirstBuild()) return noNumbersYet();
  const details = Object.entries(error.details ?? {}).flatMap(([name, texts]) => texts.map((text) => `${name}: ${text}`));
  return el(
    "section",
    { class: "card problem", role: "alert" },
    el("h2", {}, "This could not be shown"),
    el("p", { class: "message" }, error.message),
    details.length ? el("ul", {}, details.map((text) => el("li", {}, text))) : null,
    HINTS[error.code] ? el("p", {}, HINTS[error.code]) : null,
    el("p", {}, el("button", { type: "button", onclick: error.code === "PAGE" ? () => location.reload() : show }, error.code === "PAGE" ? "Load it again" : "Try again")),
    error.requestId ? el("p", { class: "note" }, `${error.code}, request ${error.requestId}`) : null,
  );
}

function noNumbersYet() {
  return el(
    "section",
    { class: "card empty" },
    el("h2", {}, "There are no numbers yet"),
    el("p", {}, "Nothing has been published yet. The operator connects a provider (", el("code", {}, "mailmart sources create"), ") or loads a file (", el("code", {}, "mailmart ingest"), "), then runs ", el("code", {}, "mailmart build"), ". A running scheduler builds every day."),
    // the page itself changes with the first publication
    el("p", {}, el("button", { type: "button", onclick: () => location.reload() }, "Look again")),
  );
}

async function show() {
  const credential = session();
  if (!credential) return showSignIn();
  setSignedIn(credential);
  turn += 1;
  const mine = turn;
  forgetRequests();
  content.setAttribute("aria-busy", "true");
  status.textContent = "Loading …";
  let nodes;
  let shown = { title: heading };
  try {
    const module = await MODULES[page]();
    shown = { ...shown, ...(await module.render({ reload: show, scopes: credential.scopes })) };
    nodes = shown.nodes;
  } catch (error) {
    if (mine !== turn) return;
    if (error instanceof Failure && error.status === 401) return showSignIn("This key is unknown, expired or revoked. Sign in again.");
    if (error instanceof Failure) {
      nodes = [...(await controlsOf()), problem(error)];
    } else {
      // an error of these scripts, or a file of theirs that an upgrade has replaced
      console.error(error);
      nodes = [problem(new Failure(0, "PAGE", "This page is broken, or was replaced by a newer one. Load it again.", null, "", null))];
    }
  }
  // another view was opened meanwhile
  if (mine !== turn) return;
  title.replaceChildren(shown.title);
  document.title = `${title.textContent.slice(0, 80)} · mailmart`;
  fill(content, nodes, commands().filter(Boolean));
  content.removeAttribute("aria-busy");
  status.textContent = "";
  document.getElementById("window").textContent = shown.range ? windowText(shown.range) : "";
  if (shown.dataAsOf) document.getElementById("freshness").textContent = `Includes all events loaded up to ${moment(shown.dataAsOf, get("timezone"))}.`;
}

/** The same numbers for a program. */
function commands() {
  const kinds = [["The same as curl commands", asCurl()], ["The same in Python", asPython()]];
  return kinds.map(([about, text]) => text && el("details", { class: "commands" }, el("summary", {}, about), el("pre", { tabindex: 0 }, text)));
}

/** The controls, so that whoever chose a wrong time range can choose another. */
async function controlsOf() {
  const module = await MODULES[page]();
  return module.controls ? [module.controls()] : [];
}

document.getElementById("sign-out").addEventListener("click", () => {
  showSignIn();
  history.replaceState(null, "", location.pathname);
});
addEventListener("popstate", show);
addEventListener("addresschange", show);
addEventListener("hashchange", start);
// a page that the browser kept as it was
addEventListener("pageshow", (event) => {
  if (event.persisted && !session()) showSignIn();
});

async function start() {
  const key = keyFromFragment();
  if (key) await signIn(key);
  else if (!location.hash || !content.hasChildNodes()) await show();
}

await start();
