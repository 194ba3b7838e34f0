// What openapi-fetch's client needs to be ready to use: its options, results that are never undefined, pages, exports to wait for.
// It imports nothing: a package that is installed from a folder finds no packages of the program's.
import { checked, fetchFile } from './address.js';
import { ApiError, ExportFailed } from './errors.js';
import { retryingFetch, type RetryOptions } from './retries.js';
import type { Export } from './types.js';
import { waitUntilCompleted, type WaitOptions } from './waiting.js';

export { ApiError, ConnectionFailed, DownloadFailed, ExportFailed, ExportTimeout, MailmartError } from './errors.js';
export type { Retry, RetryOptions } from './retries.js';
export type { WaitOptions } from './waiting.js';
export type * from './schema.js';

export interface ConnectionOptions {
  /** The service's URL, without `/api/v1`: `http://127.0.0.1:8080`. */
  url: string;
  /** An API key (`mm_…`) or a JWT. */
  key: string;
  /** Seconds for each attempt. Default: 30. */
  timeout?: number;
  retries?: RetryOptions;
}

/** Options of openapi-fetch's `createClient`. */
export interface Connection {
  baseUrl: string;
  headers: { Authorization: string };
  fetch: (request: Request) => Promise<Response>;
}

/**
 * Options of openapi-fetch's client, with retries and exceptions: `createClient<paths>(connection({ url, key }))`.
 *
 * Throws a TypeError if the URL is empty or has no scheme, or if the key is empty.
 */
export function connection({ url, key, timeout = 30, retries = {} }: ConnectionOptions): Connection {
  const send = retryingFetch(retries, timeout);
  return {
    baseUrl: checked(url, key),
    headers: { Authorization: `Bearer ${key}` },
    fetch: async (request) => {
      const response = await send(request);
      if (!response.ok) throw await ApiError.of(response);
      return response;
    },
  };
}

/** The body of a response: `await ok(client.GET(…))`. Errors are exceptions already, so it is never undefined. */
export async function ok<R extends { data?: unknown }>(call: Promise<R>): Promise<Exclude<R['data'], undefined>> {
  return (await call).data as Exclude<R['data'], undefined>;
}

/** A page of a list, or of a query, whose cursor is in the metadata. */
type Page = { data: { next_cursor: string | null } } | { data: object; meta: { next_cursor: string | null } };

/**
 * The pages of a list, each requested when the loop needs it.
 *
 *     for await (const page of pages((position) => ok(client.GET(path, { params: { …, query: { ...position } } })))) …
 *
 * The cursor of a query is a field of its body: `body: { metrics: ['sent'], ...position }`.
 */
export async function* pages<P extends Page>(
  list: (position: { cursor?: string }) => Promise<P>,
): AsyncGenerator<P, void, undefined> {
  let position: { cursor?: string } = {};
  for (;;) {
    const page = await list(position);
    yield page;
    const { next_cursor } =
      'meta' in page && 'next_cursor' in page.meta ? page.meta : (page.data as { next_cursor: string | null });
    if (next_cursor === null) return;
    position = { cursor: next_cursor };
  }
}

const EXPORT = '/api/v1/workspaces/{workspaceId}/analytics/exports/{exportId}';

/** The part of openapi-fetch's client that `waitForExport` needs. */
export interface ExportReader {
  GET(
    url: typeof EXPORT,
    init: { params: { path: { workspaceId: string; exportId: string } } },
  ): Promise<{ data?: { data: Export } }>;
}

/**
 * Waits until an export is completed, and returns it with its download link.
 *
 * Throws ExportFailed if it failed, was canceled or is expired, ExportTimeout if it is still processing after the timeout.
 */
export async function waitForExport(
  client: ExportReader,
  workspaceId: string,
  exportId: string,
  options: WaitOptions = {},
): Promise<Export> {
  const path = { workspaceId, exportId };
  return waitUntilCompleted(async () => (await ok(client.GET(EXPORT, { params: { path } }))).data, exportId, options);
}

/** The file of a completed export, in memory: `await writeFile("overview.csv", await download(finished))`. */
export async function download(finished: Export): Promise<Uint8Array<ArrayBuffer>> {
  if (finished.download_url === null) throw new ExportFailed(finished, finished.export_id);
  return fetchFile(new URL(finished.download_url), finished.sha256);
}
