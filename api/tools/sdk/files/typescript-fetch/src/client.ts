// The client: made from a URL and a key, with retries, exceptions, pages and exports to wait for.
import { checked, fetchFile } from './address.js';
import { AnalyticsApi, EventsApi, ExportsApi, ReportsApi } from './apis/index.js';
import { ApiError, ExportFailed } from './errors.js';
import type { Export } from './models/index.js';
import { retryingFetch, type RetryOptions } from './retries.js';
import { Configuration } from './runtime.js';
import { waitUntilCompleted, type WaitOptions } from './waiting.js';

export { utcDay } from './address.js';
export { ApiError, ConnectionFailed, DownloadFailed, ExportFailed, ExportTimeout, MailmartError } from './errors.js';
export type { Retry, RetryOptions } from './retries.js';
export type { WaitOptions } from './waiting.js';

export interface ClientOptions {
  /** The service's URL, without `/api/v1`: `http://127.0.0.1:8080`. */
  url: string;
  /** An API key (`mm_…`) or a JWT. */
  key: string;
  /** Seconds for each attempt. Default: 30. */
  timeout?: number;
  retries?: RetryOptions;
}

/** All operations, by group. */
export class Client {
  readonly analytics: AnalyticsApi;
  readonly events: EventsApi;
  readonly exports: ExportsApi;
  readonly reports: ReportsApi;
  readonly #url: string;

  /** Throws a TypeError if the URL is empty or has no scheme, or if the key is empty. */
  constructor({ url, key, timeout = 30, retries = {} }: ClientOptions) {
    this.#url = checked(url, key);
    const configuration = new Configuration({
      basePath: this.#url,
      accessToken: key,
      fetchApi: retryingFetch(retries, timeout),
      middleware: [
        {
          post: async ({ response }) => {
            if (!response.ok) throw await ApiError.of(response);
          },
          // the generated client would hide it in an error of its own
          onError: async ({ error }) => {
            throw error;
          },
        },
      ],
    });
    this.analytics = new AnalyticsApi(configuration);
    this.events = new EventsApi(configuration);
    this.exports = new ExportsApi(configuration);
    this.reports = new ReportsApi(configuration);
  }

  /**
   * Waits until the export is completed, and returns it with its download link.
   *
   * Throws ExportFailed if it failed, was canceled or is expired, ExportTimeout if it is still processing after the timeout.
   */
  async waitForExport(workspaceId: string, exportId: string, options: WaitOptions = {}): Promise<Export> {
    const request = options.signal ? { signal: options.signal } : {};
    return waitUntilCompleted(
      async () => (await this.exports.getExport({ workspaceId, exportId }, request)).data,
      exportId,
      options,
    );
  }

  /**
   * The file of a completed export, in memory: `await writeFile("overview.csv", await client.download(finished))`.
   *
   * Throws ExportFailed if the export has no download link, ApiError if the link is refused, ConnectionFailed, and DownloadFailed
   * if the SHA-256 of the file is not the export's.
   */
  async download(finished: Export): Promise<Uint8Array<ArrayBuffer>> {
    if (finished.downloadUrl === null) throw new ExportFailed(finished, finished.exportId);
    return fetchFile(new URL(finished.downloadUrl, this.#url), finished.sha256);
  }
}

/** A page of a list, or of a query, whose cursor is in the metadata. */
type Page = { data: { nextCursor: string | null } } | { data: object; meta: { nextCursor: string | null } };

/**
 * The pages of a list, each requested when the loop needs it.
 *
 *     for await (const page of pages((position) => client.exports.listExports({ workspaceId, ...position }))) …
 *
 * The cursor of a query is a field of its request: `queryMetricsRequest: { metrics: ['sent'], ...position }`.
 */
export async function* pages<P extends Page>(
  list: (position: { cursor?: string }) => Promise<P>,
): AsyncGenerator<P, void, undefined> {
  let position: { cursor?: string } = {};
  for (;;) {
    const page = await list(position);
    yield page;
    const { nextCursor } = 'meta' in page && 'nextCursor' in page.meta ? page.meta : (page.data as { nextCursor: string | null });
    if (nextCursor === null) return;
    position = { cursor: nextCursor };
  }
}
