// The exceptions of the client.
import type { ErrorCode, Export } from './types.js';

/** The base of all exceptions of this file. */
export class MailmartError extends Error {
  override name = 'MailmartError';
}

/** No response: the service cannot be reached, the connection broke, or an attempt took too long. `cause` is fetch's error. */
export class ConnectionFailed extends MailmartError {
  override name = 'ConnectionFailed';
}

/** The service responded with an error. */
export class ApiError extends MailmartError {
  override name = 'ApiError';

  private constructor(
    /** The HTTP status. */
    readonly status: number,
    /** The service's error code, such as `CAMPAIGN_NOT_FOUND`; `UNKNOWN_RESPONSE` if the response is not the service's own. */
    readonly code: ErrorCode | 'UNKNOWN_RESPONSE',
    message: string,
    /** The messages by parameter name. */
    readonly details: Readonly<Record<string, string[]>>,
    /** Identifies the request in the service's log. */
    readonly requestId: string | null,
    /** The seconds of Retry-After. */
    readonly retryAfter: number | null,
  ) {
    super([`${status} ${code}: ${message}`, ...Object.entries(details).map(([name, texts]) => `${name}: ${texts.join(' ')}`)].join('\n  '));
  }

  static async of(response: Response): Promise<ApiError> {
    const problem = problemOf(await response.text());
    return new ApiError(
      response.status,
      problem?.code ?? 'UNKNOWN_RESPONSE',
      problem?.message ?? 'The response is not one of the mailmart API. Check the URL.',
      problem?.details ?? {},
      response.headers.get('X-Request-Id'),
      secondsOfRetryAfter(response.headers),
    );
  }
}

/** The export will have no file: it failed, was canceled or is expired. `export` says which, and why. */
export class ExportFailed extends MailmartError {
  override name = 'ExportFailed';

  readonly export: Export;

  constructor(failed: Export, exportId: string) {
    super(`export ${exportId} is ${failed.status}${failed.error ? `: ${failed.error.message}` : ''}`);
    this.export = failed;
  }
}

/** The export was not completed in time. It goes on; wait for it again. */
export class ExportTimeout extends MailmartError {
  override name = 'ExportTimeout';
}

/** The downloaded file is not the export's: its SHA-256 is another. */
export class DownloadFailed extends MailmartError {
  override name = 'DownloadFailed';
}

/** The seconds of Retry-After; null if there are none. The service sends seconds, never a date. */
export function secondsOfRetryAfter(headers: Headers): number | null {
  const text = headers.get('Retry-After');
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}

interface Problem {
  code: ErrorCode;
  message: string;
  details?: Record<string, string[]> | null;
}

/** The service's error in a response; undefined if a proxy or another server responded. */
function problemOf(body: string): Problem | undefined {
  try {
    return (JSON.parse(body) as { error?: Problem }).error;
  } catch {
    return undefined;
  }
}
