// Checks what a client is made from, and downloads files.
import { ApiError, ConnectionFailed, DownloadFailed } from './errors.js';

/**
 * The service's URL without a slash at its end and without `/api/v1`.
 *
 * Throws a TypeError if it is empty or has no scheme, or if the key is empty.
 */
export function checked(url: string, key: string): string {
  const example = 'for example http://127.0.0.1:8080';
  const trimmed = url.trim();
  if (trimmed === '') throw new TypeError(`the URL of the service is empty: set it, ${example}`);
  if (!/^https?:\/\/[^/]/i.test(trimmed)) {
    throw new TypeError(`the URL of the service, "${url}", does not begin with http:// or https://: write it in full, ${example}`);
  }
  if (key.trim() === '') throw new TypeError('the key is empty: `mailmart keys create` makes one');
  return trimmed.replace(/\/+$/, '').replace(/\/api\/v1$/, '');
}

/** The day in UTC of an instant, as a text: "2026-11-19". */
export function utcDay(instant: Date): string {
  return instant.toISOString().slice(0, 10);
}

/** The bytes of an export's file, checked against its SHA-256 where the platform can compute one. */
export async function fetchFile(link: URL, sha256: string | null | undefined): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: ArrayBuffer;
  try {
    // the link has its own signature: the key is not sent to another host
    const response = await fetch(link);
    if (!response.ok) throw await ApiError.of(response);
    bytes = await response.arrayBuffer();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ConnectionFailed(`GET ${link.origin}${link.pathname}: ${String(error)}`, { cause: error });
  }
  // pages without TLS and Node 18 have none
  const subtle = globalThis.crypto?.subtle;
  if (sha256 && subtle) {
    const digest = new Uint8Array(await subtle.digest('SHA-256', bytes));
    const actual = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (actual !== sha256) throw new DownloadFailed('the SHA-256 of the file is not the export\'s; download it again');
  }
  return new Uint8Array(bytes);
}
