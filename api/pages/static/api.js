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

async function send(path, key, { method = "GET", query = {}, body, headers = {} } = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") parameters.set(name, value);
  }
  const text = parameters.toString();
  let response;
  try {
    response = await fetch(text ? `${path}?${text}` : path, {
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
    error.message ?? `The answer has the status ${response.status} and cannot be read.`,
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
  return send(`api/v1/workspaces/${encodeURIComponent(workspace)}${path}`, key, options);
}
