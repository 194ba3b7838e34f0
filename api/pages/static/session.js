// The key, in this tab alone: sessionStorage. Nothing else is kept.

const KEY = "mailmart.credential";

/** {key, workspace, scopes}, or null. */
export function session() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export function store(credential) {
  sessionStorage.setItem(KEY, JSON.stringify(credential));
}

export function clear() {
  sessionStorage.clear();
}

/** The key of a sign-in link (#key=…), which is taken out of the address at once. A fragment is never sent to a server. */
export function keyFromFragment() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const key = parameters.get("key");
  if (key) history.replaceState(null, "", location.pathname + location.search);
  return key;
}
