// Sends a request again if the service says so or cannot be reached, and reports that it does.
import { ConnectionFailed, secondsOfRetryAfter } from './errors.js';

/** A request that will be sent again. */
export interface Retry {
  method: string;
  url: string;
  /** Why: "HTTP 429", or the message of fetch's error. */
  reason: string;
  /** The number of the next attempt. */
  attempt: number;
  attempts: number;
  /** Seconds until then. */
  wait: number;
  /** Whether the wait is the service's `Retry-After`. */
  isRetryAfter: boolean;
}

/** How often and how long. */
export interface RetryOptions {
  /** Counts the first one. Default: 5. */
  attempts?: number;
  /** Seconds; doubles with each attempt without Retry-After. Default: 0.5. */
  firstWait?: number;
  /** Seconds. If Retry-After is longer, the error is thrown at once. Default: 60. */
  maxWait?: number;
  /** Default: console.warn. */
  onRetry?: (retry: Retry) => void;
}

const STATUSES: ReadonlySet<number> = new Set([429, 502, 503, 504]);
// POSTs that do the same if they are sent twice: one reads, the other knows its events by their ids
const REPEATABLE_POSTS = ['/analytics/compare', '/events'];

/** fetch with retries and a timeout for each attempt, in seconds. It returns the last response, whatever its status. */
export function retryingFetch(options: RetryOptions, timeout: number): typeof fetch {
  const { attempts = 5, firstWait = 0.5, maxWait = 60, onRetry = warn } = options;
  const waitAfter = (attempt: number, retryAfter: number | null): number | null => {
    if (attempt >= attempts || (retryAfter !== null && retryAfter > maxWait)) return null;
    // clients that failed together should not come back together
    return retryAfter ?? Math.min(maxWait, firstWait * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
  };
  return async (input, init) => {
    const request = new Request(input, init);
    const { url, method, headers } = request;
    const path = url.split('?', 1)[0] ?? url;
    if (method === 'POST' && path.endsWith('/analytics/export') && !headers.has('Idempotency-Key')) {
      // an export that was created before the connection broke is not created twice
      headers.set('Idempotency-Key', randomKey());
    }
    const isRepeatable =
      method !== 'POST' || headers.has('Idempotency-Key') || REPEATABLE_POSTS.some((end) => path.endsWith(end));
    for (let attempt = 1; ; attempt++) {
      let retryAfter: number | null = null;
      let reason: string;
      let wait: number | null;
      try {
        const response = await fetchWhole(request, timeout);
        if (!STATUSES.has(response.status) || !(isRepeatable || response.status === 429)) return response;
        retryAfter = secondsOfRetryAfter(response.headers);
        reason = `HTTP ${response.status}`;
        wait = waitAfter(attempt, retryAfter);
        if (wait === null) return response;
      } catch (error) {
        // the caller's own signal ends the request; fetch says why a connection failed only in the cause
        if (request.signal.aborted) throw error;
        reason = error instanceof Error ? `${error.message}${error.cause instanceof Error ? ` (${error.cause.message})` : ''}` : String(error);
        wait = isRepeatable ? waitAfter(attempt, null) : null;
        if (wait === null) throw new ConnectionFailed(`${method} ${path}: ${reason}`, { cause: error });
      }
      onRetry({ method, url, reason, attempt: attempt + 1, attempts, wait, isRetryAfter: retryAfter !== null });
      await sleep(wait, request.signal);
    }
  };
}

/** Resolves after so many seconds; rejects if the signal aborts before. */
export function sleep(seconds: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

/** A response whose body is read: the connection may also break in it, and it counts for the timeout. */
async function fetchWhole(request: Request, timeout: number): Promise<Response> {
  const controller = new AbortController();
  const abort = (): void => controller.abort(request.signal.reason);
  const timer = setTimeout(() => controller.abort(new Error(`no response in ${timeout} s`)), timeout * 1000);
  request.signal.addEventListener('abort', abort, { once: true });
  if (request.signal.aborted) abort();
  try {
    // a request's body can be sent once: each attempt sends a copy
    const response = await fetch(request.clone(), { signal: controller.signal });
    const body = await response.arrayBuffer();
    const { status, statusText, headers } = response;
    return new Response(body.byteLength === 0 ? null : body, { status, statusText, headers });
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener('abort', abort);
  }
}

function randomKey(): string {
  // Node 18 and pages without TLS have no randomUUID
  const random = (): string => Math.random().toString(36).slice(2);
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now().toString(36)}-${random()}${random()}`;
}

function warn(retry: Retry): void {
  const source = retry.isRetryAfter ? ', as Retry-After says' : '';
  const when = `attempt ${retry.attempt} of ${retry.attempts} in ${retry.wait.toFixed(1)} s${source}`;
  console.warn(`mailmart: ${retry.method} ${retry.url.split('?', 1)[0]}: ${retry.reason}; ${when}`);
}
