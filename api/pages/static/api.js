// Calls the API's own endpoints with the key of this tab.

import { session } from "./session.js";

export class Failure extends Error {
  constructor(status, code, message, details, requestId, retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

// of the page that is shown: its data, for the commands below it
let sent = [];

export function forgetRequests() {
  sent = [];
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The requests of this page as commands; the key is a variable, so that they can be shown and shared. */
export function asCurl() {
  const commands = sent.map(({ method, url, query, body }) => {
    const data = body === undefined ? "" : ` -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`;
    const verb = method === "GET" || method === "POST" ? "" : ` -X ${method}`;
    return `curl -s -H "Authorization: Bearer $MAILMART_KEY"${verb}${data} ${quoted(address(url, query))}`;
  });
  return [...new Set(commands)].join("\n\n");
}

/** The same as a Python program. */
export function asPython() {
  const calls = sent.map(({ method, url, query, body }) => {
    const params = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== ""));
    const options = [
      Object.keys(params).length ? `, params=${python(params)}` : "",
      body === undefined ? "" : `, json=${python(body)}`,
    ].join("");
    return `answer = session.request(${python(method)}, ${python(url)}${options}, timeout=30)\nanswer.raise_for_status()\nprint(answer.json())`;
  });
  if (!calls.length) return "";
  const head = 'import os\n\nimport requests\n\nsession = requests.Session()\nsession.headers["Authorization"] = f"Bearer {os.environ[\'MAILMART_KEY\']}"';
  return [head, ...new Set(calls)].join("\n\n");
}

/** A value of JSON as Python writes it; a text of JSON is one of Python. */
function python(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${python(item)}`).join(", ")}}`;
  return JSON.stringify(value);
}

function address(path, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") parameters.set(name, value);
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}

async function send(path, key, { method = "GET", query = {}, body, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(address(path, query), {
      method,
      headers: {
        Accept: "application/json",
        Authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      // what is kept on disk would stay after signing out
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch {
    throw new Failure(0, "UNREACHABLE", "The service did not answer.", null, "", 5);
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  const error = answer?.error ?? {};
  throw new Failure(
    response.status,
    error.code ?? "UNREADABLE",
    error.message ?? `The response has the status ${response.status} and cannot be read.`,
    error.details ?? null,
    response.headers.get("X-Request-Id") ?? "",
    Number(response.headers.get("Retry-After")) || null,
  );
}

/** Whose key it is: {workspace_id, scopes}. */
export async function identify(key) {
  return (await send("api/v1/credential", key)).data;
}

/** An answer of the workspace of this tab's key. */
export function call(path, options) {
  const { key, workspace } = session() ?? {};
  if (!key) throw new Failure(401, "UNAUTHORIZED", "Sign in first.", null, "", null);
  const whole = `api/v1/workspaces/${encodeURIComponent(workspace)}${path}`;
  if (!path.includes("/charts/")) {
    const { method = "GET", query = {}, body } = options ?? {};
    sent.push({ method, url: new URL(whole, document.baseURI).href, query, body });
  }
  return send(whole, key, options);
}
